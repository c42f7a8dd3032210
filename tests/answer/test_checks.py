"""Checks: how each comes out, that none says ✓ of what was not measured, and that none says more than a line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.answer.check import MARKS, MAX_CHECK_WORDS, Outcome
from core.answer.checks.forgetting import forgotten
from core.answer.checks.registry import CHECKS, checks_of
from core.answer.lines import MAX_WORDS, headline
from core.data.task_spec import TaskSpec
from core.lab import Lab
from core.results.arm import arms_of
from core.results.row import rows_of
from core.settings import Settings
from core.store.record import Run
from core.study.arms.study_words import study_headline
from core.study.report.answer import answer_of
from tests.same_numbers.homes import copy_of
from tests.study.samples import TARGET, decided_on, make_run, tuned

MUCH, LITTLE = [20, 21, 22, 20, 21, 22, 20, 21], [10, 10, 11, 10, 10, 11, 10, 10]


def lost(lora: list[int], full: list[int], **both: Any) -> list[Run]:
    """Runs that have forgotten so many points of the source. Args: both: fields of all runs."""
    return [
        make_run(method, seed, source_accuracy=97.0 - points, **both)
        for method, own in (("full", full), ("lora", lora))
        for seed, points in enumerate(own)
    ]


@pytest.mark.parametrize(
    ("lora", "full", "outcome", "line"),
    [
        (MUCH, LITTLE, Outcome.FAILS, "LoRA r=4 forgot 10.62 points more (each at its own rate)."),
        (LITTLE, MUCH, Outcome.HOLDS, "LoRA r=4 forgot 10.62 points less (each at its own rate)."),
        (
            [20, 10] * 4,
            [10, 20] * 4,
            Outcome.OPEN,
            "No clear difference in forgetting (each at its own rate).",
        ),
    ],
)
def test_forgetting_is_told_with_the_rates_of_both(
    lora: list[int], full: list[int], outcome: Outcome, line: str
) -> None:
    found = checks_of(decided_on(rows_of(lost(lora, full))))["forgetting"]
    assert (found.outcome, found.line) == (outcome, line)
    one = checks_of(decided_on(rows_of(lost(lora, full, optim={"learning_rate": 0.002}))))["forgetting"]
    assert one.line == line.replace("each at its own rate", "at one rate")


@pytest.mark.parametrize(
    ("lora", "full", "outcome", "line"),
    [
        (MUCH, LITTLE, Outcome.FAILS, "LoRA r=4's probabilities are 10.62 points worse calibrated (ECE)."),
        (LITTLE, MUCH, Outcome.HOLDS, "LoRA r=4's probabilities are 10.62 points better calibrated (ECE)."),
        ([20, 10] * 4, [10, 20] * 4, Outcome.OPEN, "No clear difference in calibration (ECE)."),
    ],
)
def test_calibration_is_compared_by_seed(lora: list[int], full: list[int], outcome: Outcome, line: str) -> None:
    runs = [
        make_run(method, seed, calibration_error=float(error))
        for method, own in (("full", full), ("lora", lora))
        for seed, error in enumerate(own)
    ]
    found = checks_of(decided_on(rows_of(runs)))["calibration"]
    assert (found.outcome, found.line) == (outcome, line)
    assert "calibration" not in checks_of(decided_on(rows_of(lost(lora, full)))), "nothing was measured"


def test_forgetting_of_a_split_is_that_among_the_sources_classes() -> None:
    split = TaskSpec.of(dataset="digits", classes=(0, 1, 2))
    runs = [
        make_run(method, seed, source_accuracy_masked=96.0 - points - seed % 2, spec={"source": split})
        for method, points in (("full", 1), ("lora", 9))
        for seed in range(8)
    ]
    full, lora = arms_of(rows_of(runs))
    difference = forgotten(lora, full)
    assert difference is not None
    assert difference.interval.mean == pytest.approx(8.0)


def test_what_was_not_measured_is_not_said_to_hold() -> None:
    """One seed, no controls, no source of its own, curves without a trend, and answers that are not known singly."""
    trained = [*tuned("full", [95.0]), *tuned("lora", [91.0])]
    runs = [replace(run, result=replace(run.result, trends={})) for run in trained if run.result]
    found = checks_of(decided_on(rows_of(runs)))
    assert {name for name, check in found.items() if check.outcome is Outcome.UNKNOWN} >= {
        "budget",
        "forgetting",
        "head",
        "pretraining",
        "outliers",
    }
    same = [make_run(method, seed, spec={"source": TARGET}) for method in ("full", "lora") for seed in range(3)]
    assert "forgetting" not in checks_of(decided_on(rows_of(same))), "what is learned is not forgotten"


@pytest.mark.parametrize(("far", "outcome"), [(0.3, Outcome.FAILS), (0.254, Outcome.HOLDS)])
def test_a_run_is_far_off_by_twice_the_margin_of_its_measure(far: float, outcome: Outcome) -> None:
    """A loss is far from others where an accuracy would not be: its margin is 0.02."""
    by_loss = {"objective": {"kind": "classification", "measure": "loss"}}
    runs = [
        make_run(method, seed, loss=far if (method, seed) == ("lora", 7) else 0.25 + seed / 10_000, spec=by_loss)
        for method in ("full", "lora")
        for seed in range(8)
    ]
    assert checks_of(decided_on(rows_of(runs)))["outliers"].outcome is outcome


def test_checks_come_worst_first_and_have_one_mark_each() -> None:
    found = list(checks_of(decided_on(rows_of(lost(MUCH, LITTLE)))).values())
    places = [list(Outcome).index(check.outcome) for check in found]
    assert places == sorted(places)
    assert set(MARKS) == set(Outcome)
    assert len(set(MARKS.values())) == len(MARKS)
    assert all(check.text == f"{MARKS[check.outcome]} {check.line}" for check in found)


def test_while_runs_are_to_finish_nothing_is_checked() -> None:
    runs = [*lost(MUCH, LITTLE), make_run("lora", 8, state="queued")]
    assert checks_of(decided_on(rows_of(runs))) == {}


def test_lines_are_short_in_every_recorded_answer(tmp_path: Path) -> None:
    """Of 46 experiments, studies among them, and 10 tables of others; each check comes up."""
    lab = Lab(Settings(copy_of("answers_home", tmp_path)))
    seen: dict[str, set[Outcome]] = {}
    try:
        for asked in (*lab.store.experiments(), *lab.judged.list()):
            found = answer_of(lab, asked)
            for name, check in checks_of(found).items():
                seen.setdefault(name, set()).add(check.outcome)
                assert len(check.line.split()) <= MAX_CHECK_WORDS, check
                assert check.line.endswith("."), check
            said = headline(found.place) if found.vary is None else study_headline(found)
            assert len(said.split()) <= MAX_WORDS, said
    finally:
        lab.close()
    assert seen.keys() == CHECKS.keys() - {"calibration"}, "no run of this store has measured it"
    assert len(set().union(*seen.values())) == len(Outcome)
