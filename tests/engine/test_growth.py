"""An experiment grows by exactly what is missing; its name, stages and copies follow."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import (
    LoRAError,
    NoteError,
    QueueFullError,
    RunStateError,
    SpecError,
    StorageFullError,
    UnknownRunError,
)
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.plan.configuration import preset_configuration
from core.plan.experiment import MAX_NEW_SEEDS, next_seeds, settings_of, with_ranks
from core.settings import Settings
from core.store.record import Experiment, Run, stages_of
from core.wording.tasks import MAX_NAME, experiment_name
from tests.conftest import BOTH, DIGITS, HANG, PRETRAIN, TURNED, compared, finish, short, wait_until
from tests.launching import fine_tune
from tests.same_numbers.homes import copy_of


def pairs(runs: list[Run]) -> list[tuple[str, int]]:
    """Arm and seed of each run, sorted."""
    return sorted((run.spec.arm, run.spec.seed) for run in runs)


def launched(lab: Lab, seeds: int = 3, own_bases: bool = False) -> Experiment:
    return compared(lab, "rotation-45", "digits", None, PRETRAIN.optim, BOTH, range(seeds), own_bases=own_bases)


def now(lab: Lab, experiment: Experiment) -> Experiment:
    """The experiment as it is stored now."""
    return lab.store.experiment(experiment.id)


def stage_sizes(lab: Lab, experiment: Experiment) -> list[int]:
    return [len(stage) for stage in stages_of(lab.store.members(experiment))]


def add_seeds(lab: Lab, experiment: Experiment, count: int) -> tuple[str, ...]:
    """Every setting with its next ``count`` seeds."""
    specs = [run.spec for run in lab.store.members(now(lab, experiment))]
    return lab.experiments.grow(experiment, settings_of(specs), next_seeds(specs, count))


def test_a_comparison_is_known_again_while_its_base_still_waits_to_be_trained(idle: Lab) -> None:
    first = launched(idle)
    for preset, found in (("rotation-45", first), ("inversion", None)):
        asked = preset_configuration(idle.catalog, preset, "digits", None, PRETRAIN.optim, BOTH, range(3))
        planned = idle.launcher.plan(asked)
        assert (planned.bases, idle.experiments.find(planned)) == ((), found)


def test_five_seeds_added_to_an_experiment_of_three_train_exactly_the_new_runs(lab: Lab) -> None:
    experiment = launched(lab)
    before = finish(lab, experiment.base, *experiment.runs)
    history = {run.id: lab.store.transitions(run.id) for run in before}
    new = add_seeds(lab, experiment, 5)
    after = finish(lab, *new)
    assert [run.state for run in after] == ["finished"] * 10
    assert pairs(after) == sorted((arm, seed) for arm in {r.spec.arm for r in before[1:]} for seed in range(3, 8))
    assert len(lab.store.runs()) == 1 + 6 + 10
    assert [lab.store.run(run.id) for run in before] == before
    assert {id: lab.store.transitions(id) for id in history} == history
    grown = now(lab, experiment)
    assert grown.runs == (*experiment.runs, *new)
    assert {(run.spec.base, run.spec.task, run.spec.device) for run in lab.store.members(grown)} == {
        (experiment.base, TURNED, "auto")
    }


def test_ranks_rates_and_controls_are_added_with_the_seeds_that_are_wanted(idle: Lab) -> None:
    experiment = launched(idle)
    wanted = [*BOTH, (short(), LoRASpec.of(rank=16)), (short(rate=0.02), LoRASpec.of()), (short(), "head")]
    new = idle.experiments.grow(experiment, wanted, [0, 1, 7])
    members = idle.store.members(now(idle, experiment))
    arms = {run.spec.arm for run in members}
    assert len(arms) == 5
    old = {run.spec.arm for run in idle.store.runs_of(experiment.runs)}
    # The arms that were there had seeds 0 to 2.
    assert pairs(members) == sorted(
        [(arm, seed) for arm in old for seed in (0, 1, 2, 7)]
        + [(arm, seed) for arm in arms - old for seed in (0, 1, 7)]
    )
    assert len(new) == 2 + 3 * 3
    assert idle.experiments.grow(experiment, wanted, [0, 1, 7]) == ()
    assert idle.experiments.growth(experiment, wanted, [0, 1, 7]).runs == ()


def test_what_failed_or_was_stopped_is_trained_again_only_if_asked(idle: Lab) -> None:
    experiment = launched(idle)
    stopped, kept = experiment.runs[0], experiment.runs[1:]
    idle.stop(stopped)
    settings = settings_of(run.spec for run in idle.store.members(experiment))
    assert idle.experiments.grow(experiment, settings, range(3)) == ()
    (new,) = idle.experiments.grow(experiment, settings, range(3), again=True)
    assert idle.store.experiment(experiment.id).name == experiment.name, "which is its own, and so not taken"
    assert idle.store.run(new).spec == idle.store.run(stopped).spec
    # The new one is live, so that there is nothing left to train again.
    assert idle.experiments.grow(experiment, settings, range(3), again=True) == ()
    assert set(now(idle, experiment).runs) == {stopped, *kept, new}


def test_an_interrupted_run_is_there(lab: Lab) -> None:
    arms = [(short(epochs=200), FullSpec())]
    experiment = compared(lab, "rotation-45", "digits", None, PRETRAIN.optim, arms, [0])
    wait_until(lambda: lab.store.run(experiment.runs[0]).step > 0)
    lab.close(HANG)
    with closing(Lab(lab.settings)) as again:
        assert again.store.run(experiment.runs[0]).state == "interrupted"
        assert again.experiments.grow(experiment, arms, [0], again=True) == ()


def test_new_seeds_get_bases_of_their_own_and_known_seeds_keep_theirs(idle: Lab) -> None:
    experiment = launched(idle, seeds=2, own_bases=True)
    before = {run.spec.seed: run.spec.base for run in idle.store.runs_of(experiment.runs)}
    rank = (short(), LoRASpec.of(rank=2))
    settings = [*BOTH, rank]
    growth = idle.experiments.growth(experiment, settings, range(4))
    assert [spec.seed for _, spec in growth.bases] == [2, 3]
    assert all(spec == PRETRAIN.but(seed=spec.seed) for _, spec in growth.bases)
    new = idle.store.runs_of(idle.experiments.grow(experiment, settings, range(4)))
    assert [run.spec.seed for run in new] == [0, 1, 2, 2, 2, 3, 3, 3]
    bases = {run.spec.seed: run.spec.base for run in new}
    assert {seed: bases[seed] for seed in (0, 1)} == before
    assert {seed: idle.store.run(str(bases[seed])).spec.seed for seed in (2, 3)} == {2: 2, 3: 3}
    assert len(idle.store.runs(methods=["pretrain"])) == 4
    assert len({run.spec.arm for run in idle.store.members(now(idle, experiment))}) == 3


def test_a_base_without_a_result_cannot_be_grown_on_unless_each_seed_has_its_own(idle: Lab) -> None:
    shared, own = launched(idle, seeds=1), launched(idle, seeds=1, own_bases=True)
    idle.stop(shared.base)
    with pytest.raises(RunStateError, match="has no result: finish the experiment first"):
        add_seeds(idle, shared, 1)
    idle.stop(own.base)
    for id in own.runs:
        idle.stop(id)
    new = idle.store.runs_of(idle.experiments.grow(own, BOTH, [0], again=True))
    assert {str(run.spec.base) for run in new} == {own.base}
    assert (idle.store.run(own.base).spec, idle.store.run(own.base).state) == (PRETRAIN, "queued")


@pytest.mark.parametrize(
    ("changes", "arms", "seeds", "error"),
    [
        ({}, BOTH, range(3, 50), QueueFullError),
        ({"max_stored_bytes": 5_000_000}, BOTH, range(3, 10), StorageFullError),
        ({}, [(short(), LoRASpec.of(rank=200))], [0, 3], LoRAError),
        ({}, BOTH, [3, 3], SpecError),
        ({}, [], [3], SpecError),
    ],
)
def test_growth_has_the_limits_of_a_launch_and_queues_all_or_nothing(
    idle: Lab, changes: dict[str, int], arms: list, seeds: list[int], error: type
) -> None:
    experiment, before = launched(idle), idle.store.runs()
    with closing(Lab(replace(idle.settings, **changes))) as lab:
        for _ in range(2):
            with pytest.raises(error):
                lab.experiments.grow(experiment, arms, seeds)
    assert idle.store.runs() == before
    assert now(idle, experiment) == experiment


def test_next_seeds_follow_the_highest_and_their_number_has_bounds() -> None:
    specs = [PRETRAIN.but(seed=seed) for seed in (9, 0, 4)]
    assert next_seeds(specs, 2) == range(10, 12)
    for count in (0, -1, MAX_NEW_SEEDS + 1):
        with pytest.raises(SpecError, match="1 to 42"):
            next_seeds(specs, count)


def test_other_ranks_keep_every_rate() -> None:
    settings = [BOTH[0], (short(rate=0.1), LoRASpec.of(rank=2, alpha=4)), (short(rate=0.2), LoRASpec.of(rank=8))]
    assert with_ranks(settings, [1, 2]) == [
        (optim, lora.but(rank=rank)) for rank in (1, 2) for optim, lora in settings[1:]
    ]
    assert with_ranks(BOTH[:1], [3]) == [(short(rate=0.005), LoRASpec.of(rank=3))]


def test_nobody_grows_what_does_not_exist(idle: Lab) -> None:
    experiment = launched(idle)
    idle.notes.delete(experiment.runs)
    for action in (
        lambda: idle.experiments.grow(experiment, BOTH, [0]),
        lambda: idle.experiments.rename(experiment.id, "x"),
    ):
        with pytest.raises(UnknownRunError, match="no experiment"):
            action()


def test_of_several_that_add_the_same_at_once_one_does(idle: Lab) -> None:
    experiment = launched(idle)
    barrier = threading.Barrier(4)

    def add(_: int) -> None:
        barrier.wait()
        with suppress(RunStateError):
            idle.experiments.grow(experiment, BOTH, range(5))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    members = idle.store.members(now(idle, experiment))
    assert len(set(pairs(members))) == len(members) == 10


def test_a_store_that_changed_since_it_was_read_takes_no_growth(idle: Lab) -> None:
    experiment = launched(idle)
    new = [("r-new", idle.store.run(experiment.runs[0]).spec.but(seed=3))]
    grown = replace(experiment, runs=(*experiment.runs, "r-new"))
    add_seeds(idle, experiment, 1)
    renamed = now(idle, experiment)
    idle.experiments.rename(experiment.id, "by somebody else")
    before = idle.store.runs()
    for stale in (experiment, renamed):
        with pytest.raises(RunStateError, match="at the same time"):
            idle.store.add(new, idle.owner, 40, grown, stale)
    assert idle.store.runs() == before
    assert now(idle, experiment).name == "by somebody else"


# Names


def test_a_launch_gives_a_name_that_no_other_has_and_a_grown_experiment_keeps_up(idle: Lab) -> None:
    experiment = launched(idle)
    assert experiment.name == "Digits → rotated 45° · r 4 · 3 seeds"
    for number in (2, 3):
        again = fine_tune(idle, idle.store.run(experiment.base), TURNED, BOTH, range(3))
        assert again.name == f"{experiment.name} ({number})"
    add_seeds(idle, experiment, 5)
    assert now(idle, experiment).name == "Digits → rotated 45° · r 4 · 8 seeds"
    assert idle.experiments.rename(experiment.id, "  my \n own ") == now(idle, experiment).name == "my own"
    add_seeds(idle, experiment, 1)
    assert now(idle, experiment).name == "my own"
    assert (
        idle.experiments.rename(experiment.id, " ")
        == now(idle, experiment).name
        == "Digits → rotated 45° · r 4 · 9 seeds"
    )


@pytest.mark.parametrize("name", ["x" * (MAX_NAME + 1), "a\x00b", "\ud800"])
def test_a_name_that_does_not_hold_changes_nothing(idle: Lab, name: str) -> None:
    experiment = launched(idle)
    with pytest.raises(NoteError, match="A name"):
        idle.experiments.rename(experiment.id, name)
    assert now(idle, experiment) == experiment


# Stages


def test_each_launch_is_a_stage_whatever_happens_to_its_runs(idle: Lab) -> None:
    experiment = launched(idle, seeds=2, own_bases=True)
    second = add_seeds(idle, experiment, 3)
    third = add_seeds(idle, experiment, 1)
    idle.stop(experiment.runs[1])
    idle.notes.delete(second[1:4])
    found = [tuple(run.id for run in stage) for stage in stages_of(idle.store.members(experiment))]
    assert found == [experiment.runs, (second[0], *second[4:]), third]
    assert stages_of([]) == []


def test_runs_of_one_launch_are_one_stage_however_many(settings: Settings) -> None:
    arms = [(short(rate=0.001 * (1 + k)), FullSpec()) for k in range(50)]
    with closing(Lab(replace(settings, max_waiting=5000))) as lab:
        experiment = fine_tune(lab, lab.launcher.launch(PRETRAIN), TURNED, arms, range(50))
        assert stage_sizes(lab, experiment) == [2500]
        lab.experiments.grow(experiment, arms[:1], range(51))
        assert stage_sizes(lab, experiment) == [2500, 1]


# A list of experiments


def test_a_row_counts_the_runs_in_each_state(idle: Lab) -> None:
    first, second = launched(idle), launched(idle, seeds=1)
    idle.experiments.rename(first.id, "first")
    idle.stop(first.runs[0])
    rows = idle.store.experiment_rows()
    assert [(row.id, row.name, row.created) for row in rows] == [
        (second.id, second.name, second.created),
        (first.id, "first", first.created),
    ]
    assert rows[1].counts == {"queued": 5, "stopped": 1}
    assert (rows[1].total, rows[1].live) == (6, 5)
    assert idle.store.experiment_rows(limit=1) == rows[:1]
    assert idle.store.experiment_rows(limit=1, skipped=1) == rows[1:]
    assert idle.search.count_experiments() == 2
    idle.notes.set_note(first.runs[0], "seen")
    assert [row.changes for row in idle.store.experiment_rows()] == [rows[0].changes, rows[1].changes + 1]


def test_a_list_of_five_hundred_takes_one_query(idle: Lab) -> None:
    full = PRETRAIN.but(method="full", base="r-base", source=DIGITS)
    for number in range(500):
        runs = [(f"r-{number}-{seed}", full.but(seed=seed)) for seed in range(2)]
        experiment = Experiment(f"e-{number}", "x", float(number), "r-base", tuple(id for id, _ in runs))
        idle.store.add(runs, idle.owner, 10_000, experiment)
    asked = []
    rows = idle.store.rows
    idle.store.rows = lambda query, *values: asked.append(query) or rows(query, *values)  # type: ignore[method-assign]
    found = idle.store.experiment_rows(500)
    assert [(row.id, row.counts) for row in found] == [(f"e-{k}", {"queued": 2}) for k in reversed(range(500))]
    assert len(asked) == 1


def test_old_homes_have_one_stage_per_experiment_and_can_grow(tmp_path: Path) -> None:
    with closing(Lab(Settings(copy_of("digits_home", tmp_path), threads=1))) as lab:
        for experiment in lab.store.experiments():
            assert stage_sizes(lab, experiment) == [len(experiment.runs)]
            new = add_seeds(lab, experiment, 1)
            assert stage_sizes(lab, experiment) == [len(experiment.runs), len(new)]
            assert now(lab, experiment).name == experiment.name  # old experiments keep their names
            assert lab.experiments.rename(experiment.id, "") == experiment_name(
                run.spec for run in lab.store.members(experiment)
            )
