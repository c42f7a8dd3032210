"""How long the texts of a task are: what time and memory of a step depend on beside the network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from core.data.task_spec import TaskSpec
from core.data.text_examples import TextExamples
from core.networks.network import NetworkSpec
from core.tasks.tasks import Tasks
from core.training.loop import data_order

STEP = 4
"""Mean lengths are rounded to multiples of this, so that tasks that hardly differ share a calibration."""


@dataclass(frozen=True)
class TextShape:
    """Lengths of the training texts of a task in tokens; see :func:`text_shape`."""

    padded: int
    """Mean length of a batch, padding included."""
    longest: int


def text_shape(tasks: Tasks, task: TaskSpec, network: NetworkSpec, batch_size: int) -> TextShape | None:
    """The lengths of a task's texts; None for a network that reads no texts.

    Args:
        tasks: makes the task, which takes about a second for ten thousand texts and is kept.
        task: what is learnt.
        network: what learns it.
        batch_size: texts per batch.

    Raises:
        LabError: the dataset or the network is not on this machine.
    """
    if network.brought is None:
        return None
    examples = tasks.get(task, network=network).train
    return _shape(examples, batch_size) if isinstance(examples, TextExamples) else None


@lru_cache(maxsize=64)
def _shape(examples: TextExamples, batch_size: int) -> TextShape:
    """Batches as in the first epoch of seed 0; other seeds and epochs pad nearly the same."""
    lengths = examples.lengths
    order = examples.batched(data_order(len(lengths), seed=0, epoch=1), batch_size)
    widths = torch.stack([part.max() for part in torch.split(lengths[order], batch_size)])
    return TextShape(max(STEP, round(float(widths.float().mean()) / STEP) * STEP), examples.longest)
