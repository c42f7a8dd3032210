"""What looks may use of the error rate: the table of the rule, and that nothing is used twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.study.stats.spending import CLAIM_SEEDS, level_of, next_look, spent


@pytest.mark.parametrize(
    ("looks", "levels"),
    [
        (
            [],
            {7: 0.0286, 8: 0.03125, 9: 0.0333, 10: 0.035, 12: 0.0375, 16: 0.0406, 20: 0.0425, 24: 0.0438, 32: 0.0453}
            | {48: 0.0469, 64: 0.0477},
        ),
        (
            [8],
            {9: 0.0, 10: 0.0038, 12: 0.0063, 16: 0.0094, 20: 0.0113, 24: 0.0125, 32: 0.0141, 48: 0.0156, 64: 0.0164},
        ),
        ([8, 16], {32: 0.0047}),
        ([8, 16, 32], {64: 0.0023}),
    ],
)
def test_each_look_has_the_level_of_the_rules_table(looks: list[int], levels: dict[int, float]) -> None:
    assert {seeds: level_of(seeds, looks) for seeds in levels} == pytest.approx(levels, abs=5.1e-5)


def test_a_look_that_can_claim_nothing_uses_nothing() -> None:
    assert CLAIM_SEEDS == 7
    assert [level_of(seeds) for seeds in range(CLAIM_SEEDS)] == [0] * CLAIM_SEEDS
    assert level_of(8, [3, 4, 5, 6]) == level_of(8, [8]) == level_of(8) == 8 / 256
    assert level_of(8, [16]) == 0, "runs were deleted, and what their look used is gone"
    assert level_of(8, [7]) == 0, "one seed after a look is worth nothing"
    assert level_of(10, [8, 9]) == level_of(10, [8])


@given(st.sets(st.integers(0, 64), min_size=1, max_size=12))
def test_looks_together_use_no_more_than_the_seeds_release(looks: set[int]) -> None:
    levels = {seeds: level_of(seeds, {look for look in looks if look <= seeds}) for seeds in looks}
    assert sum(levels.values()) <= spent(max(looks)) + 1e-12 < 0.05
    assert all(level == 0 or level >= 2.0 ** (1 - seeds) - 1e-12 for seeds, level in levels.items())
    assert level_of(next_look(max(looks), looks), looks) > 0


def test_the_look_that_is_proposed_has_twice_the_seeds_and_enough_for_a_claim() -> None:
    assert [next_look(seeds) for seeds in (0, 1, 3, 4, 7, 8)] == [7, 7, 7, 8, 14, 16]
    assert next_look(16, [8]) == 32
