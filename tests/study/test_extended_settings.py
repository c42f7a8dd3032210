"""Settings by which an experiment grows, and the runs that one lacks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import DivergedError, SpecError, VerificationError
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.networks.perceptron import PerceptronSpec
from core.plan.search import tuned_arms
from core.results.choice import chosen_arms
from core.results.row import row_of, rows_of
from core.results.setting import labels_of, setting_of
from core.rule.tuning import extended
from core.run_spec import OptimSpec
from core.store.record import Run
from core.study.arms.fairness import MAX_NAMED, lost_rows, missing_rows, named_rows
from tests.study.samples import make_arm_runs, make_run

FULL, LORA = (OptimSpec.of(learning_rate=0.001), FullSpec()), (OptimSpec.of(learning_rate=0.005), LoRASpec.of(rank=4))


def kinds(settings):
    return [(kind.rank if isinstance(kind, LoRASpec) else kind.kind, optim.learning_rate) for optim, kind in settings]


def test_nothing_added_is_what_there_was():
    assert extended([FULL, LORA]) == [FULL, LORA]
    assert extended([FULL, LORA], [4], [], [0.001]) == [FULL, LORA, (OptimSpec.of(learning_rate=0.001), LORA[1])]


def test_a_new_rank_gets_the_rates_and_alphas_that_lora_has():
    tuned = tuned_arms([FULL, LORA], 3)
    grown = extended(tuned, ranks=[1, 16])
    assert grown[:6] == tuned
    rates = [optim.learning_rate for optim, kind in tuned if isinstance(kind, LoRASpec)]
    assert kinds(grown[6:]) == [(rank, rate) for rank in (1, 16) for rate in rates]


@pytest.mark.parametrize("rates", [1, 3])
def test_a_new_control_is_tuned_as_much_as_the_others(rates):
    settings = tuned_arms([FULL, LORA], rates) if rates > 1 else [FULL, LORA]
    grown = extended(settings, kinds=["head"])
    assert [kind for kind, _ in kinds(grown)].count("head") == rates


def test_a_new_rate_is_tried_by_every_method_and_rank():
    grown = extended([FULL, LORA], ranks=[1], rates=[0.0316])
    assert {kind for kind, rate in kinds(grown) if rate == 0.0316} == {"full", 4, 1}
    budgets = {}
    for kind, rate in kinds(grown):
        budgets.setdefault(kind, set()).add(rate)
    assert {len(tried) for tried in budgets.values()} == {2}


def test_a_rank_out_of_bounds_is_one_sentence():
    with pytest.raises(SpecError, match="Rank must be"):
        extended([FULL, LORA], ranks=[0])


class Quick(PerceptronSpec):
    """A family that learns faster."""

    learning_rate = 0.01


def test_what_is_added_starts_at_the_rates_of_the_networks_family():
    grown = extended([FULL], ranks=[2], kinds=["head"], network=Quick.of())
    assert kinds(grown) == [("full", 0.001), (2, 0.05), ("head", 0.05)]


CAUSES = [str(DivergedError(9)), str(VerificationError("logits differ by 2e-4, more than 1e-4"))]


def at(rate: float, seed: int = 0, cause: str | None = None) -> Run:
    run = make_run("lora", seed, state="failed" if cause else "finished", optim={"learning_rate": rate})
    return replace(run, cause=cause)


@pytest.mark.parametrize("cause", CAUSES)
def test_a_run_that_diverged_or_failed_its_certificate_is_not_chosen_and_no_lost_run(cause: str) -> None:
    full = make_arm_runs("full", [90.0])
    runs = [*full, at(0.005), at(0.5, cause=cause)]
    assert runs[-1].has_diverged
    assert [arm.learning_rate for arm in chosen_arms(rows_of(runs))] == [0.001, 0.005]
    assert missing_rows(rows_of(runs)) == rows_of(runs[-1:])
    assert lost_rows(rows_of(runs)) == []
    lost = [at(0.005, cause=cause), at(0.5, cause=cause)]
    assert lost_rows(rows_of([*full, *lost])) == rows_of(lost)
    other = at(0.5, cause="The disk is gone.")
    assert not other.has_diverged
    assert lost_rows(rows_of([*full, at(0.005), other])) == [row_of(other)]


def test_what_was_trained_again_or_put_away_is_not_missing() -> None:
    stopped = make_run("full", 1, state="stopped")
    again = make_run("full", 1, created=1.0)
    failed_again = make_run("full", 1, state="failed", created=2.0)
    assert missing_rows(rows_of([stopped])) == [row_of(stopped)]
    assert missing_rows(rows_of([stopped, failed_again])) == [row_of(failed_again)]
    assert missing_rows(rows_of([failed_again, again, stopped])) == []
    assert missing_rows(rows_of([replace(stopped, archived=True)])) == []


def test_runs_are_named_by_setting_and_seed_and_many_settings_are_counted() -> None:
    runs = [make_run("full", 1), make_run("lora", 2), make_run("lora", 0)]
    assert (
        named_rows(rows_of(runs), labels_of(map(setting_of, (run.spec for run in runs))))
        == "Full (seed 1) and LoRA r=4 (seeds 0 and 2)"
    )
    many = [make_run("lora", rank=rank) for rank in range(1, MAX_NAMED + 3)]
    named = named_rows(rows_of(many), labels_of(map(setting_of, (run.spec for run in many))))
    assert named.count("seed 0") == MAX_NAMED
    assert named.endswith(" and 2 more settings")
