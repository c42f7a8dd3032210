"""Measures of a network on held-out data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from core.data.examples import EvaluationPart, Examples, Task
from core.networks.forward import evaluating, forward
from core.networks.network import spec_on
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.training.side_by_side import side_by_side

BATCH = 8192
"""Examples per forward pass, unless the network's family has another number: enough to keep the device busy, few enough
for any memory."""


@dataclass(frozen=True)
class Evaluation:
    """Measures of a network on one part of a task, and on a test part what it answered to each example."""

    measures: Mapping[str, float]
    """By name; see :class:`core.objectives.measure.Measure`."""
    predicted: Tensor | None = field(default=None, compare=False, repr=False)
    """(n,) label or number that it answered to each example, on the device; None on a validation part."""
    losses: Tensor | None = field(default=None, compare=False, repr=False)
    """(n,) float32 loss of each example, on the device; None on a validation part."""

    @property
    def loss(self) -> float:
        """Mean loss."""
        return self.measures["loss"]


def evaluate(
    network: Callable[..., Tensor],
    examples: Examples,
    classes: Sequence[int],
    look: Callable[[], None] = lambda: None,
    objective: ObjectiveSpec = CLASSIFICATION,
) -> Evaluation:
    """Evaluate a network with every measure of an objective, those of source tasks included.

    Args:
        network: evaluated in evaluation mode, after which it has its own mode again; or any other function from
            a batch's inputs to (m, outputs); see :func:`core.networks.forward.forward`.
        examples: what to evaluate it on.
        classes: labels that occur in the task; empty without classes.
        look: called before each batch; an exception from it ends the evaluation.
        objective: what the network has learned.
    """
    return judge(predict(network, examples, look), examples.labels, classes, objective)


def predict(
    network: Callable[..., Tensor],
    examples: Examples,
    look: Callable[[], None] = lambda: None,
    size: int | None = None,
    threads: int | None = None,
) -> Tensor:
    """Logits of examples, (n, outputs), in evaluation mode.

    Args:
        network: see :func:`evaluate`.
        examples: what to compute them for.
        look: called before each batch; an exception from it ends the work.
        size: examples at a time; None for :func:`batch_of`.
        threads: how many compute batches of a family that takes few at a time; None for as many as torch uses here.
    """
    size, order = batch_of(network) if size is None else size, examples.by_length()
    slices = [slice(start, start + size) for start in range(0, max(len(examples), 1), size)]
    on_several = examples.labels.device.type == "cpu" and size < BATCH
    threads = (threads or torch.get_num_threads()) if on_several else 1

    def outputs(part: slice) -> Tensor:
        with torch.no_grad():  # every thread has its own switch
            return forward(network, examples.batch(part if order is None else order[part]))

    with evaluating(network) if isinstance(network, nn.Module) else nullcontext():
        found = torch.cat(side_by_side(outputs, slices, threads, look))
    return found if order is None else torch.empty_like(found).index_copy_(0, order, found)


def batch_of(network: object) -> int:
    """Examples per forward pass in the evaluation of a network, or of a function."""
    spec = spec_on(network) if isinstance(network, nn.Module) else None
    return (spec.evaluation_batch if spec else None) or BATCH


def evaluate_both(
    network: Callable[..., Tensor],
    task: Task,
    source: Task | None,
    part: EvaluationPart,
    look: Callable[[], None] = lambda: None,
    objective: ObjectiveSpec = CLASSIFICATION,
    threads: int | None = None,
) -> tuple[Evaluation, Evaluation | None]:
    """Evaluate on one part of a task and, if given, of the source task; see :func:`judge_part` and :func:`predict`."""

    def found(task: Task, is_source: bool) -> Evaluation:
        examples = task.part(part)
        return judge_part(
            predict(network, examples, look, threads=threads), examples.labels, task.classes, objective, part, is_source
        )

    return found(task, False), found(source, True) if source else None


def judge_part(
    outputs: Tensor,
    targets: Tensor,
    classes: Sequence[int],
    objective: ObjectiveSpec,
    part: EvaluationPart,
    is_source: bool,
) -> Evaluation:
    """Evaluate the outputs for one part of a task: on a test part with all measures, else with those of an epoch's end.

    Args:
        outputs: (n, outputs) of a network.
        targets: (n,) labels or numbers.
        classes: labels that occur in the task; empty without classes.
        objective: what the network learns.
        part: what the examples are.
        is_source: whether the task is the source task.
    """
    if part == "validation":
        return Evaluation(objective.judge(outputs, targets, classes, objective.after_epoch(is_source)))
    names = objective.at_end(is_source)
    return _whole(outputs, targets, classes, objective, names)


def judge(
    outputs: Tensor, targets: Tensor, classes: Sequence[int], objective: ObjectiveSpec = CLASSIFICATION
) -> Evaluation:
    """Evaluate outputs with every measure of an objective. Args: see :func:`judge_part`."""
    return _whole(outputs, targets, classes, objective, tuple(objective.all_measures))


def _whole(
    outputs: Tensor, targets: Tensor, classes: Sequence[int], objective: ObjectiveSpec, names: Sequence[str]
) -> Evaluation:
    return Evaluation(
        objective.judge(outputs, targets, classes, names),
        objective.predict(outputs),
        objective.losses(outputs, targets).to(torch.float32),
    )
