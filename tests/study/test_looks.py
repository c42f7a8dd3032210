"""Looks at the test part: what each may spend, how the levels are spent, and what stays said."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.answer.check import Outcome
from core.answer.checks.registry import checks_of
from core.answer.lines import headline, reason
from core.objectives.measure import Values
from core.results.row import Row, rows_of
from core.rule.candidate import Rule
from core.rule.claims import Level
from core.rule.family import holm, t_p
from core.rule.place import About, Place
from core.rule.spending import CLAIM_SEEDS, level_of, next_look, spent
from core.store.looks import Look, Member
from core.store.record import Run
from tests.study.samples import SPREAD, decided_on, make_arm_runs, make_run, said_of, settled, within


def runs_of(
    differences: dict[int, list[float]], epochs: int = 2, gained: tuple[float, float] = (0.0, 0.0)
) -> list[Run]:
    """Full fine-tuning at 95 % in every seed, and LoRA of some ranks that differ from it by seed, at given rates.

    Args: gained: added to the validation part of full fine-tuning and of LoRA.
    """
    seeds = max(map(len, differences.values()))
    known = {"optim": {"epochs": epochs}}
    runs = make_arm_runs("full", [95.0] * seeds, **known, validation_accuracy=95.0 + gained[0])
    for rank, values in differences.items():
        accuracies = [95 + value for value in values]
        mean = float(np.mean(accuracies)) + gained[1]
        runs += make_arm_runs("lora", accuracies, rank=rank, **known, validation_accuracy=mean)
    return runs


def said(found: Place) -> str:
    return " ".join(said_of(found))


def lower(seeds: int, points: float = 2.0) -> list[float]:
    return [-points + float(SPREAD[seed % 10]) for seed in range(seeds)]


def unclear(seeds: int) -> list[float]:
    return [(-1.0) ** seed * (1 + seed / 10) for seed in range(seeds)]


def test_eight_seeds_show_three_settings_each_by_its_t_test_after_holms_correction() -> None:
    odd = [-1.0, -1.1, -0.9, -1.2, -0.8, -1.0, -1.3, 0.25]
    found = decided_on(rows_of(within(runs_of({1: lower(8, 9), 4: lower(8, 5), 16: odd}), 0.1)))
    tests = {each.arm.spec.method.size: each.found for each in found.candidates}
    alone = [t_p(values) for values in (lower(8, 9), lower(8, 5), odd)]
    assert [tests[rank].differs for rank in (1, 4, 16)] == pytest.approx(holm(alone))
    assert all(each.claim(Rule.LOWER) for each in found.candidates)


def test_a_look_that_shows_nothing_leaves_less_for_the_next() -> None:
    first = decided_on(rows_of(runs_of({4: unclear(8)})))
    assert (first.level, first.proposed, first.seeds_to_add) == (Level.OPEN, 16, 8)
    assert "; 16 are proposed." in said(first)
    nine = decided_on(rows_of(runs_of({4: [*unclear(8), 0.3]})), looks=first.looks)
    assert nine.looks[0].level == pytest.approx(level_of(9, [8])) == spent(9) - spent(8)
    assert "settings:" not in said(nine)
    assert "(limit 0.2 %)" in said(nine)
    sixteen = decided_on(rows_of(runs_of({4: lower(16)})), looks=[*first.looks, *nine.looks])
    assert sixteen.looks[0].level == pytest.approx(level_of(16, [9])) == spent(16) - spent(9)
    assert sixteen.level is Level.SHOWN
    assert "1 look: the chance of any false claim is at most 3.1 %." in said(first)
    assert "3 looks: the chance of any false claim is at most 4.1 %." in said(sixteen)


def test_the_same_look_again_is_the_same_look() -> None:
    runs = runs_of({4: lower(8)})
    first = decided_on(rows_of(runs))
    again = decided_on(rows_of(runs), looks=first.looks)
    assert (again.looks, again.claim) == (first.looks, first.claim)
    assert said(again) == said(first)


def test_nothing_is_tested_twice_with_the_same_seeds() -> None:
    """After an open look other settings are tried, of which validation chooses one that would be shown."""
    first = decided_on(rows_of(runs_of({4: unclear(8)})))
    again = decided_on(rows_of(runs_of({4: lower(8)})), looks=first.looks)
    assert (again.level, again.looks[0].claims) == (Level.OPEN, ())
    assert "These 8 seeds were looked at before, and count once" in said(again)
    assert (again.before, first.before) == ((), ())


def test_what_was_looked_at_is_known_while_runs_are_to_finish() -> None:
    first = decided_on(rows_of(runs_of({4: unclear(8)})))
    waiting = make_run("lora", 8, rank=4, state="queued", optim={"epochs": 2})
    found = decided_on(rows_of([*runs_of({4: unclear(8)}), waiting]), looks=first.looks)
    assert (found.unread, found.spent) == (True, (8,))


def test_looks_before_there_were_enough_seeds_use_nothing() -> None:
    looks: list[Look] = []
    for seeds in (3, 4, 5, 6):
        found = decided_on(rows_of(runs_of({4: unclear(seeds)})), looks=looks)
        assert (found.looks[0].level, found.proposed) == (0.0, max(7, 2 * seeds))
        looks += found.looks
    assert decided_on(rows_of(runs_of({4: unclear(8)})), looks=looks).looks[0].level == level_of(8)


def test_settings_that_are_added_after_a_look_are_a_family_of_their_own() -> None:
    first = decided_on(rows_of(runs_of({4: unclear(8)})))
    found = decided_on(rows_of(runs_of({4: unclear(8), 16: lower(8), 64: lower(8)})), looks=first.looks)
    assert [look.family for look in found.looks] == [("lora 4",), ("lora 16", "lora 64")]
    assert [look.level for look in found.looks] == [level_of(8), level_of(8)]
    assert found.used == (level_of(8), level_of(8))
    assert f"1 look, 2 questions: the chance of any false claim is at most {200 * level_of(8):.1f} %." in said(found)
    # Without the earlier look all three are one family.
    assert [len(look.family) for look in decided_on(rows_of(runs_of({4: unclear(8), 16: lower(8)}))).looks] == [2]


def test_a_setting_that_is_gone_stays_in_its_family() -> None:
    first = decided_on(rows_of(runs_of({4: unclear(8), 16: unclear(8)})))
    again = decided_on(rows_of(runs_of({4: unclear(8)})), looks=first.looks)
    assert [look.family for look in again.looks] == [("lora 16", "lora 4")]


@pytest.mark.parametrize(
    ("gained", "account"),
    [
        ((1.0, 1.0), (("lora 4", 6),)),
        ((-1.0, 1.0), (("full", 2), ("lora 4", 6))),
        ((1.0, -1.0), (("full", 6), ("lora 4", 2))),
    ],
)
def test_another_number_of_epochs_is_another_question(gained: tuple[float, float], account: tuple[Member, ...]) -> None:
    first = decided_on(rows_of(runs_of({4: unclear(8)})))
    longer = decided_on(rows_of(runs_of({4: unclear(8)}) + runs_of({4: unclear(8)}, 6, gained)), looks=first.looks)
    assert [(look.account, look.level) for look in longer.looks] == [(account, level_of(8))]
    assert (longer.before, longer.looks[0].family) == ((), ("lora 4",))
    assert "2 questions" in said(longer)
    assert checks_of(longer)["looks"].outcome is Outcome.OPEN


def test_longer_training_that_changes_no_choice_is_no_further_look_and_the_claim_stands() -> None:
    first = decided_on(rows_of(runs_of({4: lower(8)})))
    assert first.claim is not None
    longer = decided_on(rows_of(runs_of({4: lower(8)}) + runs_of({4: lower(8)}, 6, (0.1, 0.1))), looks=first.looks)
    assert (longer.looks, longer.claim, longer.used) == (first.looks, first.claim, first.used)
    moved = decided_on(rows_of(runs_of({4: lower(8)}) + runs_of({4: lower(8)}, 6, (-1.0, 1.0))), looks=first.looks)
    (look,) = moved.looks
    assert (look.account, moved.claim and moved.claim.seeds) == ((("full", 2), ("lora 4", 6)), 8), "tested anew"
    assert len(moved.used) == 2


def test_a_claim_stays_with_its_seeds_and_says_when_it_no_longer_holds() -> None:
    first = decided_on(rows_of(runs_of({4: lower(8)})))
    assert (first.rule, first.seeds) == (Rule.LOWER, 8)
    weaker = decided_on(rows_of(runs_of({4: [*lower(8, 0.6), *lower(8, 0.45)]})), looks=first.looks)
    assert (weaker.rule, weaker.claim.seeds, weaker.claim.holds) == (Rule.LOWER, 8, True)
    barely = decided_on(rows_of(runs_of({4: [*lower(8), 0.5, 1.5]})), looks=first.looks)
    assert "Shown with 8 seeds at an earlier look, and still so." in said(barely)
    gone = decided_on(rows_of(runs_of({4: [*lower(8), *(2.0 + float(x) for x in SPREAD[:8])]})), looks=first.looks)
    assert (gone.rule, gone.claim) == (Rule.NONE, None)
    assert "LoRA r=4 was shown worse with 8 seeds, no longer now." in said(gone)


def at_rates(
    full: dict[float, tuple[float, float]],
    lora: dict[float, tuple[float, float]],
    seeds: int = 8,
    spread: float = 1.0,
) -> list[Run]:
    """Settled runs of both methods, by learning rate at points on the test part and on the validation part.

    Args: spread: of the seeds; the mean stays as it is.
    """
    runs: list[Run] = []
    for method, rates in (("full", full), ("lora", lora)):
        for rate, (points, validation) in rates.items():
            noise = SPREAD[np.arange(seeds) % 8] * (spread if method == "lora" else -spread)
            runs += settled(method, list(90 + points + noise), rate, validation)
    return runs


LOW, BEST, HIGH = 0.000316, 0.001, 0.00316
FULL = {LOW: (0.0, 84.0), BEST: (0.0, 85.0), HIGH: (0.0, 84.0)}


def kept(found: Place) -> list[tuple[str, bool, bool]]:
    return [(str(claim.rule), claim.about_methods, claim.holds) for each in found.candidates for claim in each.claims]


def test_a_claim_at_given_rates_ends_with_either_setting_and_is_back_with_it() -> None:
    """The rule's third case: full fine-tuning was at a rate far below its best one."""
    given_rates = at_rates({0.0001: (-6.0, 70.0)}, {BEST: (-2.0, 84.0)})
    first = decided_on(rows_of(given_rates))
    assert (kept(first), first.about) == ([("higher", False, True), ("within", False, True)], About.RATES)
    lora = {LOW: (-2.0, 82.0), BEST: (-2.0, 84.0), HIGH: (-2.0, 82.0)}
    for full, other in (
        ({0.0001: (-6.0, 70.0), **FULL}, lora),
        (FULL, {BEST: (-2.0, 84.0)}),
        ({BEST: FULL[BEST]}, lora),
    ):
        found = decided_on(rows_of(at_rates(full, other)), looks=first.looks)
        assert (found.level, found.claim, kept(found)) == (Level.OPEN, None, [])
        assert "was 2.00 points less accurate" in headline(found)
        assert "probably full fine-tuning: " in headline(found).lower()
        assert "These 8 seeds were looked at before, and count once" in said(found)
        assert found.looks[0].claims == first.looks[0].claims, "it stays written down, and says of which settings"
    assert kept(decided_on(rows_of(given_rates), looks=found.looks)) == kept(first)
    # With more seeds the settings that are chosen now are tested.
    grown = decided_on(rows_of(at_rates({**FULL}, lora, 16)), looks=first.looks)
    assert (grown.rule, kept(grown), grown.claim.seeds) == (Rule.LOWER, [("lower", True, True)], 16)


@pytest.mark.parametrize(
    ("full", "lora", "stays"),
    [
        ((BEST,), (BEST,), True),
        ((HIGH,), (BEST,), True),
        ((BEST,), (LOW,), True),
        ((HIGH,), (HIGH,), True),
        ((0.01,), (BEST,), False),
        ((BEST,), (0.0001,), False),
    ],
)
@pytest.mark.parametrize("seeds", [8, 16])
def test_a_claim_about_methods_stays_at_the_rates_that_it_was_tested_on(
    full: tuple[float], lora: tuple[float], stays: bool, seeds: int
) -> None:
    first = decided_on(rows_of(at_rates(FULL, {LOW: (2.0, 86.0), BEST: (2.0, 87.0), HIGH: (2.0, 86.0)})))
    assert (kept(first), first.about) == ([("higher", True, True), ("within", True, True)], About.METHODS)
    (moved_full,), (moved,) = full, lora
    runs = at_rates({moved_full: (0.0, 85.0)}, {moved: (0.2, 87.0)}, seeds, 10.0 if seeds == 8 else 1.0)
    found = decided_on(rows_of(runs), looks=first.looks)
    assert (("higher", True, True) in kept(found)) is stays
    if seeds == 8:
        assert (found.level is Level.SHOWN) is stays
        # Where the difference has turned, nothing is claimed of it, although the settings are those that were tested.
        turned = decided_on(rows_of(at_rates({moved_full: (0.0, 85.0)}, {moved: (-0.2, 87.0)})), looks=first.looks)
        assert [rule for rule, _, _ in kept(turned)] == ["within"] * stays
        assert found.looks == turned.looks == first.looks
        if stays:
            assert found.told.found.differs > 0.1, "it would not be shown by these runs"
            assert "Shown with 8 seeds at an earlier look, and still so." in said(found)


def test_a_look_whose_claims_were_kept_without_their_settings_is_taken_again_at_its_level() -> None:
    runs = runs_of({4: lower(8)})
    (look,) = decided_on(rows_of(runs)).looks
    old = replace(look, claims=None)
    assert decided_on(rows_of(runs), looks=[old]).looks == (look,)
    assert decided_on(rows_of(runs), looks=[replace(old, level=0.0)]).looks == (replace(look, level=0.0, claims=()),)
    grown = decided_on(rows_of(runs_of({4: [*lower(8), *lower(8)]})), looks=[replace(old, account=look.account)])
    assert (grown.looks[0].level, grown.claim.seeds) == (level_of(16, [8]), 16), "what it has used is gone"


def with_examples(examples: int, spread: float, seeds: int = 8) -> Place:
    """LoRA 2 points below in every seed, on test examples whose own difficulty differs between the methods."""
    runs, rng = runs_of({4: lower(seeds)}), np.random.default_rng(0)
    own = spread * rng.normal(0, 1, examples)
    own -= own.mean()

    def tested(row: Row) -> Values:
        return np.asarray((row.value or 0.0) + own * (row.setting.method == "lora"), np.float64)

    return decided_on(rows_of(runs), tested)


@pytest.mark.parametrize(("examples", "spread", "level"), [(360, 5.0, Level.SHOWN), (180, 30.0, Level.OPEN)])
def test_what_other_test_examples_might_reverse_is_not_shown(examples: int, spread: float, level: Level) -> None:
    found = with_examples(examples, spread)
    assert found.level is level
    assert f"{examples} test images" in said(found)
    assert found.told.difference.examples == examples
    assert found.told.difference.interval.mean == pytest.approx(-1.995, abs=0.01)


@pytest.mark.parametrize("seeds", [1, 2, 5, 8])
def test_with_few_test_examples_what_no_number_of_seeds_can_show_is_said_at_the_first_answer(seeds: int) -> None:
    """The audit's 180 own images, and 1,000, of which only the spread tells it."""
    for examples, spread, is_told in ((180, 30.0, True), (1000, 30.0, seeds > 1), (4000, 5.0, False)):
        found = with_examples(examples, spread, seeds)
        assert found.needs_examples is is_told
        check = checks_of(found).get("examples")
        assert check is None or (check.outcome is Outcome.FAILS) is is_told


@pytest.mark.parametrize("seeds", [1, 2, 8])
def test_better_than_the_most_frequent_class_is_over_test_examples_too(seeds: int) -> None:
    """Full fine-tuning is right for 46 of 360 images with every seed, and the most frequent class has 37: by luck."""
    rng, runs = np.random.default_rng(0), make_arm_runs("full", [100 * 46 / 360] * seeds)
    runs += make_arm_runs("lora", [40.0] * seeds)
    hits = {kind: rng.permutation(np.repeat([100.0, 0.0], [n, 360 - n])) for kind, n in (("full", 46), ("lora", 144))}
    often = rng.permutation(np.repeat([100.0, 0.0], [37, 323]))

    def tested(row: Row) -> Values:
        return np.asarray(hits[row.setting.method])

    assert decided_on(rows_of(runs), tested).looks, "over seeds alone it is above the share of that class"
    found = decided_on(rows_of(runs), tested, trivial=lambda row: often)
    assert (found.looks, found.rule) == ((), Rule.NONE)
    assert headline(found).startswith("No verdict: full fine-tuning (12.8 %) does not clearly beat always naming")
    over = "seeds and 360" if seeds == 8 else "360"
    # The interval that decides is named, since that of a table is over seeds alone.
    interval = rf"\(95 % interval over {over} test images −\S+ to"
    assert re.search(rf"The difference from that is \+2\.5 points {interval}", reason(found))
    hits["full"] = hits["lora"]
    assert not decided_on(rows_of(runs), tested, trivial=lambda row: often).withheld


def test_where_single_answers_are_not_known_it_says_so() -> None:
    found = decided_on(rows_of(runs_of({4: lower(8)})))
    assert found.told.difference.examples == 0
    assert checks_of(found)["examples"].outcome is Outcome.UNKNOWN


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
            {9: 0.0021, 10: 0.0038, 12: 0.0063, 16: 0.0094, 20: 0.0113, 24: 0.0125, 32: 0.0141, 48: 0.0156, 64: 0.0164},
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
    assert level_of(8, [7]) == pytest.approx(0.05 * (3 / 7 - 3 / 8)), "one seed after a look is worth little"
    assert level_of(10, [8, 9]) == pytest.approx(level_of(10, [8]) - level_of(9, [8])), "and takes from the next"


@given(st.sets(st.integers(0, 64), min_size=1, max_size=12))
def test_looks_together_use_no_more_than_the_seeds_release(looks: set[int]) -> None:
    levels = {seeds: level_of(seeds, {look for look in looks if look <= seeds}) for seeds in looks}
    assert sum(levels.values()) == pytest.approx(spent(max(looks)) if max(looks) >= CLAIM_SEEDS else 0.0)
    assert spent(max(looks)) < 0.05
    assert all((level > 0) == (seeds >= CLAIM_SEEDS) for seeds, level in levels.items())
    assert level_of(next_look(max(looks), looks), looks) > 0


def test_the_look_that_is_proposed_has_twice_the_seeds_and_enough_for_a_claim() -> None:
    assert [next_look(seeds) for seeds in (0, 1, 3, 4, 7, 8)] == [7, 7, 7, 8, 14, 16]
    assert next_look(16, [8]) == 32
