"""New rows: what the head of a base has for classes that its task leaves out.

In pretraining the rows of these classes learn nothing but no: each step pushes their logits down, which every method
that is fine-tuned on them would first have to undo. So they get back what the seed drew for them, after the last step
and before the base is evaluated and written.

That is a part of pretraining, and not of fine-tuning: every method and seed starts from one network, the file of the
base, so that frozen weights are shared and adapters go home to PEFT with that file. The rows are random, as those of a
head that is new as a whole are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from core.networks.network import NetworkSpec


@dataclass(frozen=True, eq=False)
class NewRows:
    """The rows of a network's head for outputs that a task leaves out, as they were drawn."""

    outputs: tuple[int, ...]
    """Numbers of the outputs."""
    drawn: Mapping[str, Tensor]
    """(outputs, ...) rows of each tensor that has some, by its name in the state dict."""

    @classmethod
    def of(cls, network: nn.Module, spec: NetworkSpec, classes: Collection[int]) -> Self | None:
        """The rows of a network before its first step; None if the task leaves no output out.

        Args:
            network: with the weights that its seed drew.
            spec: that it was built by.
            classes: labels of the task; empty without classes, which leaves no output out.
        """
        outputs = sorted(set(range(spec.num_classes)).difference(classes)) if classes else []
        state = network.state_dict()
        drawn = {name: state[name][outputs].clone() for name in spec.output_tensors()} if outputs else {}
        return cls(tuple(outputs), drawn) if drawn else None

    @torch.no_grad()
    def put_into(self, network: nn.Module) -> None:
        """Give the rows to a network of the same sizes, in place; all others stay as they are."""
        state = network.state_dict()
        for name, rows in self.drawn.items():
            state[name][list(self.outputs)] = rows
