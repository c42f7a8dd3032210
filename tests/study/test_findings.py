"""Findings of the published reports are counted by direction, and nothing is left out."""

from __future__ import annotations

import re

from core.results.measures import quantity
from core.rule.claims import Difference, difference_of
from docs.reports.findings import MAX_NAMES, levels

NOISE = (0.3, -0.2, 0.1, -0.4, 0.2, 0.0, -0.1, 0.4)


def difference(mean: float, seeds: int = 8) -> Difference:
    values = {seed: mean + NOISE[seed] for seed in range(seeds)}
    return difference_of("LoRA r=4", "Full", values, dict.fromkeys(values, 0.0), quantity("accuracy"))


def test_each_direction_is_counted_once() -> None:
    found = [("a", difference(mean)) for mean in (-3.0, -1.5, 2.0, 0.0)] + [("b", difference(-4.0, seeds=1))]
    text = levels(found, "higher", "lower")
    assert "seen lower in 2 of 5, by 1.5 to 3.0 points" in text
    assert "seen higher in 1 of 5, by 2.0 points" in text
    assert "not told apart in 2 of 5" in text
    assert sum(int(count) for count in re.findall(r"in (\d+) of 5", text)) == len(found)


def test_a_few_are_named_with_their_intervals_and_many_are_not() -> None:
    few = [(f"report-{i}", difference(-3.0)) for i in range(MAX_NAMES)]
    assert levels(few, "higher", "lower").count("LoRA r=4: −2.96, ") == MAX_NAMES
    assert "report-0" not in levels([*few, *few], "higher", "lower")


def test_nothing_to_compare_is_said() -> None:
    assert levels([], "higher", "lower") == "nothing could be compared"
