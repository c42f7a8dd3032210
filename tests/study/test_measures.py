"""How means and their intervals are written: within what a measure can be, and the same everywhere."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.results.arm import arms_of
from core.results.intervals import Interval, t_interval
from core.results.measures import bounded, quantity, spread_text
from core.results.row import rows_of
from core.study.arms.difference_tables import interval_text
from core.study.arms.tables import comparison_text
from core.study.figures.intervals import arm_dots
from core.study.figures.style import whiskers
from core.study.figures.tradeoffs import accuracy_against
from tests.study.samples import make_arm_runs


def numbers(text: str) -> list[float]:
    return [float(found.replace("−", "-")) for found in re.findall(r"[−+]?\d+(?:\.\d+)?", text)]


@given(st.lists(st.floats(0, 100), min_size=2, max_size=6))
def test_an_interval_of_accuracies_stays_inside_0_to_100_and_is_otherwise_left_as_it_is(values):
    interval = t_interval(values)
    inside = bounded(interval, quantity("accuracy"))
    assert inside == replace(interval, low=max(interval.low, 0), high=min(interval.high, 100))
    assert all(0 <= number <= 100 for number in numbers(spread_text(interval, quantity("accuracy"))))
    bars = whiskers([interval], quantity("accuracy"))
    assert interval.mean + bars["array"][0] <= 100 + 1e-9
    assert interval.mean - bars["arrayminus"][0] >= -1e-9


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=6))
def test_a_difference_of_accuracies_stays_inside_100_points(values):
    assert all(-100 <= number <= 100 for number in numbers(interval_text(t_interval(values), quantity("accuracy"))))


@pytest.mark.parametrize(
    ("interval", "measure", "text"),
    [
        (Interval(74.07, 16.2, 131.94, 3), "accuracy", "74.1 % (16.2 to 100)"),
        (Interval(10.0, -5.0, 25.0, 3), "accuracy", "10.0 % (0 to 25.0)"),
        (Interval(97.31, 97.19, 97.43, 8), "accuracy", "97.31 % (97.19 to 97.43)"),
        (Interval(97.31, 97.31, 97.31, 8), "accuracy", "97.31 %"),
        (Interval(97.31, 97.3099, 97.3101, 8), "accuracy", "97.31 %"),
        (t_interval([97.31]), "accuracy", "97.31 %"),
        (t_interval([]), "accuracy", "–"),
        (t_interval([math.nan, 1.0]), "accuracy", "not a number"),
        (Interval(2.0, -1.0, 5.0, 3), "forgetting", "+2.0 points (−1.0 to +5.0)"),
        (Interval(0.11, -0.02, 0.24, 3), "seconds", "0.11 s (0.00 to 0.24)"),
        (Interval(60.0, 58.0, 62.0, 3), "seconds", "1 min 0 s (58.0 s to 1 min 2 s)"),
        (Interval(6248.0, 6248.0, 6248.0, 3), "trainable_parameters", "6,248"),
    ],
)
def test_a_mean_reads_as_people_write_it(interval, measure, text):
    assert spread_text(interval, quantity(measure)) == text


def test_seeds_that_agree_have_no_interval_of_width_zero_anywhere():
    arms = arms_of(rows_of(make_arm_runs("full", [97.5] * 3) + make_arm_runs("lora", [20.0, 99.0, 95.0])))
    assert comparison_text(arms)["Accuracy"].tolist()[0] == "97.50 %"
    table = comparison_text(arms).to_string()
    assert "±" not in table
    colours = {arm.key: "red" for arm in arms}
    for figure in (arm_dots(arms, colours), accuracy_against("storage", arms, colours)):
        for trace in figure.data:
            for error, at in ((trace.error_x, trace.x), (trace.error_y, trace.y)):
                if error.array is not None:
                    assert np.all(np.asarray(at) + error.array <= 100)
                    assert np.all(np.asarray(at) - error.arrayminus >= 0)
