"""By budget: what was reached with each number of epochs, and what epochs that were passed say; nothing is a look."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import pytest

from core.lab import Lab
from core.results.choice import chosen_arms
from core.results.results import Results
from core.results.row import rows_of
from core.rule.answer import crossings
from core.rule.budgets import by_budget, passed_epochs
from core.rule.candidate import Rule
from core.store.record import Experiment
from core.study.report.evidence import epochs_of
from core.study.weights import predicted


def test_each_budget_has_every_method_at_its_best_rate_and_nothing_is_tested(
    undisturbed: tuple[Lab, Experiment],
) -> None:
    lab, experiment = undisturbed
    runs = lab.store.members(experiment)
    before = lab.looks.of(experiment.id)
    found = by_budget(Results(rows_of(runs), predicted.tested_by(lab)))
    assert [at.point for at in found.places] == [1, 3]
    for at in found.places:
        own = {
            arm.spec.label: arm
            for arm in chosen_arms(rows_of(run for run in runs if run.spec.optim.epochs == at.point))
        }
        (candidate,) = at.by_line.values()
        full = at.full
        assert (full.key, candidate.arm.key) == (own["Full"].key, own["LoRA r=2"].key)
        seeds = sorted(set(full.finished) & set(candidate.arm.finished))
        ours, theirs = candidate.arm.by_seed("accuracy"), full.by_seed("accuracy")
        assert candidate.difference.interval.mean == pytest.approx(fmean(ours[s] - theirs[s] for s in seeds))
        assert (candidate.found, candidate.claims) == (None, ())
    assert set(found.standings("LoRA r=2")) == {Rule.NONE}
    assert (found.looks, lab.looks.of(experiment.id)) == ((), before)


def test_epochs_that_were_passed_end_with_what_the_validation_part_says(undisturbed: tuple[Lab, Experiment]) -> None:
    lab, experiment = undisturbed
    runs = lab.store.members(experiment)
    curves = epochs_of(lab, runs)
    (found,) = passed_epochs(rows_of(runs), curves)
    assert (found.label, list(found.epochs)) == ("LoRA r=2", [1, 2, 3])
    whole = [run for run in runs if run.spec.optim.epochs == 3]
    seeds = {run.spec.seed for run in whole}

    def best(kind: str) -> float:
        by_rate: dict[float, dict[int, float]] = {}
        for run in whole:
            if run.spec.kind == kind:
                by_rate.setdefault(run.spec.optim.learning_rate, {})[run.spec.seed] = run.validated
        return max(fmean(own.values()) for own in by_rate.values() if own.keys() == seeds)

    assert found.intervals[-1].mean == pytest.approx(best("lora") - best("full"))


@pytest.mark.parametrize("change", [{"decay": "linear"}, {"patience": 2}, {"warmup": 0.1}])
def test_where_rates_change_or_training_ends_by_itself_passed_epochs_say_nothing(
    undisturbed: tuple[Lab, Experiment], change: dict[str, object]
) -> None:
    lab, experiment = undisturbed
    runs = lab.store.members(experiment)
    curves = epochs_of(lab, runs)
    changed = [replace(run, spec=run.spec.but(optim=run.spec.optim.but(**change))) for run in runs]
    assert passed_epochs(rows_of(changed), curves) == []


def test_one_budget_is_none_and_a_crossing_lies_where_the_sign_changes(undisturbed: tuple[Lab, Experiment]) -> None:
    lab, experiment = undisturbed
    assert (
        by_budget(Results(rows_of(run for run in lab.store.members(experiment) if run.spec.optim.epochs == 3))) is None
    )
    assert crossings([(1, -2.0), (3, -0.5), (10, 0.5), (30, 0.0), (90, -1.0)]) == [(3, 10)]
