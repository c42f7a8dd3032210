"""What arms predict for each test image: confusions, accuracy per class, and the images that only one gets right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.engine.predictions import Predictions
from core.study.stats.images import CrossedInterval, ImageFacts, crossed_interval, image_facts
from core.study.stats.intervals import Interval, t_interval


@dataclass(frozen=True, eq=False)
class ArmPredictions:
    """The labels that the runs of an arm predicted on the test part of their task."""

    key: str
    """Key of the arm."""
    seeds: tuple[int, ...]
    predicted: Predictions
    """(S, N) for each seed and test image."""
    truth: NDArray[np.int64]
    """(N,) true labels."""

    @property
    def right(self) -> NDArray[np.bool_]:
        """(S, N) whether each prediction is right."""
        return np.asarray(self.predicted == self.truth)


@dataclass(frozen=True, eq=False)
class ClassResults:
    """The predictions of several arms by true class."""

    classes: tuple[int, ...]
    """(R,) labels of the test images, ascending."""
    outputs: tuple[int, ...]
    """(C,) labels of the test images and all that an arm predicted, ascending: a network may predict classes that its
    task does not have."""
    confusions: dict[str, NDArray[np.float64]]
    """By key of the arm, (R, C): number of images of each class predicted as each label, as the mean over seeds."""
    accuracies: dict[str, tuple[Interval, ...]]
    """By key of the arm, (R,): accuracy on each class in percent, with Student's t interval over the seeds, cut to 0 to
    100."""
    facts: ImageFacts


@dataclass(frozen=True)
class Disagreement:
    """A test image that one arm predicts rightly and another one wrongly."""

    image: int
    """Index into the test part."""
    truth: int
    """Its label, which the first arm predicts."""
    wrong: int
    """The label that the second arm predicts most often in these seeds; the lowest if several are."""
    seeds: int
    """Number of seeds with which only the first arm is right."""


def class_results(arms: Sequence[ArmPredictions]) -> ClassResults:
    """Summarise the predictions of arms of one task by class.

    Args:
        arms: at least one.
    """
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
        accuracies[arm.key] = tuple(_within_bounds(t_interval(values)) for values in (100 * hits / counts).T.tolist())
    return ClassResults(tuple(classes.tolist()), tuple(outputs.tolist()), confusions, accuracies, image_facts(truth))


def correct_differences(a: ArmPredictions, b: ArmPredictions) -> NDArray[np.int8]:
    """(S, N), for each seed that both have and each image: 1 if only ``a`` is right, −1 if only ``b`` is, else 0."""
    # Seeds of arms are ascending, so the rows of both are in one order.
    left, right = a.right[[seed in b.seeds for seed in a.seeds]], b.right[[seed in a.seeds for seed in b.seeds]]
    return left.astype(np.int8) - right.astype(np.int8)


def crossed_difference(a: ArmPredictions, b: ArmPredictions) -> CrossedInterval:
    """The accuracy of ``a`` minus that of ``b``; see :func:`core.study.stats.images.crossed_interval`."""
    return crossed_interval(correct_differences(a, b))


def disagreements(a: ArmPredictions, b: ArmPredictions) -> list[Disagreement]:
    """The test images that ``a`` predicts rightly and ``b`` wrongly with at least one seed that both have.

    Returns:
        The images on which most seeds disagree first, otherwise in the order of the test part.
    """
    only_a = correct_differences(a, b) > 0
    predicted = b.predicted[[seed in a.seeds for seed in b.seeds]]
    count = only_a.sum(0)
    order = [int(image) for image in np.argsort(-count, kind="stable") if count[image]]
    return [
        Disagreement(
            image,
            int(a.truth[image]),
            int(np.bincount(predicted[only_a[:, image], image]).argmax()),
            int(count[image]),
        )
        for image in order
    ]


def _within_bounds(interval: Interval) -> Interval:
    """The interval of a percentage, cut to the values that it can have; NaN stays."""
    low, high = np.clip([interval.low, interval.high], 0, 100).tolist()
    return Interval(interval.mean, low, high, interval.n)
