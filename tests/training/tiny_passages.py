"""Tiny language models, a byte-level tokenizer with merges, and passages with prompts, for parity with transformers."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from shutil import copytree
from tempfile import mkdtemp
from typing import Any

import torch
from torch import nn

from core.data.dataset import LanguageDataset
from core.data.examples import Task
from core.data.passage import Passage
from core.data.task_spec import TaskSpec
from core.networks.causal import CausalSpec
from core.networks.tokenizer import Tokenizer
from core.reader import reading_here
from core.tasks.views.language import LanguageView
from tests.networks.tiny import SIZES

ROWS = 320
"""Rows of the embeddings, more than the tokenizer has tokens."""

LONGEST = 24
"""Tokens that texts are cut after: some of the passages are longer."""

_OWN: dict[str, Any] = {"vocab_size": ROWS, "bos_token_id": 0, "eos_token_id": 1}
_LLAMA = SIZES["llama"] | _OWN | {"pad_token_id": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **_LLAMA},
    "llama tied": {"model_type": "llama", "tie_word_embeddings": True, **_LLAMA},
    "qwen2": {"model_type": "qwen2", "tie_word_embeddings": True, **_LLAMA},
    "qwen3": {"model_type": "qwen3", "head_dim": 8, **_LLAMA},
    "gpt2": {"model_type": "gpt2", **SIZES["gpt2"], **_OWN, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
}
"""Fields of the config by name: those of :data:`core.networks.causal.TESTED`, with tied embeddings and without."""

_WORDS = "the cat sat on a small mat – naïve café 日本 and ran far away 🙂 very red".split()  # noqa: SIM905


@cache
def tokenizer_folder(begins: bool = True) -> Path:
    """A folder with a byte-level tokenizer that merges, as GPT-2's. Args: begins: whether it marks beginnings."""
    from tokenizers import ByteLevelBPETokenizer, processors
    from transformers import PreTrainedTokenizerFast

    own = ByteLevelBPETokenizer()
    own.train_from_iterator([" ".join(_WORDS)] * 20, 300, min_frequency=2, special_tokens=["<s>", "</s>", "<pad>"])
    whole = own._tokenizer
    if begins:
        whole.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    folder = Path(mkdtemp())
    fast = PreTrainedTokenizerFast(tokenizer_object=whole, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    fast.save_pretrained(folder)
    return folder


@cache
def tokenizer(begins: bool = True) -> Tokenizer:
    """The tokenizer in that folder, as the lab reads with it."""
    with reading_here():
        return Tokenizer("tiny", tokenizer_folder(begins))


@cache
def passages(count: int = 60, seed: int = 0) -> tuple[Passage, ...]:
    """Prompts with completions of mixed length, some without a prompt, some longer than :data:`LONGEST` tokens."""
    draw = random.Random(seed)

    def words(most: int) -> str:
        return " ".join(draw.choices(_WORDS, k=draw.randint(1, most)))

    found = [Passage.prompted(words(5), f" {words(9)}") for _ in range(count)]
    return (*found[:-10], *(Passage.whole(words(9)) for _ in range(10)))


def task_of(count: int = 60, begins: bool = True, length: int = LONGEST) -> Task:
    """A task of such passages."""
    zeros = torch.zeros(count, dtype=torch.int64).numpy()
    dataset = LanguageDataset("tiny", passages(count, 0), zeros, passages(count, 1), zeros)
    spec = TaskSpec.of(dataset="tiny", length=length, validation=0.2)
    return LanguageView().task(spec, dataset, tokenizer(begins))


def spec_of(name: str) -> CausalSpec:
    """A language model of :data:`CONFIGS`."""
    return CausalSpec.of(weights="0" * 64, config=json.dumps(CONFIGS[name]))


def network_of(name: str, seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    """A network with random weights; larger ones than usual, so that what it gives differs from text to text."""
    network, generator = spec_of(name).build(seed).to(dtype), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.2, generator=generator)
    return network


def save_network(name: str, folder: Path) -> None:
    """Write a network of :data:`CONFIGS` with its tokenizer to a folder, as people import one."""
    network_of(name, dtype=torch.float32).save_pretrained(folder)
    copytree(tokenizer_folder(), folder, dirs_exist_ok=True)
