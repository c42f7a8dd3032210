"""Tiny transformers of every architecture with trained adapters and heads, and their folders for Hugging Face."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import safetensors.torch
import torch
from torch import Tensor, nn

from core.adapter import Card, adapter_bytes
from core.data.examples import Batch
from core.methods.low_rank import LowRankSpec, add_lora
from core.networks.file import base_fingerprint
from core.networks.forward import forward
from core.networks.hugging_face import architecture, fill_classifier, head_of
from core.networks.transformer import TransformerSpec
from tests.adapter.samples import perturb
from tests.networks.tiny import SIZES, save_tiny

ARCHITECTURES = tuple(SIZES)
CLASSES = 3
SEED = 5
"""Of the head of every base."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A imported network with a new head."""

    folder: Path
    """With config, tokenizer and weights, as somebody brought it."""
    weights: dict[str, Tensor]
    spec: TransformerSpec

    @property
    def base(self) -> nn.Module:
        """A new copy of the network, in evaluation mode."""
        return self.filled(SEED)

    def filled(self, seed: int) -> nn.Module:
        """The same with another head."""
        return copy.deepcopy(_filled(self, seed))

    @property
    def probe(self) -> Batch:
        return probe(self.spec)

    def trained(self, lora: LowRankSpec) -> nn.Module:
        """The network with adapters and a head, all moved as by training."""
        model = add_lora(self.base, lora, torch.Generator().manual_seed(2))
        perturb(*(parameter for parameter in model.parameters() if parameter.requires_grad))
        return model.eval()

    def packed(self, model: nn.Module, lora: LowRankSpec, card: Card | None = None) -> bytes:
        mark = base_fingerprint(self.base)
        return adapter_bytes(model, lora, base_fingerprint=mark, card=card or Card("r", "b"), probe=self.probe)


@cache
def _filled(one: Sample, seed: int) -> nn.Module:
    """The network, filled once per process: copies take less time."""
    # It may use the tensors that it is filled with as its own.
    return one.spec.filled({name: tensor.clone() for name, tensor in one.weights.items()}, seed)


def sample_of(folder: Path, classes: int = CLASSES, model: str = "tiny") -> Sample:
    """What a folder with a network becomes when it is imported."""
    values = json.loads((folder / "config.json").read_text())
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    config = architecture(values, pad_token=0)
    head = head_of(*fill_classifier(config, classes, weights, SEED))
    spec = TransformerSpec.of(weights="0" * 64, model=model, config=config, num_classes=classes, head=head)
    return Sample(folder, weights, spec)


@cache
def sample(architecture: str) -> Sample:
    """A tiny random network. Its folder stays until the process ends."""
    return sample_of(save_tiny(Path(mkdtemp(prefix="tiny-")), architecture))


def probe(spec: TransformerSpec, rows: int = 12) -> Batch:
    """Random texts of two lengths: half of them are padded."""
    batch = copy.deepcopy(spec.examples(rows, torch.Generator().manual_seed(1)).batch(slice(None)))
    batch["input_ids"][::2, 9:] = spec.padding
    batch["attention_mask"][::2, 9:] = 0
    return batch


def logits(model: nn.Module, batch: Batch) -> Tensor:
    with torch.no_grad():
        return forward(model.eval(), batch)
