"""What arms predict for each test example: confusions, accuracy per class, and the examples on which two differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.engine.jobs.run_files import Predictions
from core.objectives.classification import ACCURACY
from core.results.intervals import Interval, t_interval
from core.results.measures import bounded, quantity
from core.rule.controls import ImageFacts, image_facts

ACCURACIES = quantity(ACCURACY.name)


@dataclass(frozen=True, eq=False)
class ArmPredictions:
    """What the runs of an arm answered to the test part of their task."""

    key: str
    """Key of the arm."""
    seeds: tuple[int, ...]
    predicted: Predictions
    """(S, N) for each seed and test example."""
    truth: NDArray[Any]
    """(N,) true labels or numbers."""
    kind: str = "image"
    """What the task consists of; see :func:`core.wording.tasks.noun`."""

    @property
    def right(self) -> NDArray[np.bool_]:
        """(S, N) whether each prediction is right."""
        return np.asarray(self.predicted == self.truth)


@dataclass(frozen=True, eq=False)
class ClassResults:
    """The predictions of several arms by true class."""

    classes: tuple[int, ...]
    """(R,) labels of the test examples, ascending."""
    outputs: tuple[int, ...]
    """(C,) labels of the test examples and all that an arm predicted, ascending: a network may predict classes that its
    task does not have."""
    confusions: dict[str, NDArray[np.float64]]
    """By key of the arm, (R, C): number of examples of each class predicted as each label, as the mean over seeds."""
    accuracies: dict[str, tuple[Interval, ...]]
    """By key of the arm, (R,): accuracy on each class in percent, with Student's t interval over the seeds, cut to 0 to
    100."""
    facts: ImageFacts


@dataclass(frozen=True)
class Disagreement:
    """A test example that one arm predicts rightly and another one wrongly."""

    example: int
    """Index into the test part."""
    truth: int
    """Its label, which the first arm predicts."""
    wrong: int
    """The label that the second arm predicts most often in these seeds; the lowest if several are."""
    seeds: int
    """Number of seeds with which only the first arm is right."""


@dataclass(frozen=True)
class Differing:
    """A test example for which two arms predict different labels."""

    example: int
    """Index into the test part."""
    truth: int
    """Its label."""
    first: tuple[tuple[int, int], ...]
    """What the first arm predicts in the seeds that both have: labels with the number of seeds, most frequent first."""
    second: tuple[tuple[int, int], ...]
    """The same of the second arm."""

    @property
    def right(self) -> tuple[int, int]:
        """Number of seeds with which the first and the second arm are right."""
        return dict(self.first).get(self.truth, 0), dict(self.second).get(self.truth, 0)


def class_results(arms: Sequence[ArmPredictions]) -> ClassResults:
    """Summarise the predictions of arms of one task by class. Args: arms: at least one."""
    truth = arms[0].truth
    classes = np.unique(truth)
    outputs = np.unique(np.concatenate([truth, *(arm.predicted.ravel() for arm in arms)]))
    rows = np.searchsorted(classes, truth)
    counts = np.bincount(rows, minlength=len(classes))
    confusions, accuracies = {}, {}
    for arm in arms:
        cells = rows * len(outputs) + np.searchsorted(outputs, arm.predicted)
        found = np.bincount(cells.ravel(), minlength=len(classes) * len(outputs)) / len(arm.seeds)
        confusions[arm.key] = found.reshape(len(classes), len(outputs))
        hits = np.array([np.bincount(rows, weights=right, minlength=len(classes)) for right in arm.right])
        accuracies[arm.key] = tuple(
            bounded(t_interval(values), ACCURACIES) for values in (100 * hits / counts).T.tolist()
        )
    return ClassResults(
        tuple(classes.tolist()), tuple(outputs.tolist()), confusions, accuracies, image_facts(truth, arms[0].kind)
    )


def correct_differences(a: ArmPredictions, b: ArmPredictions) -> NDArray[np.int8]:
    """(S, N), for each seed that both have and each example: 1 if only ``a`` is right, −1 if only ``b`` is, else 0."""
    left, right = _shared(a, b, a.right), _shared(b, a, b.right)
    return left.astype(np.int8) - right.astype(np.int8)


def _shared(own: ArmPredictions, other: ArmPredictions, rows: NDArray[Any]) -> NDArray[Any]:
    """The rows of seeds that both have; seeds of arms are ascending, so those of both are in one order."""
    return rows[[seed in other.seeds for seed in own.seeds]]


def disagreements(a: ArmPredictions, b: ArmPredictions) -> list[Disagreement]:
    """The test examples that ``a`` predicts rightly and ``b`` wrongly with at least one seed that both have.

    Returns:
        The examples on which most seeds disagree first, otherwise in the order of the test part.
    """
    only_a = correct_differences(a, b) > 0
    predicted = _shared(b, a, b.predicted)
    count = only_a.sum(0)
    order = [int(place) for place in np.argsort(-count, kind="stable") if count[place]]
    return [
        Disagreement(
            place,
            int(a.truth[place]),
            int(np.bincount(predicted[only_a[:, place], place]).argmax()),
            int(count[place]),
        )
        for place in order
    ]


def differing(a: ArmPredictions, b: ArmPredictions) -> list[Differing]:
    """The test examples for which two arms predict different labels with at least one seed that both have.

    Returns:
        First those that one arm predicts rightly with many more seeds than the other, otherwise in the order of the
        test part.
    """
    ours = _shared(a, b, a.predicted)
    theirs = _shared(b, a, b.predicted)
    places = np.flatnonzero((ours != theirs).any(0))
    found = [
        Differing(int(place), int(a.truth[place]), _answers(ours[:, place]), _answers(theirs[:, place]))
        for place in places
    ]
    return sorted(found, key=lambda each: -abs(each.right[0] - each.right[1]))


def _answers(labels: Predictions) -> tuple[tuple[int, int], ...]:
    """Each label among (S,) predictions with how often it is there; the most frequent first, then the lowest."""
    values, counts = np.unique(labels, return_counts=True)
    return tuple((int(values[place]), int(counts[place])) for place in np.argsort(-counts, kind="stable"))
