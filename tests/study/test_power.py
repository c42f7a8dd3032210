"""What a design can show, before it is run: the table of the rule, and simulated experiments."""

from __future__ import annotations

import re

import numpy as np
import pytest

from core.answer.design import examples_sentence, power_sentences
from core.objectives.classification import ACCURACY
from core.rule.family import family_p
from core.rule.spending import MAX_SEEDS, POWER, Design, level_of


@pytest.mark.parametrize(
    ("spreads", "examples", "smallest", "floor", "seeds_for"),
    [
        ((1.8, 8.7, 23.3), 360, (3.5, 2.4, 2.0), 1.5, (None, None, 31)),
        ((1.8, 8.7, 23.3), 1000, (3.0, 2.0, 1.5), 0.9, (None, 197, 16)),
        ((1.8, 8.7, 23.3), 10_000, (2.8, 1.7, 1.1), 0.3, (205, 41, 13)),
        ((1.72, 22.5, 28.9), 360, (5.0, 4.4, 4.1), 3.8, (None, None, None)),
        ((0.3, 20.0, 30.0), 10_000, (0.88, 0.75, 0.70), 0.65, (None, 8, 8)),
    ],
)
def test_designs_are_those_of_the_rules_table(
    spreads: tuple[float, float, float],
    examples: int,
    smallest: tuple[float, ...],
    floor: float,
    seeds_for: tuple[int | None, ...],
) -> None:
    design, rounding = Design(*spreads, examples, settings=3), 0.005 if floor == 0.65 else 0.05
    found = [design.smallest(seeds) or 0.0 for seeds in (8, 16, 32)]
    assert found == pytest.approx(smallest, abs=rounding + 1e-3)
    assert design.floor == pytest.approx(floor, abs=rounding + 1e-3)
    needed = [design.seeds_for(margin) for margin in (0.5, 1.0, 2.0)]
    assert tuple(n and max(n, 8) for n in needed) == seeds_for, "the table begins at 8 seeds"
    if floor > 0.5:
        assert design.examples_for(0.5) == pytest.approx(examples * (design.floor / 0.5) ** 2, abs=1)


@pytest.mark.parametrize("effect", [0.9, 1.2, 1.5])
def test_the_seeds_that_are_asked_for_show_a_planted_difference_in_about_four_of_five_cases(effect: float) -> None:
    n = Design(1.0, 0.0, 0.0, examples=1, settings=1).seeds_for(effect)
    samples = np.random.default_rng(4).normal(effect, 1, (400, n, 1))
    shown = np.mean([family_p([sample])[0] <= level_of(n) for sample in samples])
    assert 0.74 <= shown <= 0.9


@pytest.mark.parametrize("seeds", [7, 8, 9, 16])
@pytest.mark.parametrize("settings", [1, 3, 6])
def test_the_smallest_difference_is_shown_in_about_four_of_five_cases(seeds: int, settings: int) -> None:
    """Of settings that share full fine-tuning, one of which differs by that much, and that without further factors."""
    rng, trials = np.random.default_rng(seeds), 2000
    size = Design(1.0, 0.0, 0.0, examples=1, settings=settings).smallest(seeds) or 0.0
    drawn = rng.normal(0, 0.5**0.5, (trials, settings + 1, seeds, 1))
    differences = drawn[:, 1:] - drawn[:, :1]
    differences[:, 0] += size
    shown = np.mean([family_p([*family])[0] <= level_of(seeds) for family in differences])
    assert shown == pytest.approx(POWER - 0.015, abs=0.025 + 3 * (0.8 * 0.2 / trials) ** 0.5)


@pytest.mark.parametrize("example", [5.0, 8.65, 10.0, 14.0])
@pytest.mark.parametrize("examples", [360, 1000, 4000, 40_000])
def test_what_an_answer_may_well_call_out_of_reach_is_not_promised_before_the_press(
    example: float, examples: int
) -> None:
    guess = Design(0.0, example, 20.6, examples, settings=3, width=100.0)
    before = " ".join(power_sentences(guess, ACCURACY, 0.5, "image", 8))
    for times in (0.75, 1.0, 1.4):  # what such guesses are off by in four of five cases
        truth = guess.scaled(times)
        after = " ".join(power_sentences(truth, ACCURACY, 0.5, "image", 8))
        assert ("out of reach with any number of seeds" in after) >= truth.is_out_of_reach(0.5)
        if truth.is_out_of_reach(0.5):
            assert "out of reach with any number of seeds" in before
    if example == 5.0 and examples == 40_000:
        assert before.endswith("seeds if the methods are equal.")


@pytest.mark.parametrize("examples", [1000, 1200, 4000, 9990])
def test_what_good_enough_takes_is_more_than_there_is(examples: int) -> None:
    for factor in (1.0001, 1.02, 1.2, 1.4, 3.0):
        design = Design(0.0, 1.0, 20.0, examples, settings=3)
        design = design.scaled(factor * 0.5 / design.floor)
        assert design.is_out_of_reach(0.5)
        found = re.search(r"it takes .*?about ([\d,]+) test images", examples_sentence(design, ACCURACY, 0.5, "image"))
        assert found
        assert int(found[1].replace(",", "")) > examples


def test_what_a_look_cannot_claim_takes_no_number_of_seeds() -> None:
    design = Design(1.0, 0.0, 0.0, examples=1, settings=1)
    assert design.smallest(6) is design.smallest(8, [9]) is None
    assert (design.smallest(16, [8]) or 0) > (design.smallest(16) or 0), "what one look used is gone"
    assert design.floor == design.examples_for(0.0) == 0
    assert design.seeds_for(0.01) is None
    assert (design.smallest(MAX_SEEDS) or 0) > 0.01
