"""Where a run stands in the middle of its training: all that its next step depends on, as one safetensors file.

Nothing random has to be kept. Initial weights are past, no layer draws numbers while it trains, and the order
of the data is a function of seed and epoch (:func:`core.training.loop.data_order`): the epoch and the steps
done in it are the random state.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from core.errors import CheckpointError
from core.memory import is_out_of_memory
from core.tensor_file import tensors_bytes

FORMAT = "lora-lab-checkpoint-1"


@dataclass(frozen=True)
class Position:
    """How far a run has come; what the training loop itself remembers."""

    step: int
    """Optimiser steps done."""
    epoch: int
    """The epoch it is in, from 1; it is evaluated at its end, after this position."""
    done: int
    """Steps done in this epoch."""
    seconds: float
    """Of training so far."""
    epoch_start: float
    """Seconds of training before this epoch."""
    epoch_loss: float
    """Training loss of this epoch so far, weighed by its share of the epoch's images."""
    best_loss: float
    """The lowest validation loss of all epochs; infinite before the first one."""
    kept_epoch: int
    """The epoch that had it."""
    stale: int
    """Epochs since then."""
    threads: int
    """CPU threads in use."""


@dataclass(frozen=True, eq=False)
class Learnt:
    """A member's trained tensors and what Adam knows of each."""

    values: list[Tensor]
    first: list[Tensor]
    """First moments, of the same shapes."""
    second: list[Tensor]
    """Second moments."""
    updates: int
    """Adam's step counter."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A position and what had been learnt there."""

    position: Position
    learnt: Learnt
    best: list[Tensor]
    """The values of the best epoch; empty where they are not to be kept."""

    def to_bytes(self) -> bytes:
        """The file; :func:`checkpoint_of` reads it."""
        groups = {"value": self.learnt.values, "first": self.learnt.first, "second": self.learnt.second}
        tensors = {
            f"{name}.{i}": tensor.detach().cpu().contiguous()
            for name, group in (groups | {"best": self.best}).items()
            for i, tensor in enumerate(group)
        }
        about = {"position": asdict(self.position), "updates": self.learnt.updates}
        return tensors_bytes(tensors, {"format": FORMAT, "about": json.dumps(about)})


def checkpoint_of(content: bytes) -> Checkpoint:
    """The checkpoint that :meth:`Checkpoint.to_bytes` wrote.

    Raises:
        CheckpointError: it is cut short, damaged, or of another version.
    """
    try:
        tensors = safetensors.torch.load(content)
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        if metadata["format"] != FORMAT:
            raise CheckpointError(f"This checkpoint has format {metadata['format']!r}, not {FORMAT!r}.")
        about = json.loads(metadata["about"])
        position, updates = Position(**about["position"]), int(about["updates"])
        values, first, second, best = (_group(tensors, name) for name in ("value", "first", "second", "best"))
    except (safetensors.SafetensorError, ValueError, LookupError, TypeError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise CheckpointError("This is no checkpoint of a run, or it is damaged.") from error
    if not len(values) == len(first) == len(second) or len(best) not in (0, len(values)):
        raise CheckpointError("This checkpoint is incomplete.")
    return Checkpoint(position, Learnt(values, first, second, updates), best)


def _group(tensors: dict[str, Tensor], name: str) -> list[Tensor]:
    return [tensors[f"{name}.{i}"] for i in range(sum(key.startswith(f"{name}.") for key in tensors))]


@torch.no_grad()
def put(wanted: list[Tensor], into: list[Tensor]) -> None:
    """Copy tensors into others.

    Raises:
        CheckpointError: they are of other shapes; nothing was copied.
    """
    if [tensor.shape for tensor in wanted] != [tensor.shape for tensor in into]:
        raise CheckpointError("This checkpoint is of another network.")
    for tensor, place in zip(wanted, into, strict=True):
        place.copy_(tensor)
