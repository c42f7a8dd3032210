"""One rule picks settings, and every page, report and command asks it: held to cases in which they once differed."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.answer.lines import headline
from core.cli.as_json import as_json
from core.cli.comparison import print_comparison
from core.methods.lora import LoRASpec
from core.results.arm import Arm, arms_of
from core.results.choice import (
    best,
    chosen_arms,
    comparisons_of,
    dropped_sentences,
    is_adapter,
    is_full,
    no_choice_sentence,
    winners,
)
from core.results.row import rows_of
from core.rule.tuning import rate_choices
from core.store.record import Run
from core.study.arms.rates import best_adapters, chosen, tried_arms
from core.study.figures.rates import rate_curves
from core.study.weights.change import main_arms, main_run
from tests.study.samples import decided_on, make_run, measured, within

ROOT = Path(__file__).parents[2]

FAILED, QUEUED = "failed", "queued"


def trained(method: str, rate: float, outcomes: list[float | str | tuple[str, float]], rank: int = 4) -> list[Run]:
    """Runs of one setting, one per seed: a validation accuracy, a state without result, or a state with accuracy.

    The test part says the same as the validation part.
    """
    runs, optim = [], {"learning_rate": rate}
    for seed, outcome in enumerate(outcomes):
        state, value = outcome if isinstance(outcome, tuple) else ("finished", outcome)
        if isinstance(outcome, str):
            state, value = outcome, 0.0
        runs.append(make_run(method, seed, value, rank, state, optim=optim, validation_accuracy=value))
    return runs


def full(*outcomes: float | str | tuple[str, float], rate: float = 0.001) -> list[Run]:
    return trained("full", rate, list(outcomes))


def lora(*outcomes: float | str | tuple[str, float], rate: float = 0.005, rank: int = 4) -> list[Run]:
    return trained("lora", rate, list(outcomes), rank)


TWO_FULL = full(90.0, 90.0, 90.0) + full(88.0, 88.0, 88.0, rate=0.002)
GOOD_LORA = lora(89.0, 89.0, 89.0)


@dataclass(frozen=True)
class Case:
    """An experiment, and what the rule picks in it."""

    runs: list[Run]
    full: float | None
    """Learning rate that wins."""
    lora: float | None
    dropped: tuple[str, ...] = ()
    """What is said of each dropped setting."""


CASES = {
    "a failed seed at the best mean": Case(
        TWO_FULL + GOOD_LORA + lora(95.0, 95.0, FAILED, rate=0.01), 0.001, 0.005, ("LoRA r=4, lr 0.01 (seed 2)",)
    ),
    "a failure at every rate": Case(
        TWO_FULL + lora(89.0, 89.0, FAILED) + lora(FAILED, 95.0, FAILED, rate=0.01),
        0.001,
        None,
        ("LoRA r=4, lr 0.005 (seed 2)", "LoRA r=4, lr 0.01 (seeds 0 and 2)"),
    ),
    "a stopped run that drags its mean": Case(
        TWO_FULL + GOOD_LORA + lora(92.0, 92.0, ("stopped", 30.0), rate=0.01), 0.001, 0.005
    ),
    "a lucky stopped run": Case(TWO_FULL + GOOD_LORA + lora(88.0, 88.0, ("stopped", 99.0), rate=0.01), 0.001, 0.005),
    "a seed of the winner that was stopped before": Case(TWO_FULL + lora(("stopped", 30.0)) + GOOD_LORA, 0.001, 0.005),
    "one of three seeds done": Case(TWO_FULL + GOOD_LORA + lora(95.0, QUEUED, QUEUED, rate=0.01), 0.001, 0.005),
    "one NaN": Case(
        TWO_FULL + GOOD_LORA + lora(95.0, 95.0, math.nan, rate=0.01), 0.001, 0.005, ("LoRA r=4, lr 0.01 (seed 2)",)
    ),
    "one failure at full's best rate": Case(
        full(95.0, 95.0, FAILED) + full(80.0, 80.0, 80.0, rate=0.002) + lora(90.0, 90.0, 90.0),
        0.002,
        0.005,
        ("Full, lr 0.001 (seed 2)",),
    ),
}

every_case = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


def rate_of(found: Arm | None) -> float | None:
    return found.spec.optim.learning_rate if found is not None else None


WITHOUT_PLAN = SimpleNamespace(plan=None)
"""All that the command line asks of an experiment whose rates were given."""


def rates_of(found: list[Arm]) -> dict[str, float]:
    return {arm.spec.label: rate_of(arm) for arm in found}


@every_case
def test_every_caller_names_the_same_winner(case, monkeypatch):
    monkeypatch.setattr("core.cli.as_json.place_of", lambda lab, experiment, runs: decided_on(rows_of(runs)))
    runs = case.runs
    expected = {label: rate for label, rate in (("Full", case.full), ("LoRA r=4", case.lora)) if rate is not None}
    keys = {arm.key for arm in arms_of(rows_of(runs)) if expected.get(arm.spec.label) == arm.learning_rate}

    (arms,) = comparisons_of(rows_of(runs))
    assert {arm.key for arm in winners(arms)} == keys
    assert tuple(rate_of(best(filter(among, arms))) for among in (is_full, is_adapter)) == (case.full, case.lora)

    # Compare, Home, Report and the command line.
    assert rates_of(chosen_arms(rows_of(runs))) == expected
    assert {run.state for arm in chosen_arms(rows_of(runs)) for run in arm.runs} == {"finished"}
    assert {arm.seeds for arm in chosen_arms(rows_of(runs))} == {(0, 1, 2)}
    assert {found.arm.key for found in rate_choices(rows_of(runs))} == keys
    fake = SimpleNamespace(artifacts=SimpleNamespace(path=lambda id, name: Path(f"/{id}/{name}")))
    base = make_run("pretrain")
    printed = json.loads(json.dumps(as_json(fake, WITHOUT_PLAN, [base], runs)))
    named = {("LoRA r=4" if arm["rank"] else "Full"): arm["learning_rate"] for arm in printed["arms"] if arm["chosen"]}
    assert named == expected

    found = decided_on(rows_of(within(runs, 5.0)), selected=True)  # whether or not some are to finish
    assert (rate_of(found.full), rate_of(found.best.arm if found.best else None)) == (case.full, case.lora)
    assert {candidate.arm.key for candidate in found.candidates} <= keys
    if case.lora is None:
        assert headline(found).startswith("No verdict yet")

    # Sweep.
    arms = tried_arms(rows_of(runs))
    assert tuple(map(rate_of, chosen(arms))) == (case.full, case.lora)
    adapters = {label: rate_of(arm) for label, arm in best_adapters(arms).items()}
    assert adapters == ({"LoRA r=4": case.lora} if case.lora else {})
    stars = {
        trace.name: x
        for trace in rate_curves(arms).data
        for x, symbol in zip(trace.x, trace.marker.symbol, strict=True)
        if symbol == "star"
    }
    assert stars == expected

    # Weights.
    assert rates_of(main_arms(runs)) == expected
    first = main_run(runs)
    assert first.spec.optim.learning_rate == (case.lora or case.full)
    assert first.spec.kind == ("lora" if case.lora else "full")


@every_case
def test_a_setting_that_a_failed_seed_rules_out_is_named(case, capsys, monkeypatch):
    monkeypatch.setattr("core.cli.comparison.place_of", lambda lab, experiment, runs: decided_on(rows_of(runs)))
    sentences = dropped_sentences(rows_of(case.runs))
    words = "; ".join(case.dropped)
    assert sentences == ([f"Left out of the choice because a seed failed: {words}."] if case.dropped else [])
    print_comparison(None, WITHOUT_PLAN, case.runs)
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Note: Left out of the choice")]
    assert notes == [f"Note: {sentence}" for sentence in sentences]


def put_away(runs: list[Run]) -> list[Run]:
    """The same runs, for whose stopped ones no verdict waits."""
    return [replace(run, archived=run.state == "stopped") for run in runs]


def test_where_nothing_has_finished_nothing_is_chosen_and_no_verdict_is_given():
    stopped = full(("stopped", 90.0)) + lora(("stopped", 95.0)) + lora(("stopped", 96.0), rate=0.01)
    assert chosen_arms(rows_of(stopped)) == []
    said = "No setting has finished, so there is no verdict."
    assert headline(decided_on(rows_of(put_away(stopped)))) == no_choice_sentence(rows_of(stopped)) == said
    assert headline(decided_on(rows_of(stopped))) == "No verdict yet: 3 of 3 runs were stopped."
    assert chosen(tried_arms(rows_of(stopped))) == (None, None)
    # They are still there to be looked at.
    assert len(arms_of(rows_of(stopped))) == len(main_arms(stopped)) == 3
    failed = full(90.0, FAILED) + lora(FAILED, 90.0)
    assert (
        headline(decided_on(rows_of(failed)))
        == "No setting has finished without a failed seed, so there is no verdict."
    )
    assert no_choice_sentence(rows_of(TWO_FULL)) == ""


def test_a_seed_that_was_trained_again_to_the_end_has_not_failed():
    again = lora(95.0, 95.0, FAILED, rate=0.01)
    again.append(replace(again[0], id="again", spec=again[2].spec, created=9.0))
    assert dropped_sentences(rows_of(TWO_FULL + GOOD_LORA + again)) == []
    assert rates_of(chosen_arms(rows_of(TWO_FULL + GOOD_LORA + again)))["LoRA r=4"] == 0.01


def test_a_setting_without_all_seeds_wins_only_where_no_other_has_them_all():
    waiting = lora(99.0, QUEUED, QUEUED, rank=16)
    runs = TWO_FULL + GOOD_LORA + waiting
    (arms,) = comparisons_of(rows_of(runs))
    # It is shown for its rank, beside which there is no other, and does not stand for LoRA.
    assert {arm.spec.label for arm in chosen_arms(rows_of(runs))} == {"Full", "LoRA r=4", "LoRA r=16"}
    first = best(filter(is_adapter, arms))
    assert first.spec.method.rank == 4
    # Nor does it narrow what the others are judged on.
    assert first.judged == (0, 1, 2)


def test_settings_without_all_seeds_are_judged_on_the_seeds_that_they_share():
    runs = lora(80.0, 99.0, QUEUED) + lora(90.0, QUEUED, QUEUED, rate=0.01)
    assert rates_of(chosen_arms(rows_of(runs))) == {"LoRA r=4": 0.01}
    (found,) = rate_choices(rows_of(runs))
    assert found.seeds == (0,)
    apart = lora(80.0, QUEUED) + lora(QUEUED, 90.0, rate=0.01)
    assert [arm.learning_rate for arm in chosen_arms(rows_of(apart))] == [0.005, 0.01]


@pytest.mark.parametrize("order", [1, -1])
def test_ties_go_to_fewer_parameters_then_the_lower_rate_then_the_lower_alpha(order):
    settings, runs = [(8, 0.001, 4.0), (4, 0.01, 4.0), (4, 0.005, 16.0), (4, 0.005, 8.0)], []
    for rank, rate, alpha in settings[::order]:
        setting = {"spec": {"method": LoRASpec.of(rank=rank, alpha=alpha)}, "optim": {"learning_rate": rate}}
        # What rounding alone tells apart is a tie.
        for seed, value in enumerate((90.0 + 1e-12 * alpha, 0.3)):
            runs.append(make_run("lora", seed, rank=rank, validation_accuracy=value, **setting))
    first = best(comparisons_of(rows_of(runs))[0])
    assert (first.spec.method.rank, first.learning_rate, first.spec.method.alpha) == (4, 0.005, 8.0)


OUTCOMES = st.one_of(
    st.integers(0, 4).map(lambda value: 90.0 + value),
    st.sampled_from([FAILED, QUEUED, math.nan, ("stopped", 95.0), ("stopped", 10.0)]),
)
EXPERIMENTS = st.lists(st.lists(OUTCOMES, min_size=3, max_size=3), min_size=1, max_size=6).map(
    lambda settings: [
        run
        for i, outcomes in enumerate(settings)
        for run in (
            full(*outcomes, rate=0.001 * (i + 1)) if i < 2 else lora(*outcomes, rate=0.001 * i, rank=4 if i < 4 else 8)
        )
    ]
)


def picked(runs: list[Run]) -> object:
    """All that callers pick, in a form to compare."""
    found = decided_on(rows_of(put_away(runs)))
    first = main_run(runs)
    return (
        [(arm.key, [run.id for run in arm.runs]) for arm in chosen_arms(rows_of(runs))],
        [
            (best(filter(is_full, arms)), best(filter(is_adapter, arms)), best(arms))
            for arms in comparisons_of(rows_of(runs))
        ],
        [*chosen(tried_arms(rows_of(runs))), *best_adapters(tried_arms(rows_of(runs))).values()],
        [(found.arm.key, found.seeds, found.tried) for found in rate_choices(rows_of(runs))],
        first and first.spec.arm,
        found.full and found.full.key,
        found.best and found.best.arm.key,
        dropped_sentences(rows_of(runs)),
    )


def named(found: object) -> str:
    """Choices by key alone: NaN is unlike itself, and results differ where the test part does."""
    if isinstance(found, Arm):
        return found.key
    return str([named(item) for item in found]) if isinstance(found, list | tuple) else str(found)


@settings(max_examples=40, deadline=None)
@given(EXPERIMENTS, st.randoms(use_true_random=False))
def test_the_order_of_runs_and_the_test_part_have_no_say(runs, random):
    expected = named(picked(runs))
    mixed = list(runs)
    random.shuffle(mixed)
    assert named(picked(mixed)) == expected
    tested = [
        replace(run, result=measured(run.result, accuracy=float(random.randint(0, 100)))) if run.result else run
        for run in runs
    ]
    assert named(picked(tested)) == expected


@settings(max_examples=60, deadline=None)
@given(EXPERIMENTS)
def test_what_wins_has_no_failed_seed_and_the_best_of_all_wins_its_own_group(runs):
    (arms,) = comparisons_of(rows_of(runs))
    won = winners(arms)
    assert not any(arm.failed for arm in won)
    for among in (is_full, is_adapter, lambda arm: True):
        first = best(filter(among, arms))
        assert first is None or first in won
        if first is not None and any(len(arm.finished) == 3 and not arm.failed for arm in filter(among, arms)):
            assert len(first.finished) == 3


ACCURACY = re.compile(r"accura|validat|tested|worth|interval|\.mean\b|by_seed|\.values\(")

ALLOWED = [
    "sorted(found, key=lambda candidate: candidate.trained)",
    "max(ranked, key=lambda each: sign * (each.row.validation or 0.0))",
    "max(own, key=lambda arm: sign * arm.tested.mean)",
    "sorted(best, key=lambda arm: -sign * arm.tested.mean)",
]
"""Calls whose key reads something else, here trainable parameters, or that order no settings: the epochs of one run,
and the means that are told as seen where nothing may be chosen."""


def choosing_calls(source: str) -> Iterator[str]:
    """Calls that order or pick by a key which reads an accuracy, as source text."""
    tree = ast.parse(source)
    functions = {node.name: ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name not in ("max", "min", "sorted", "sort", "nlargest", "nsmallest", "sort_values", "argmax", "idxmax"):
            continue
        for keyword in node.keywords:
            if keyword.arg in ("key", "by"):
                text = ast.unparse(keyword.value)
                called = [body for function, body in functions.items() if re.search(rf"\b{function}\b", text)]
                if ACCURACY.search(" ".join([text, *called])):
                    yield ast.unparse(node)


def test_no_other_module_orders_settings_by_an_accuracy():
    function = "def worth(arm):\n    return arm.interval('accuracy').mean\n"
    planted = f"{function}best = max(arms, key=lambda arm: (1, worth(arm)))"
    assert len(list(choosing_calls(planted))) == 1
    assert not list(choosing_calls("sorted(arms, key=lambda arm: order(arm.setting))"))
    found = {}
    for path in [*(ROOT / "core").rglob("*.py"), *(ROOT / "pages").rglob("*.py")]:
        name = path.relative_to(ROOT).as_posix()
        calls = [call for call in choosing_calls(path.read_text()) if call not in ALLOWED]
        if calls and name != "core/results/choice.py":
            found[name] = calls
    assert found == {}


def test_results_and_the_rule_know_neither_pages_nor_the_lab():
    for path in (*(ROOT / "core" / "results").glob("*.py"), *(ROOT / "core" / "rule").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [m for m in modules if m.split(".")[0] in ("pages", "streamlit") or m == "core.lab"], path
