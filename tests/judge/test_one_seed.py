"""One seed: which differences the test examples can tell, by counts and example by example."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from core.lab import Lab
from core.rule.networks import on_counts, on_examples
from core.study.report.judged import carried, network_sentences
from tests.judge.samples import csv_of, judged

QUESTIONS = 1319
METHODS = ("lora", "dora", "vera", "oft", "boft", "ia3", "c3a", "fourierft", "loha", "lokr")
SHARES = dict(zip(METHODS, np.linspace(0.491, 0.526, len(METHODS)).round(3).tolist(), strict=True))
"""A table as PEFT publishes it: ten methods between 49.1 and 52.6 %, one seed."""


def holm_by_hand(p: Sequence[float]) -> list[float]:
    order = sorted(range(len(p)), key=lambda place: p[place])
    adjusted, last = [0.0] * len(p), 0.0
    for rank, place in enumerate(order):
        last = max(last, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = last
    return adjusted


def table() -> bytes:
    rows = [{"peft_type": "full", "test_accuracy": 0.472}]
    return csv_of([*rows, *({"peft_type": name, "test_accuracy": share} for name, share in SHARES.items())])


READING = {"method": "peft_type", "unit": "fraction", "unseeded": "one", "examples": QUESTIONS, "noun": "question"}


def test_a_table_as_peft_publishes_it_says_which_differences_can_be_told(idle: Lab) -> None:
    answer = judged(idle, table(), **READING)
    found = {arm.setting.method: each for arm, each in answer.networks}
    z = {
        name: (share - 0.472) / math.sqrt(2 * (m := (share + 0.472) / 2) * (1 - m) / QUESTIONS)
        for name, share in SHARES.items()
    }
    expected = dict(zip(SHARES, holm_by_hand([2 * norm.sf(each) for each in z.values()]), strict=True))
    assert {name: each.p for name, each in found.items()} == pytest.approx(expected)
    assert {name for name, each in found.items() if each.is_told} == {name for name, p in expected.items() if p <= 0.05}
    half = {name: each.interval.half_width for name, each in found.items()}
    assert all(3.7 < width < 3.9 for width in half.values()), "differences under 3.8 points cannot be told"
    text = " ".join(network_sentences(answer))
    assert "differ by less than 3.8 points too often by chance" in text
    assert answer.verdict.claim is None
    assert any(sentence.startswith("One seed each: nothing can be claimed of methods") for sentence in carried(answer))


def test_with_single_answers_mcnemars_test_tells_more(idle: Lab) -> None:
    rng = np.random.default_rng(0)
    full = rng.random(QUESTIONS) < 0.472
    methods = {"full": full, "lora": full | (rng.random(QUESTIONS) < 0.05), "dora": rng.permutation(full)}
    rows = [{"method": name, "seed": 0, "accuracy": 100 * right.mean()} for name, right in methods.items()]
    each = [
        {"method": name, "seed": 0, "item": place, "right": int(right[place])}
        for name, right in methods.items()
        for place in range(QUESTIONS)
    ]
    answer = judged(idle, csv_of(rows), csv_of(each))
    found = {arm.setting.method: each for arm, each in answer.networks}
    p = [
        binomtest(int((right & ~full).sum()), int((right != full).sum())).pvalue
        for name, right in methods.items()
        if name != "full"
    ]
    assert [found[name].p for name in ("lora", "dora")] == pytest.approx(holm_by_hand(p))
    assert found["lora"].is_told
    assert not found["dora"].is_told
    counts = on_counts(100 * methods["lora"].mean(), 100 * full.mean(), QUESTIONS)
    assert counts.interval.mean == pytest.approx(found["lora"].interval.mean)
    assert not counts.is_told, "the same numbers without the answers"


def test_intervals_by_counts_and_by_losses_cover_the_truth() -> None:
    """Of unrelated answers the interval by counts covers in 95 % of cases, and that of losses does."""
    rng = np.random.default_rng(1)
    missed = {"counts": 0, "losses": 0}
    times = 400
    for _ in range(times):
        a, b = rng.binomial(300, [0.6, 0.5]) / 3
        interval = on_counts(a, b, 300).interval
        missed["counts"] += not interval.low <= 10 <= interval.high
        common = rng.gamma(2, 1, 300)
        interval = on_examples(common + rng.normal(0.1, 1, 300), common + rng.normal(0, 1, 300)).interval
        missed["losses"] += not interval.low <= 0.1 <= interval.high
    assert all(0.02 <= count / times <= 0.085 for count in missed.values()), missed
