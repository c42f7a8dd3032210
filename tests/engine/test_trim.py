"""Networks of settings that were not chosen go where somebody asked for it, and nothing else does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.engine.jobs.run_files import ADAPTER, NETWORK
from core.engine.writes import Trim
from core.errors import UnknownRunError
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.results.choice import chosen_arms
from core.results.row import rows_of
from core.run_spec import RunSpec
from core.store.notes import RunNotes
from core.store.record import Experiment, Run
from tests.conftest import DIGITS, TURNED, finish, short, wait_until
from tests.launching import fine_tune

PRETRAIN = RunSpec.of(method="pretrain", task=DIGITS, optim=short())
RATES = [(short(rate=rate), FullSpec()) for rate in (0.01, 1e-6)]
"""Settings of which the second learns nothing."""

LATE = "r-00001a7e"
"""A run that is added to an experiment."""


def with_files(lab: Lab, experiment: Experiment) -> set[str]:
    """The runs of an experiment that have their network or adapter."""
    folders = {id: lab.settings.runs / id for id in experiment.runs}
    return {id for id, folder in folders.items() if (folder / NETWORK).exists() or (folder / ADAPTER).exists()}


def chosen_of(runs: list[Run]) -> set[str]:
    """The runs of the settings that were chosen."""
    chosen = {arm.key for arm in chosen_arms(rows_of(runs))}
    return {run.id for run in runs if run.spec.arm in chosen}


@pytest.mark.parametrize("trim", [True, False])
def test_only_the_networks_of_settings_that_were_not_chosen_go(lab: Lab, trim: bool) -> None:
    base = lab.launcher.launch(PRETRAIN)
    experiment = fine_tune(lab, base, TURNED, [*RATES, (short(), LoRASpec.of())], [0, 1], trim=trim)
    assert lab.store.experiment(experiment.id) == experiment
    finish(lab, base.id, *experiment.runs)
    wanted = chosen_of(lab.store.members(experiment)) if trim else {*experiment.runs}
    assert len(wanted) == (4 if trim else 6)
    wait_until(lambda: with_files(lab, experiment) == wanted)
    for run in lab.store.members(experiment):
        assert run.result is not None  # every number stays
        if run.id not in wanted:
            with pytest.raises(UnknownRunError, match="was not kept, since validation chose another setting"):
                lab.artifacts.path(run.id, NETWORK)
            assert any("was not kept" in text for _, text in lab.store.log(run.id))
    assert lab.artifacts.path(base.id, NETWORK).exists()


def test_what_cannot_be_deleted_ends_no_worker(lab: Lab) -> None:
    """A worker calls this for every bank; an experiment may have been deleted, and a file may be in the way."""
    lab.workers.writes.put(Trim("e-deleted"))
    base = lab.launcher.launch(PRETRAIN)
    experiment = fine_tune(lab, base, TURNED, RATES, [0])
    finish(lab, base.id, *experiment.runs)
    (other,) = {*experiment.runs} - chosen_of(lab.store.members(experiment))
    path = lab.settings.runs / other / NETWORK
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    with lab.store.transaction() as db:
        db.execute("UPDATE experiments SET trim = 1 WHERE id = ?", (experiment.id,))
    lab.workers.writes.put(Trim(experiment.id))
    assert path.is_dir()
    (after,) = finish(lab, lab.launcher.launch(PRETRAIN.but(task=TURNED)).id)
    assert after.result is not None


@pytest.fixture
def untrimmed(lab: Lab) -> tuple[Experiment, set[str]]:
    """An experiment that is to be trimmed and waits for an interrupted run, and the runs whose networks are chosen."""
    base = lab.launcher.launch(PRETRAIN)
    experiment = fine_tune(lab, base, TURNED, [*RATES, (short(), LoRASpec.of())], [0])
    finish(lab, base.id, *experiment.runs)
    wait_until(lambda: not lab.workers._slots[0].bank)  # it has looked whether anything is to be deleted
    with lab.store.transaction() as db:
        db.execute("UPDATE experiments SET trim = 1 WHERE id = ?", (experiment.id,))
    members = lab.store.members(experiment)
    wanted = chosen_of(members)
    before = lab.store.experiment(experiment.id)
    after = replace(before, runs=(*before.runs, LATE))
    with lab.workers._claiming:
        lab.store.add([(LATE, members[-1].spec.but(seed=1))], lab.owner, 100, after, before)
        lab.store.interrupt(*lab.store.claim([lab.store.run(LATE)]))
    assert len(wanted) == 2
    assert with_files(lab, experiment) == {*experiment.runs}
    return experiment, wanted


def started_again(lab: Lab) -> None:
    lab.close()
    again = Lab(lab.settings)
    again.start()
    again.close()


@pytest.mark.parametrize("how", ["stop", "delete", "start"])
def test_networks_go_however_the_last_run_ends(lab: Lab, untrimmed: tuple[Experiment, set[str]], how: str) -> None:
    experiment, wanted = untrimmed
    if how == "stop":
        lab.stop(LATE)
        assert with_files(lab, experiment) == {*experiment.runs}  # it may be finished, and another setting be chosen
        lab.notes.archive([LATE])
    elif how == "delete":
        lab.notes.delete([LATE])
    else:  # after a process that was killed before it could
        RunNotes(lab.store, lab.settings.home).delete([LATE])
        assert with_files(lab, experiment) == {*experiment.runs}
        started_again(lab)
    assert with_files(lab, experiment) == wanted


def test_deleting_what_was_chosen_deletes_no_other_network(lab: Lab, untrimmed: tuple[Experiment, set[str]]) -> None:
    experiment, wanted = untrimmed
    lab.notes.delete([LATE])
    (full,) = (run.id for run in lab.store.runs_of(sorted(wanted)) if run.spec.role != "adapter")
    lab.notes.delete([full])
    started_again(lab)
    assert with_files(lab, experiment) == wanted - {full}
