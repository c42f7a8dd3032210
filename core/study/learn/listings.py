"""Programs that the Learn page lists, and what they print."""

from __future__ import annotations

from pathlib import Path

import torch

from core.methods.linear import count_parameters
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from core.networks.perceptron import PerceptronSpec

FROM_SCRATCH = Path(__file__).parents[3] / "examples" / "from_scratch.py"
"""The whole journey in one file that needs torch alone."""

ADD_LORA = """\
from core import LoRASpec, MultilayerPerceptron, add_lora

network = MultilayerPerceptron(784, 128, 256, 10)  # in practice, a pretrained one
add_lora(network, LoRASpec(rank=4))                # W and bias are frozen; A and B train

trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
total = sum(p.numel() for p in network.parameters())
print(network)
print(f"{trainable:,} of {total:,} parameters train")
"""
"""Adds adapters to the default network; ``add_lora`` takes any other, too."""


def printed() -> str:
    """Return what :data:`ADD_LORA` prints, without memory for the weights."""
    generator = torch.Generator()  # pages must not use the global generator while runs train
    network = add_lora(PerceptronSpec().build(), LoRASpec(rank=4), generator)
    return f"{network}\n{count_parameters(network, True):,} of {count_parameters(network):,} parameters train\n"


def from_scratch() -> str:
    """Return the text of :data:`FROM_SCRATCH`."""
    return FROM_SCRATCH.read_text(encoding="utf-8")
