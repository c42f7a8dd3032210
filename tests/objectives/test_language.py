"""Bits per byte are a ratio of sums, whose linearization gives intervals over texts; lower is better."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SpecError
from core.objectives.language import LanguageSpec
from core.objectives.measure import Answers
from core.run_spec import RunSpec

TEXTS = st.lists(
    st.tuples(st.floats(0, 500), st.integers(1, 90), st.integers(1, 300)).map(lambda text: (*text, text[1] // 2)),
    min_size=2,
    max_size=30,
)
"""Nats, scored tokens and bytes of some texts, and how many tokens are predicted rightly."""


def answers_of(texts: list[tuple[float, int, int, int]]) -> Answers:
    nats, tokens, size, right = (np.array(column) for column in zip(*texts, strict=True))
    return Answers(right, np.stack([tokens, size], 1), nats)


@given(TEXTS)
def test_a_measure_is_a_ratio_of_sums_and_the_mean_of_what_each_text_adds(texts: list) -> None:
    answers = answers_of(texts)
    bits, right, loss = (
        sum(text[0] for text in texts) / math.log(2) / sum(text[2] for text in texts),
        100 * sum(text[3] for text in texts) / sum(text[1] for text in texts),
        sum(text[0] for text in texts) / sum(text[1] for text in texts),
    )
    for measure, expected in zip(LanguageSpec().measures, (bits, right, loss), strict=True):
        assert measure.of(answers) == pytest.approx(expected)
        assert measure.each(answers).mean() == pytest.approx(expected)


def test_the_interval_over_texts_is_that_of_leaving_texts_out() -> None:
    """The linearization has the variance of the jackknife, which knows nothing of it (Efron and Tibshirani, 1993)."""
    draw = np.random.RandomState(0)
    size = draw.randint(20, 200, 400)
    answers = Answers(size // 9, np.stack([size // 4, size], 1), size * draw.gamma(9, 0.15, 400))
    (measure, *_) = LanguageSpec().measures
    n = len(size)
    without = [
        measure.of(Answers(answers.predicted[kept], answers.targets[kept], answers.losses[kept]))
        for kept in (np.arange(n) != left for left in range(n))
    ]
    jackknife = (n - 1) / n * np.square(np.array(without) - np.mean(without)).sum()
    assert measure.each(answers).var(ddof=1) / n == pytest.approx(jackknife, rel=0.02)


def test_the_loss_of_a_batch_is_per_scored_token_also_where_nothing_is_scored() -> None:
    outputs = torch.tensor([[6.0, 1.0], [3.0, 2.0]], dtype=torch.float64)
    assert LanguageSpec().loss(outputs, torch.tensor([[2.0, 9.0], [4.0, 8.0]])).item() == 1.5
    assert LanguageSpec().loss(0 * outputs, torch.zeros(2, 2)).item() == 0


def test_lower_is_better_and_a_network_for_classes_does_not_learn_it() -> None:
    assert LanguageSpec().primary.sign == -1
    assert LanguageSpec().validated == "validation_bits_per_byte"
    for network, objective in (("perceptron", "language"), ("decoder", "classification")):
        with pytest.raises(SpecError, match="choose another network"):
            RunSpec.of(method="pretrain", network=network, objective=objective)
