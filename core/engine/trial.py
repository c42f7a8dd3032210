"""An adapter from elsewhere, tried on a base: is it sound, and what does it do to the accuracy?"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from core.adapter import Verification, apply_adapter, read_adapter
from core.adapter.verify import verification
from core.data.tasks import Tasks
from core.engine.job import check_fit
from core.methods.lora import merged_copy
from core.networks.file import model_spec_of, network_bytes, read_network
from core.spec import TaskSpec
from core.training.evaluation import Evaluation, evaluate

_one_at_a_time = threading.Lock()
"""A network and its adapter stand in memory several times over while they are compared."""


@dataclass(frozen=True)
class Score:
    """How the base does on the test part of a task, without the adapter and with it."""

    task: TaskSpec
    examples: int
    """Images of the test part."""
    before: Evaluation
    after: Evaluation


@dataclass(frozen=True)
class Trial:
    """What was found; nothing of it is on disk."""

    verification: Verification
    scores: tuple[Score, ...]


def evaluate_adapter(content: bytes, base: Path, tasks: Tasks, on: Sequence[TaskSpec]) -> Trial:
    """Verify an adapter file against a base, and measure both on the test parts of some tasks.

    One at a time in a process, so memory stays bounded whoever asks.

    Args:
        content: the adapter zip, ours or PEFT's.
        base: the base's weights.
        tasks: makes the tasks.
        on: what to measure on; a task that stands there twice is measured once.

    Raises:
        AdapterError: the adapter is damaged, unsafe, of another base, or not what it claims to be.
        LabError: the base or a dataset cannot be read, or a task does not fit the network.
    """
    with _one_at_a_time:
        network = read_network(base)
        adapter = read_adapter(content)
        adapted = apply_adapter(network, adapter)
        found = verification(network, adapter, adapted)
        sizes = model_spec_of(network.state_dict(), "The base")
        scores = []
        for spec in dict.fromkeys(on):
            task = tasks.get(spec)
            check_fit(sizes, spec.dataset, task.test_x.shape[1], task.classes)
            with torch.no_grad():
                before, after = (
                    evaluate(each.eval(), task.test_x, task.test_y, task.classes) for each in (network, adapted)
                )
            scores.append(Score(spec, len(task.test_y), before, after))
        return Trial(found, tuple(scores))


def merged_with(content: bytes, base: Path) -> bytes:
    """The network file of a base with an adapter added up. Raises: as of :func:`evaluate_adapter`."""
    with _one_at_a_time:
        return network_bytes(merged_copy(apply_adapter(read_network(base), read_adapter(content))))
