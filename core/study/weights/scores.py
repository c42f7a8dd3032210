"""Scores of networks with changed ΔW on target and source, in the primary measure of their objective."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from core.data.examples import Examples, Task
from core.lab import Lab
from core.objectives.measure import Measure
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.store.record import Run
from core.study.weights.decomposition import Array
from core.training.evaluation import Evaluation, evaluate
from core.training.threads import one_thread

PartName = Literal["validation", "test"]
On = Literal["target", "source"]
DRAW_SEED = 20210617
"""Seed of the choice of examples, where not all are evaluated."""


@dataclass(frozen=True, eq=False)
class Part:
    """Examples of a task that networks are evaluated on."""

    examples: Examples
    classes: tuple[int, ...]
    """Labels that occur in the task; empty without classes."""


@dataclass(frozen=True, eq=False)
class Line:
    """The scores of n networks on one task."""

    on: On
    masked: bool
    """Whether answers are chosen among the task's own classes only."""
    values: Array
    """(n,)."""

    @property
    def title(self) -> str:
        """What it is called, as in ``Source, own classes``."""
        return f"{self.on.capitalize()}{', own classes' if self.masked else ''}"


@dataclass(frozen=True)
class Scores:
    """The primary measure of n networks, in arrays of shape (n,)."""

    target: Array
    target_masked: Array | None
    """By the masked measure of the objective; None where it has none, or where it was not measured."""
    source: Array | None
    """None where the target is the source."""
    source_masked: Array | None
    objective: ObjectiveSpec = CLASSIFICATION

    @property
    def measure(self) -> Measure:
        """What the networks are judged by."""
        return self.objective.primary

    @property
    def oriented(self) -> Array:
        """(n,) the scores on the target with a sign such that higher is better; what is no number is the worst."""
        values = self.measure.sign * self.target
        return np.where(np.isnan(values), -np.inf, values)

    def line(self, on: On, masked: bool) -> Array:
        """Return one of the four arrays; NaN for what was not measured."""
        plain, own = (self.target, self.target_masked) if on == "target" else (self.source, self.source_masked)
        chosen = own if masked else plain
        return np.full(len(self.target), np.nan) if chosen is None else chosen

    def lines(self, masked: bool) -> list[Line]:
        """Return the arrays that were measured, those of the target first. Args: masked: whether masked ones too."""
        found = (
            Line("target", False, self.target),
            Line("target", True, self.target_masked) if self.target_masked is not None else None,
            Line("source", False, self.source) if self.source is not None else None,
            Line("source", True, self.source_masked) if self.source_masked is not None else None,
        )
        return [line for line in found if line is not None and (masked or not line.masked)]

    @classmethod
    def joined(cls, scores: Sequence[Scores]) -> Scores:
        """Return the scores of several sets of networks on the same examples, in this order; at least one set."""
        first, *rest = scores
        return first.changed(lambda name, values: np.concatenate([values, *(getattr(each, name) for each in rest)]))

    def at(self, *places: int) -> Scores:
        """Return the scores of some of the networks, in this order."""
        return self.changed(lambda name, values: values[list(places)])

    def changed(self, change: Callable[[str, Array], Array]) -> Scores:
        """Return scores with each array that was measured changed. Args: change: called with its name and values."""
        arrays = {name: getattr(self, name) for name in ("target", "target_masked", "source", "source_masked")}
        changed: Any = {name: change(name, found) for name, found in arrays.items() if found is not None}
        return replace(self, **changed)


@dataclass(frozen=True, eq=False)
class Evaluator:
    """The examples of target and source that networks are evaluated on."""

    target: Part
    source: Part | None
    """None where the target is the source."""
    objective: ObjectiveSpec = CLASSIFICATION
    """What the networks learn, and by which measure they are judged."""

    def of_networks(self, networks: Iterable[nn.Module]) -> Scores:
        """Evaluate networks."""
        target: list[Evaluation] = []
        source: list[Evaluation] = []
        with torch.no_grad(), one_thread():
            for network in networks:
                target.append(self._judged(network, self.target))
                if self.source:
                    source.append(self._judged(network, self.source))
        return self._scores(target, source)

    def _judged(self, network: nn.Module, part: Part) -> Evaluation:
        return evaluate(network, part.examples, part.classes, objective=self.objective)

    def _scores(self, target: Sequence[Evaluation], source: Sequence[Evaluation]) -> Scores:
        """The scores of some networks. Args: source: of the same networks; empty where the target is the source."""

        def values(found: Sequence[Evaluation], measure: Measure | None) -> Array | None:
            return np.array([each.measures[measure.name] for each in found]) if found and measure else None

        primary, masked = self.objective.primary, self.objective.masked
        return Scores(
            np.array([each.measures[primary.name] for each in target]),
            values(target, masked),
            values(source, primary),
            values(source, masked),
            self.objective,
        )


def evaluator_for(lab: Lab, run: Run, part: PartName, limit: int | None = None) -> Evaluator:
    """Read the examples of a run's target and source.

    Args:
        lab: has the datasets.
        run: a fine-tune run.
        part: ``validation`` to choose something, ``test`` to measure what was chosen.
        limit: maximum number of examples of each, drawn at random, always the same ones; None for all.

    Raises:
        DatasetError: a dataset is missing.
    """
    target, source = run.spec.task, run.spec.source
    own = lab.tasks.get(target, network=run.spec.network)
    other = lab.tasks.get(source, network=run.spec.network) if source is not None and source != target else None
    second = _part(other, part, limit) if other is not None else None
    return Evaluator(_part(own, part, limit), second, run.spec.objective)


def _part(task: Task, part: PartName, limit: int | None) -> Part:
    examples = task.part(part)
    if limit is not None and len(examples) > limit:
        drawn = torch.randperm(len(examples), generator=torch.Generator().manual_seed(DRAW_SEED))[:limit]
        examples = examples.at(drawn.sort().values)
    return Part(examples, task.classes)
