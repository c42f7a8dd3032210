"""Macro-F1 against scores counted by hand and its linearization against jackknife values; the largest class's share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.objectives.classification import LARGEST_CLASS, ClassificationSpec, macro_f1, macro_f1_of_each
from core.objectives.measure import Answers

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40)


def score(predicted: list[int], labels: list[int]) -> float:
    return macro_f1(Answers(np.array(predicted, np.int64), np.array(labels, np.int64)))


def largest_share(labels: list[int]) -> float:
    return ClassificationSpec().facts(torch.tensor(labels, dtype=torch.int64))[LARGEST_CLASS]


@pytest.mark.parametrize(
    ("predicted", "labels", "expected", "share"),
    [
        # Class 0: 3 right, 4 predicted, 4 there; class 1: 1 right, 3 predicted, 2 there; class 2: none right.
        ([0, 0, 0, 1, 1, 0, 1], [0, 0, 0, 0, 1, 1, 2], (6 / 8 + 2 / 5 + 0) / 3, 4 / 7),
        # Classes without examples have no score, and answers in them are wrong.
        ([1, 7, 4, 4], [1, 1, 4, 4], (2 / 3 + 1) / 2, 1 / 2),
        ([1, 1, 4, 4], [1, 1, 4, 4], 1, 1 / 2),
        ([9] * 4, [1, 1, 4, 4], 0, 1 / 2),
        # Always naming the largest class is accurate and scores low.
        ([0] * 100, [0] * 90 + [1] * 10, (180 / 190) / 2, 9 / 10),
    ],
)
def test_macro_f1_and_the_share_of_the_largest_class_counted_by_hand(
    predicted: list[int], labels: list[int], expected: float, share: float
) -> None:
    assert score(predicted, labels) == pytest.approx(100 * expected)
    assert largest_share(labels) == pytest.approx(100 * share)


def test_nothing_to_judge_gives_zero() -> None:
    assert (score([], []), largest_share([])) == (0, 0)
    assert macro_f1_of_each(Answers(np.array([], np.int64), np.array([], np.int64))).shape == (0,)


@given(PAIRS)
def test_it_is_the_mean_of_harmonic_means_of_precision_and_recall(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = (list(side) for side in zip(*pairs, strict=True))
    scores = []
    for label in sorted(set(labels)):
        right = sum(pair == (label, label) for pair in pairs)
        recall = right / labels.count(label)
        precision = right / predicted.count(label) if label in predicted else 0.0
        scores.append(2 * precision * recall / (precision + recall) if right else 0.0)
    assert score(predicted, labels) == pytest.approx(100 * sum(scores) / len(scores), rel=1e-5)


@given(PAIRS)
def test_what_each_example_adds_is_the_derivative_with_respect_to_its_weight(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = (np.array(side) for side in zip(*pairs, strict=True))
    each = macro_f1_of_each(Answers(predicted, labels))
    assert each.mean() == pytest.approx(score(predicted, labels), abs=1e-4)
    step = 1e-6
    for place in range(min(len(pairs), 5)):
        weights = torch.ones(len(pairs), dtype=torch.float64)
        weights[place] += step
        slope = (_weighted(predicted, labels, weights) - _weighted(predicted, labels, torch.ones_like(weights))) / step
        assert slope * len(pairs) == pytest.approx(each[place] - each.mean(), abs=1e-2)


def _weighted(predicted: np.ndarray, labels: np.ndarray, weights: torch.Tensor) -> float:
    """Macro-F1 in percent of examples that count as often as their weights say."""
    w, scores = weights.numpy() / weights.numpy().sum(), []
    for label in np.unique(labels):
        hits = w[(labels == label) & (predicted == label)].sum()
        scores.append(2 * hits / (w[labels == label].sum() + w[predicted == label].sum()))
    return 100 * float(np.mean(scores))
