"""Macro-F1 against scores counted by hand, and the share of the largest class."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.training.evaluation import largest_share, macro_f1


def test_macro_f1_is_the_mean_of_the_scores_of_the_classes():
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    predicted = torch.tensor([0, 0, 0, 1, 1, 0, 1])
    # Class 0: 3 right, 4 predicted, 4 there; class 1: 1 right, 3 predicted, 2 there; class 2: none right.
    assert macro_f1(predicted, labels) == pytest.approx(100 * (6 / 8 + 2 / 5 + 0) / 3)
    assert largest_share(labels) == pytest.approx(400 / 7)


def test_classes_without_examples_have_no_score_and_answers_in_them_are_wrong():
    labels = torch.tensor([1, 1, 4, 4])
    assert macro_f1(torch.tensor([1, 7, 4, 4]), labels) == pytest.approx(100 * (2 / 3 + 1) / 2)
    assert macro_f1(labels, labels) == 100
    assert macro_f1(torch.full((4,), 9), labels) == 0


def test_always_naming_the_largest_class_is_accurate_and_scores_low():
    labels = torch.tensor([0] * 90 + [1] * 10)
    assert largest_share(labels) == 90
    assert macro_f1(torch.zeros(100, dtype=torch.int64), labels) == pytest.approx(100 * (180 / 190) / 2)


def test_nothing_to_judge_gives_zero():
    nothing = torch.empty(0, dtype=torch.int64)
    assert (macro_f1(nothing, nothing), largest_share(nothing)) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40))
def test_it_is_the_mean_of_harmonic_means_of_precision_and_recall(pairs):
    labels, predicted = (torch.tensor(side) for side in zip(*pairs, strict=True))
    scores = []
    for label in labels.unique().tolist():
        right = sum(pair == (label, label) for pair in pairs)
        recall = right / sum(truth == label for truth, _ in pairs)
        named = sum(answer == label for _, answer in pairs)
        precision = right / named if named else 0.0
        scores.append(2 * precision * recall / (precision + recall) if right else 0.0)
    assert macro_f1(predicted, labels) == pytest.approx(100 * sum(scores) / len(scores), rel=1e-5)
