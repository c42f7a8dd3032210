"""Confusions, accuracies per class and disagreements, against predictions that are counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.results.intervals import t_interval
from core.rule.controls import MIN_IMAGES, image_facts
from core.study.arms.examples import (
    ArmPredictions,
    Disagreement,
    class_results,
    correct_differences,
    disagreements,
)

TRUTH = np.array([0, 0, 1, 1, 1, 3])


def arm(key: str, *predicted: list[int], seeds: tuple[int, ...] | None = None) -> ArmPredictions:
    return ArmPredictions(key, seeds or tuple(range(len(predicted))), np.array(predicted, dtype=np.uint8), TRUTH)


A = arm("a", [0, 0, 1, 1, 1, 3], [0, 1, 1, 1, 0, 3])
B = arm("b", [0, 7, 1, 0, 0, 0], [0, 7, 1, 0, 1, 0], [3, 3, 3, 3, 3, 3])


def test_confusions_count_images_by_true_class_as_the_mean_over_seeds():
    found = class_results([A, B])
    assert found.classes == (0, 1, 3)
    assert found.outputs == (0, 1, 3, 7)  # no class of the task is called 7, but B says it
    np.testing.assert_allclose(found.confusions["a"], [[1.5, 0.5, 0, 0], [0.5, 2.5, 0, 0], [0, 0, 1, 0]])
    np.testing.assert_allclose(found.confusions["b"] * 3, [[2, 0, 2, 2], [3, 3, 3, 0], [2, 0, 1, 0]])
    for matrix in found.confusions.values():
        np.testing.assert_allclose(matrix.sum(1), [2, 3, 1])
    assert (found.facts.images, found.facts.classes) == (6, 3)


def test_accuracies_per_class_are_means_over_seeds_with_intervals_within_bounds():
    found = class_results([A, B]).accuracies
    assert [interval.mean for interval in found["a"]] == pytest.approx([75, 500 / 6, 100])
    unbounded = t_interval([100.0, 50.0])
    assert unbounded.high > 100
    assert (found["a"][0].low, found["a"][0].high) == (max(0, unbounded.low), 100)
    assert (found["a"][2].low, found["a"][2].high) == (100, 100)
    (alone,) = class_results([arm("a", [0, 0, 1, 1, 1, 0])]).accuracies.values()
    assert [interval.mean for interval in alone] == [100, 100, 0]
    assert all(math.isnan(interval.low) for interval in alone)


def test_images_with_most_disagreeing_seeds_come_first():
    # Seeds 0 and 1 are shared; only A is right on images 1, 3, 4, 5 with seed 0 and on 3, 5 with seed 1.
    assert disagreements(A, B) == [
        Disagreement(3, 1, 0, 2),
        Disagreement(5, 3, 0, 2),
        Disagreement(1, 0, 7, 1),
        Disagreement(4, 1, 0, 1),
    ]
    assert disagreements(B, A) == [Disagreement(4, 1, 0, 1)]
    assert disagreements(A, A) == []


def test_differences_are_paired_by_seed_whatever_else_each_has():
    np.testing.assert_array_equal(correct_differences(A, B), [[0, 1, 0, 1, 1, 1], [0, 0, 0, 1, -1, 1]])
    late = arm("late", [9] * 6, [0, 7, 1, 0, 1, 0], seeds=(0, 1))
    early = arm("early", [0, 1, 1, 1, 0, 3], seeds=(1,))
    np.testing.assert_array_equal(correct_differences(early, late), [[0, 0, 0, 1, -1, 1]])
    np.testing.assert_array_equal(correct_differences(late, early), [[0, 0, 0, -1, 1, -1]])
    nothing = arm("nothing", [0] * 6, seeds=(8,))
    assert correct_differences(A, nothing).shape == (0, 6)
    assert disagreements(A, nothing) == []


def test_facts_count_images_and_classes() -> None:
    even = image_facts(np.repeat(np.arange(10), 200))
    assert (even.images, even.classes, even.chance, even.worth) == (2000, 10, 10.0, 0.05)
    assert even.sentence == "2,000 test images: one is worth 0.050 points. Guessing among 10 classes reaches 10.0 %."
    assert even.warning == ""
    skewed = image_facts([0] * 300 + [1] * 60)
    assert skewed.sentence == (
        "360 test images: one is worth 0.28 points. Always naming the most frequent class reaches 83.3 %."
    )
    assert "only 360 test images" in skewed.warning
    assert image_facts([0] * (MIN_IMAGES - 1)).warning
    assert not image_facts([0] * MIN_IMAGES).warning
    assert "0.0033 points" in image_facts([0] * 30_000).sentence
    assert image_facts([]).sentence == "There are no test images."
