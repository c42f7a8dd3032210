"""Tiny random transformers with a tokenizer of their own, written to a folder as ``save_pretrained`` writes them."""

from __future__ import annotations

import string
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

WORDS = tuple("a the cat dog sat ran on mat far red blue big small and not very".split())  # noqa: SIM905
"""The words that the tokenizer knows, beside its four special tokens and what is in none of them."""

SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[UNK]")

VOCABULARY = 48
"""Rows of the embeddings: more than there are tokens, as most networks have."""

_ENCODER: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
_MARKS: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2}
_DECODER = _ENCODER | _MARKS | {"num_key_value_heads": 1}
_ROWS: dict[str, Any] = {"vocab_size": VOCABULARY, "pad_token_id": 0}

SIZES: dict[str, dict[str, Any]] = {
    "bert": _ENCODER,
    "roberta": _ENCODER | {"max_position_embeddings": 66, "type_vocab_size": 1},
    "deberta-v2": _ENCODER
    | {
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    "modernbert": _ENCODER | _MARKS | {"cls_token_id": 1, "sep_token_id": 2, "local_attention": 8},
    "gpt2": _MARKS | {"vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "llama": _DECODER,
    "qwen2": _DECODER,
}
"""Fields of the config by architecture: seven that differ in their blocks, heads, positions and padding."""


OTHERS: dict[str, dict[str, Any]] = {
    "mpnet": _ENCODER | {"max_position_embeddings": 66},
    "convbert": _ENCODER | {"embedding_size": 16, "conv_kernel_size": 3},
    "fnet": _ENCODER,
    "xlnet": _ROWS | {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32},
    "funnel": {
        "architectures": ["FunnelBaseModel"],  # one of two, that of its classifier
        **_ROWS,
        **{"block_sizes": [1, 1], "d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 32},
    },
    "flaubert": _ROWS | {"emb_dim": 16, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 64, "pad_index": 0},
}
"""The same of architectures that are special: blocks return tuples of one, have convolutions, or read the padding; or
the last layer of the classifier has a name of its own."""


def tiny_config(architecture: str, **changes: Any) -> Any:
    """A config of transformers; ``changes`` replace fields of :data:`SIZES`, or of :data:`OTHERS`."""
    from transformers import AutoConfig

    return AutoConfig.for_model(architecture, **(SIZES | OTHERS)[architecture] | changes)


def tiny_tokenizer(architecture: str = "bert") -> Any:
    """A fast tokenizer that splits at spaces; ids start with ``SPECIAL``. That of Qwen2 can only split at letters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

    if architecture == "qwen2":  # transformers replaces any other tokenizer of this architecture by its own
        letters = ("<|endoftext|>", "\u0120", *string.ascii_lowercase)
        return Qwen2Tokenizer(vocab={letter: number for number, letter in enumerate(letters)}, merges=[])
    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *WORDS))}
    own = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    own.normalizer = normalizers.Lowercase()
    own.pre_tokenizer = pre_tokenizers.Whitespace()
    own.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=own, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    )


@cache
def _files(
    architecture: str, seed: int, shard: str | None, dtype: torch.dtype, classifier: bool, **changes: Any
) -> dict[str, bytes]:
    """Contents of what ``save_pretrained`` writes, made once per process."""
    from transformers import AutoModel, AutoModelForSequenceClassification

    kind = AutoModelForSequenceClassification if classifier else AutoModel
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = kind.from_config(tiny_config(architecture, **changes)).to(dtype)
    with TemporaryDirectory() as folder:
        network.save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))
        tiny_tokenizer(architecture).save_pretrained(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def save_tiny(
    folder: Path,
    architecture: str = "bert",
    *,
    seed: int = 0,
    shard: str | None = None,
    dtype: torch.dtype = torch.float32,
    readme: str = "---\nlicense: mit\n---\n# Tiny\n",
    classifier: bool = False,
    **changes: Any,
) -> Path:
    """Write a tiny random network with its tokenizer to a folder; returns the folder.

    Args:
        folder: to make.
        architecture: one of :data:`SIZES`.
        seed: of the weights.
        shard: maximum size of a file of weights, as in ``20KB``; None writes one file.
        dtype: of the weights.
        readme: text of its README.md; none is written if empty.
        classifier: whether to save the weights of a classifier too; else those of the encoder or decoder alone.
        changes: fields of the config.
    """
    files = _files(architecture, seed, shard, dtype, classifier, **changes)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (files | ({"README.md": readme.encode()} if readme else {})).items():
        (folder / name).write_bytes(content)
    return folder
