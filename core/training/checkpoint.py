"""Checkpoints: everything that the next step of a run depends on, as one safetensors file.

No random state is stored. The weights are initialized, what a layer draws in a step is a function of seed and step
(:mod:`core.training.autograd`), and the order of the data is one of seed and epoch
(:func:`core.training.loop.data_order`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from core.errors import CheckpointError
from core.tensor_file import read_tensors, tensors_bytes

FORMAT = "lora-lab-checkpoint-1"

GROUPS = ("value", "first", "second", "best")
"""What a checkpoint has for each parameter, the last of them not always."""


@dataclass(frozen=True)
class Position:
    """Progress of a run: the state of the training loop."""

    step: int
    """Optimiser steps done."""
    epoch: int
    """Current epoch, from 1; not evaluated yet."""
    done: int
    """Steps done in this epoch."""
    seconds: float
    """Training time so far."""
    epoch_start: float
    """Training time before this epoch, in seconds."""
    epoch_loss: float
    """Sum of this epoch's training losses, each weighted by the batch's share of the epoch's images."""
    best_loss: float
    """Lowest validation loss so far; infinite before the first evaluation."""
    kept_epoch: int
    """Epoch with the lowest validation loss."""
    stale: int
    """Epochs since then."""
    threads: int
    """CPU threads that its products are split over: one in a bank whose members train side by side."""
    bank: int = 1
    """Number of runs in the largest bank that it was in so far, which its seconds were shared with. Checkpoints of
    earlier versions do not have it."""


@dataclass(frozen=True, eq=False)
class TrainState:
    """A member's trained tensors and Adam's state for each; zeros for running statistics, which have none."""

    values: list[Tensor]
    first: list[Tensor]
    """First moments."""
    second: list[Tensor]
    """Second moments."""
    updates: int
    """Adam's step counter."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A position, and the weights and optimiser state at it."""

    position: Position
    train_state: TrainState
    best: list[Tensor]
    """Values of the best epoch; empty if they are not kept."""

    def to_bytes(self) -> bytes:
        """Serialize; :func:`checkpoint_of` is the inverse."""
        groups = {"value": self.train_state.values, "first": self.train_state.first, "second": self.train_state.second}
        tensors = {
            f"{name}.{i}": tensor.detach().cpu().contiguous()
            for name, group in (groups | {"best": self.best}).items()
            for i, tensor in enumerate(group)
        }
        about = {"position": asdict(self.position), "updates": self.train_state.updates}
        return tensors_bytes(tensors, {"format": FORMAT, "about": json.dumps(about)})


def checkpoint_of(content: bytes) -> Checkpoint:
    """Read a checkpoint that :meth:`Checkpoint.to_bytes` wrote.

    Raises:
        CheckpointError: it is truncated, damaged, or of another version.
    """
    try:
        tensors, metadata = read_tensors(content, "This checkpoint", CheckpointError, len(GROUPS))
        if metadata["format"] != FORMAT:
            raise CheckpointError(f"This checkpoint has format {metadata['format']!r}, not {FORMAT!r}.")
        about = json.loads(metadata["about"])
        position, updates = Position(**about["position"]), int(about["updates"])
        values, first, second, best = (_group(tensors, name) for name in GROUPS)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError("This is not a checkpoint of a run, or it is damaged.") from error
    if not len(values) == len(first) == len(second) or len(best) not in (0, len(values)):
        raise CheckpointError("This checkpoint is incomplete.")
    return Checkpoint(position, TrainState(values, first, second, updates), best)


def _group(tensors: dict[str, Tensor], name: str) -> list[Tensor]:
    return [tensors[f"{name}.{i}"] for i in range(sum(key.startswith(f"{name}.") for key in tensors))]


@torch.no_grad()
def copy_into(tensors: list[Tensor], targets: list[Tensor]) -> None:
    """Copy tensors into others of the same shapes. Raises: CheckpointError: the shapes differ; nothing was copied."""
    if [tensor.shape for tensor in tensors] != [target.shape for target in targets]:
        raise CheckpointError("This checkpoint is of another network.")
    for tensor, target in zip(tensors, targets, strict=True):
        target.copy_(tensor)
