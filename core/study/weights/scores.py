"""Scores of networks with changed ΔW on target and source, in the primary measure of their objective."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import nn

from core.data.examples import Examples, Task
from core.lab import Lab
from core.objectives.measure import Measure
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.store.record import Run
from core.study.weights.spectrum import Array
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


@dataclass(frozen=True)
class Scores:
    """The primary measure of n networks, in arrays of shape (n,)."""

    target: Array
    source: Array | None
    """None where the target is the source."""
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

    @property
    def lines(self) -> dict[On, Array]:
        """The arrays that were measured, those of the target first."""
        found: dict[On, Array] = {"target": self.target}
        if self.source is not None:
            found["source"] = self.source
        return found

    @classmethod
    def joined(cls, scores: Sequence[Scores]) -> Scores:
        """Return the scores of several sets of networks on the same examples, in this order; at least one set."""
        sources = [each.source for each in scores if each.source is not None]
        target = np.concatenate([each.target for each in scores])
        return replace(scores[0], target=target, source=np.concatenate(sources) if sources else None)

    def at(self, *places: int) -> Scores:
        """Return the scores of some of the networks, in this order."""
        chosen = list(places)
        return replace(self, target=self.target[chosen], source=None if self.source is None else self.source[chosen])


@dataclass(frozen=True, eq=False)
class Evaluator:
    """The examples of target and source that networks are evaluated on."""

    target: Part
    source: Part | None
    """None where the target is the source."""
    objective: ObjectiveSpec = CLASSIFICATION
    """What the networks learn, and by which measure they are judged."""
    is_split: bool = False
    """Whether the source is judged among its own classes; see :attr:`core.run_spec.RunSpec.is_split`."""

    def of_networks(self, networks: Iterable[nn.Module]) -> Scores:
        """Evaluate networks."""
        primary, masked = self.objective.primary, self.objective.masked
        of_source = masked if self.is_split and masked is not None else primary
        target: list[float] = []
        source: list[float] = []
        with torch.no_grad(), one_thread():
            for network in networks:
                target.append(self._judged(network, self.target).measures[primary.name])
                if self.source:
                    source.append(self._judged(network, self.source).measures[of_source.name])
        return Scores(np.array(target), np.array(source) if self.source else None, self.objective)

    def _judged(self, network: nn.Module, part: Part) -> Evaluation:
        return evaluate(network, part.examples, part.classes, objective=self.objective)


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
    return Evaluator(_part(own, part, limit), second, run.spec.objective, run.spec.is_split)


def _part(task: Task, part: PartName, limit: int | None) -> Part:
    examples = task.part(part)
    if limit is not None and len(examples) > limit:
        drawn = torch.randperm(len(examples), generator=torch.Generator().manual_seed(DRAW_SEED))[:limit]
        examples = examples.at(drawn.sort().values)
    return Part(examples, task.classes)
