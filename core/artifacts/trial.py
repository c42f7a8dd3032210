"""Evaluation of an uploaded adapter on a base: whether the file is valid, and how it changes the scores."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn

from core.adapter import Verification, apply_adapter, read_adapter
from core.adapter.verify import verification
from core.data.examples import shapes_of
from core.data.task import Task
from core.data.task_spec import TaskSpec
from core.methods.merging import merged_copy
from core.networks.file import network_bytes
from core.networks.registry import known_spec
from core.objectives.measure import Measure
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION, objective_of
from core.tasks.tasks import Tasks
from core.training.evaluation import Evaluation, evaluate

_one_at_a_time = threading.Lock()
"""Held during an evaluation, which needs memory for several copies of the network."""


@dataclass(frozen=True)
class Score:
    """The base's evaluation on the test part of a task, without and with the adapter."""

    task: TaskSpec
    examples: int
    """Number of test examples."""
    before: Evaluation
    after: Evaluation
    objective: ObjectiveSpec

    @classmethod
    def of(cls, base: nn.Module, adapted: nn.Module, task: Task, objective: ObjectiveSpec) -> Self:
        """Evaluate a base, and the same with an adapter. Args: objective: what both answer, and are judged by."""
        with torch.no_grad():
            before, after = (evaluate(each, task.test, task.classes, objective=objective) for each in (base, adapted))
        return cls(task.spec, len(task.test), before, after, objective)

    @property
    def measure(self) -> Measure:
        """What both are judged by."""
        return self.objective.primary

    @property
    def values(self) -> tuple[float, float]:
        """The measure without and with the adapter."""
        return self.before.measures[self.measure.name], self.after.measures[self.measure.name]


def evaluate_adapter(
    content: bytes,
    base: nn.Module,
    tasks: Tasks,
    on: Sequence[TaskSpec],
    objective: ObjectiveSpec = CLASSIFICATION,
) -> tuple[Verification, tuple[Score, ...]]:
    """Verify an adapter file against a base, and evaluate the base without and with it on some tasks.

    Each process evaluates one adapter at a time, so that memory stays bounded.

    Args:
        content: the adapter zip, from LoRA Lab or PEFT.
        base: the network; it is not changed.
        tasks: where to get the tasks.
        on: specs of the tasks; duplicates are evaluated once.
        objective: what the base learned, and by which measure it is judged.

    Returns:
        What verifying found, and a score per task; nothing is written to disk.

    Raises:
        AdapterError: the adapter is damaged, unsafe, or made for another base.
        LabError: the base or a dataset cannot be read, or a task does not fit the network.
    """
    with _one_at_a_time:
        adapter = read_adapter(content)
        adapted = apply_adapter(base, adapter)
        found = verification(base, adapter, adapted)
        sizes = known_spec(base)
        scores = []
        for spec in dict.fromkeys(on):
            task = tasks.get(spec, network=sizes)
            sizes.check_fit(spec.dataset, shapes_of(task.test.batch(slice(0, 1))), task.classes)
            own = objective_of(tasks.catalog.info(spec.dataset).objective)
            own.check_outputs(sizes.num_classes)
            scores.append(Score.of(base, adapted, task, objective if objective.kind == own.kind else own))
        return found, tuple(scores)


def merged_with(content: bytes, base: nn.Module) -> bytes:
    """The network file of a base with an adapter merged in. Raises: see :func:`evaluate_adapter`."""
    with _one_at_a_time:
        return network_bytes(merged_copy(apply_adapter(base, read_adapter(content))))
