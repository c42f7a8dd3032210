"""A job runs anywhere: in a process without the lab's memory and home folder, it comes to the same bits."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from core.engine.executors import EXECUTORS, ThreadExecutor
from core.engine.jobs.job import Commands, Job
from core.engine.jobs.messages import Message
from core.errors import LostError, SpecError
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.run_spec import RunSpec
from core.settings import Settings
from tests.conftest import BOTH, DIGITS, HANG, PRETRAIN, TURNED, compared, finish, short, wait_until, weights_of
from tests.engine.elsewhere import ElsewhereExecutor

LONG = RunSpec.of(task=TURNED, source=DIGITS, base="r-base", method=LoRASpec.of(), optim=short(epochs=200))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, threads=1, checkpoint_seconds=0.05, executor="elsewhere")


@pytest.fixture
def lab(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setitem(EXECUTORS, "elsewhere", ElsewhereExecutor)
    lab = Lab(settings)
    lab.start()
    yield lab
    lab.close()


def processes(lab: Lab) -> list[int]:
    return [process.pid for process in lab.executors.current.processes]


def test_an_experiment_elsewhere_comes_to_the_files_that_threads_come_to(lab: Lab, settings: Settings) -> None:
    files = []
    for where in (lab, Lab(replace(settings, home=settings.home.with_name("other"), executor="threads"))):
        if where is not lab:
            where.start()
        experiment = compared(where, "rotation-45", "digits", None, short(), BOTH, range(3))
        runs = finish(where, *experiment.runs)
        assert [run.state for run in runs] == ["finished"] * 6, [run.cause for run in runs]
        assert all(where.artifacts.verify(run.id).certified for run in runs if run.spec.role == "adapter")
        files.append([weights_of(where, run) for run in runs])
        assert all(len(where.store.curve(run.id).step) == run.steps for run in runs)
        if where is not lab:
            where.close()
    assert len(set(processes(lab))) == 3  # a base, a bank of each method
    assert files[0] == files[1]


class LostAtTheEnd(ThreadExecutor):
    """Loses its machine once all runs of the first job have ended."""

    lost = False

    def start(self, job: Job, commands: Commands) -> Iterator[Message]:
        yield from super().start(job, commands)
        if not LostAtTheEnd.lost:
            LostAtTheEnd.lost = True
            raise LostError("The machine is gone.")


def test_a_machine_that_is_lost_after_the_last_message_costs_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXECUTORS, "lost", LostAtTheEnd)
    with closing(Lab(replace(settings, executor="lost"))) as lab:
        lab.start()
        threads = [slot.thread for slot in lab.workers._slots]
        runs = [finish(lab, lab.launcher.launch(PRETRAIN.but(seed=seed)).id)[0] for seed in (0, 1)]
        assert [run.state for run in runs] == ["finished"] * 2
        assert [slot.thread for slot in lab.workers._slots] == threads  # none of them has ended


def test_a_run_whose_device_is_not_here_fails_with_a_sentence_and_holds_up_nobody(lab: Lab) -> None:
    base = finish(lab, lab.launcher.launch(PRETRAIN).id)[0].id
    spec = RunSpec.of(method="head", base=base, source=DIGITS, task=TURNED, optim=short(), device="mps")
    with lab.store.transaction() as db:  # as in a home folder that comes from another machine
        db.execute(
            "INSERT INTO runs (id, spec, method, base, bank_key, state, owner, created)"
            " VALUES ('r-elsewhere', ?, 'head', ?, 'k', 'queued', ?, 1.0)",
            (spec.to_json(), base, lab.owner),
        )
    assert finish(lab, lab.launcher.launch(PRETRAIN.but(seed=1)).id)[0].state == "finished"
    (run,) = finish(lab, "r-elsewhere")
    assert run.state == "failed"
    assert "no mps device" in str(run.cause)
    assert lab.estimates.each([spec])[0].basis == "unknown"  # nor does it keep a form from being drawn
    assert lab.estimates.shortage([spec]) is None


def test_kill_and_resume_of_a_job_elsewhere(lab: Lab) -> None:
    base = finish(lab, lab.launcher.launch(PRETRAIN).id)[0].id
    whole = lab.launcher.launch(LONG.but(base=base))
    wait_until(lambda: lab.store.checkpoint(whole.id) is not None)
    os.kill(processes(lab)[-1], signal.SIGKILL)
    (run,) = finish(lab, whole.id)
    assert run.state == "interrupted"
    assert run.cause == "The process that trained it was killed: finish the run to go on."
    lab.launcher.finish([whole.id])
    (run,) = finish(lab, whole.id)
    assert run.resumed_step > 0
    assert (run.state, run.cause) == ("finished", None)
    assert lab.store.curve(whole.id).step.tolist() == list(range(1, run.steps + 1))
    untouched = finish(lab, lab.launcher.launch(run.spec).id)[0]
    assert weights_of(lab, untouched) == weights_of(lab, run)


def test_a_lab_that_closes_leaves_its_job_with_a_checkpoint(lab: Lab) -> None:
    base = finish(lab, lab.launcher.launch(PRETRAIN).id)[0].id
    id = lab.launcher.launch(LONG.but(base=base)).id
    wait_until(lambda: lab.store.run(id).step > 0)
    lab.close(HANG)
    with closing(Lab(lab.settings)) as again:
        assert again.store.run(id).state == "interrupted"
        assert again.store.checkpoint(id) is not None


def test_an_unknown_executor_is_refused_by_name(settings: Settings) -> None:
    with pytest.raises(SpecError, match="no executor 'moon'; set LORA_LAB_EXECUTOR to one of: threads"):
        Lab(replace(settings, executor="moon"))
