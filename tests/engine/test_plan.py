"""Experiments whose plan depends on results: one owner or several, stopped, deleted, grown, restored: nothing twice."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from core.engine.experiments import plan_of
from core.errors import LabError
from core.forecast.forecast import weaker
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.plan.search import TuneSpec
from core.results.choice import unchosen
from core.results.row import rows_of
from core.rule.tuning import rate_choices
from core.settings import Settings
from core.store.record import Experiment, Run, stages_of
from core.study.arms.fairness import comparable
from tests.conftest import short, wait_until
from tests.launching import compare
from tests.searched_home import SEEDS, asked, check_found_the_same, ended, trained, trained_on
from tests.study.samples import decided_on


@pytest.fixture
def copied_home(undisturbed: tuple[Lab, Experiment], tmp_path: Path) -> Iterator[tuple[Lab, Experiment]]:
    """A lab that trains, with a copy of it."""
    with trained_on(tmp_path / "home", undisturbed) as found:
        yield found


def test_the_best_rates_are_found_and_trained_with_all_seeds(undisturbed: tuple[Lab, Experiment]) -> None:
    lab, experiment = undisturbed
    runs = lab.store.members(experiment)
    assert set(trained(runs).values()) == {1}
    assert {run.plan for run in runs} == {"complete"}
    assert len(stages_of(runs)) == 1, "no stage of a plan is a look"
    found = decided_on(rows_of(runs))
    assert ([look.seeds for look in found.looks], found.unread, found.reason) == ([SEEDS], False, "")
    for choice in rate_choices(rows_of(runs)):
        group = choice.arm.spec.label, choice.arm.spec.optim.epochs
        seeds = Counter(rate for *own, rate, _ in trained(runs) if tuple(own) == group)
        whole = sorted(rate for rate, count in seeds.items() if count == SEEDS)
        assert choice.at_end is None
        assert choice.arm.learning_rate in whole[1:-1]
        assert choice.arm.seeds == tuple(range(SEEDS))
    beside = Counter((label, rate) for label, epochs, rate, _ in trained(runs) if epochs == 1)
    *others, most = sorted(count for (label, _), count in beside.items() if label == "Full")
    assert (set(others), most) == ({3}, SEEDS), "of the epochs beside those that are chosen only the best rate"
    # LoRA began two points below its best rate, so that it has tried more of them: the same procedure is fair.
    tried = Counter(label for label, epochs, _, seed in trained(runs) if (epochs, seed) == (1, 0))
    assert len(set(tried.values())) > 1
    assert not [
        sentence for sentence in comparable(rows_of(runs)) if "seeds" in sentence or "chooses among" in sentence
    ]


def test_the_same_question_is_known_also_with_fewer_seeds_and_no_other(undisturbed: tuple[Lab, Experiment]) -> None:
    lab, experiment = undisturbed
    assert lab.experiments.find(lab.launcher.plan(asked(lab))) == experiment
    assert lab.experiments.find(lab.launcher.plan(asked(lab).but(seeds=(0, 1, 2)))) == experiment
    assert lab.experiments.find(lab.launcher.plan(asked(lab).but(seeds=range(5)))) is None
    assert lab.experiments.find(lab.launcher.plan(asked(lab, tune=TuneSpec.of(rates=3)))) is None
    assert lab.experiments.configuration(experiment).asks_the_same(asked(lab))


def test_the_forecast_is_between_the_fewest_and_the_most_runs(undisturbed: tuple[Lab, Experiment]) -> None:
    lab, experiment = undisturbed
    planned = lab.launcher.plan(asked(lab))
    assert planned.bases == ()
    assert len(planned.runs) == 2 * 3 * 3
    # One epoch is what was asked for, of which there is no third, and three are tried with the first seeds.
    assert len(planned.at_least) == 2 * (3 * SEEDS + 2 * 3 + SEEDS) <= len(experiment.runs) < len(planned.at_most)
    assert set(planned.runs) < set(planned.at_least) < set(planned.at_most)

    def agree() -> bool:
        few, many = lab.estimates.whole(planned.at_least), lab.estimates.whole(planned.at_most)
        both = lab.estimates.between(planned.at_least, planned.at_most)
        ends = (few.seconds_low, many.seconds_high, weaker(few.basis, many.basis))
        return (both.seconds_low, both.seconds_high, both.basis) == ends

    wait_until(agree)  # what is not known is calibrated meanwhile, and a page that polls until it is must rest then


def test_two_labs_on_one_home_train_each_run_once(undisturbed: tuple[Lab, Experiment], settings: Settings) -> None:
    own = replace(settings, threads=1)
    with closing(Lab(own)) as one, closing(Lab(own)) as other:
        one.start()
        other.start()
        check_found_the_same(ended(one, compare(one, asked(one))), undisturbed)


def stopped_early(lab: Lab, experiment: Experiment) -> list[Run]:
    """Runs of an experiment that was stopped once one of them had finished."""
    wait_until(lambda: any(run.state == "finished" for run in lab.store.members(experiment)))
    lab.stop(*(run.id for run in lab.store.members(experiment) if run.is_live))
    return ended(lab, experiment)


def test_a_plan_that_was_stopped_waits_and_finishes_as_if_it_had_not_been(
    undisturbed: tuple[Lab, Experiment], lab: Lab
) -> None:
    experiment = compare(lab, asked(lab))
    runs = stopped_early(lab, experiment)
    assert {run.plan for run in runs} == {"waiting"}
    assert "Finish the experiment" in decided_on(rows_of(runs)).more
    assert not unchosen(rows_of(runs)), "no network goes while the search is not complete"
    assert lab.launcher.finish([run.id for run in runs])
    check_found_the_same(ended(lab, experiment), undisturbed)


def test_an_answer_without_what_was_stopped_ends_the_search(lab: Lab) -> None:
    experiment = compare(lab, asked(lab))
    runs = stopped_early(lab, experiment)
    lab.notes.archive([run.id for run in runs if run.state == "stopped"])
    wait_until(lambda: {run.plan for run in lab.store.members(experiment)} == {"complete"})
    assert len(lab.store.members(experiment)) == len(runs)


def test_what_was_deleted_is_named_and_only_trained_again_when_asked(copied_home: tuple[Lab, Experiment]) -> None:
    lab, experiment = copied_home
    before = trained(lab.store.members(experiment))
    assert lab.experiments.deleted(experiment).runs == ()
    gone = [run for run in lab.store.members(experiment) if run.spec.seed == 1 and run.spec.kind == "lora"][:2]
    lab.notes.delete([run.id for run in gone])
    experiment = lab.store.experiment(experiment.id)
    assert {spec.arm for spec in lab.experiments.deleted(experiment).runs} == {run.spec.arm for run in gone}
    assert lab.launcher.finish(experiment.runs) == 0
    wait_until(lambda: {run.plan for run in lab.store.members(experiment)} == {"waiting"})
    assert len(lab.store.members(experiment)) == sum(before.values()) - len(gone)
    assert len(lab.experiments.restore_deleted(experiment)) == len(gone)
    runs = ended(lab, experiment)
    assert trained(runs) == before
    assert {run.plan for run in runs} == {"complete"}


def test_seeds_and_ranks_are_added_where_the_search_would_have_trained_them(
    copied_home: tuple[Lab, Experiment],
) -> None:
    lab, experiment = copied_home
    before = lab.store.members(experiment)
    settings = lab.experiments.settings(experiment)
    new = lab.experiments.grow(experiment, settings, range(SEEDS + 1))
    runs = ended(lab, experiment)
    whole = {arm for arm, count in Counter(run.spec.arm for run in before).items() if count == SEEDS}
    assert {run.spec.arm for run in runs if run.spec.seed == SEEDS} == whole
    assert len(new) <= len(whole) == len(runs) - len(before), "a point that all seeds preferred follows later"
    assert len(stages_of(runs)) == 2
    wider = [*settings, (short(rate=0.00316), LoRASpec.of(rank=8))]
    lab.experiments.grow(lab.store.experiment(experiment.id), wider, range(SEEDS + 1))
    runs = ended(lab, experiment)
    assert "LoRA r=8" in {choice.arm.spec.label for choice in rate_choices(rows_of(runs)) if choice.at_end is None}
    assert set(trained(runs).values()) == {1}
    assert set(plan_of(lab.store.experiment(experiment.id)).queued) == {(run.spec.arm, run.spec.seed) for run in runs}


def test_a_plan_that_cannot_go_on_waits_with_its_reason(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = compare(lab, asked(lab))

    def refuse(specs: object) -> None:
        raise LabError("The dataset is gone: import it back.")

    with monkeypatch.context() as patch:
        patch.setattr(lab.usage, "check", refuse)
        runs = ended(lab, experiment)
        assert {run.plan for run in runs} == {"waiting"}
    assert "The dataset is gone" in lab.store.log(runs[-1].id)[-1][1]
    assert decided_on(rows_of(runs)).reason
    assert lab.launcher.finish([run.id for run in runs]) == 0
    wait_until(lambda: len(lab.store.members(experiment)) > len(runs))


def test_a_restored_store_has_the_plan(copied_home: tuple[Lab, Experiment], tmp_path: Path) -> None:
    lab, experiment = copied_home
    lab.close()
    for name in ("lab.sqlite3", "backups"):
        path = lab.settings.home / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with closing(Lab(lab.settings)) as again:
        again.start()
        found = again.store.experiment(experiment.id)
        assert (plan_of(found), set(found.runs)) == (plan_of(experiment), set(experiment.runs))
        runs = ended(again, found)
        assert {run.plan for run in runs} == {"complete"}
        assert len(runs) == len(experiment.runs)
