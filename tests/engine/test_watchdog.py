"""Runs of threads that die or hang, and of processes that die or are suspended, are not shown as running."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from core.engine.jobs.predictions import PREDICTIONS
from core.engine.jobs.run_files import NETWORK
from core.engine.processes import living
from core.lab import Lab
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.checkpoints import PREFIX
from core.store.run_file import NAME
from tests.conftest import DIGITS, braked, copied, finish, short, wait_until
from tests.engine.child import held_back, lab_process, when_read

PRETRAIN = RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001))
LONG = PRETRAIN.but(optim=short(epochs=60, rate=0.001))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, threads=1, settle_seconds=0.2, hang_seconds=2.0, checkpoint_seconds=0.05)


def end_thread(identity: int | None) -> None:
    """End a thread like an uncaught exception."""
    assert identity
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(identity), ctypes.py_object(SystemExit)) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # raised by this test
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # the thread may end between open() and with
def test_a_thread_that_dies_is_replaced_and_its_run_can_go_on(lab: Lab) -> None:
    with braked():
        id, waiting = lab.launch(LONG).id, lab.launch(PRETRAIN).id
        wait_until(lambda: lab.run(id).step > 30)
        end_thread(lab.workers._slots[0].thread.ident)
        wait_until(lambda: lab.run(id).state == "interrupted")
    assert "thread" in str(lab.run(id).cause)
    assert "thread" in lab.log(id)[-1][1]
    assert finish(lab, waiting)[0].state == "finished"
    lab.finish([id])
    (run,) = finish(lab, id)
    assert (run.state, run.cause) == ("finished", None)
    assert lab.curve(id).step.tolist() == list(range(1, run.steps + 1))


def test_a_thread_that_hangs_is_left_behind_and_what_it_says_later_is_not_heard(lab: Lab) -> None:
    base = finish(lab, lab.launch(PRETRAIN).id)[0].id
    path, content = held_back(lab, base)
    spec = RunSpec.of(method="full", task=DIGITS, source=DIGITS, base=base, optim=short(rate=0.001))
    id = lab.launch(spec).id
    pipe = when_read(path)
    hung = lab.workers._slots[0].thread
    wait_until(lambda: lab.run(id).state == "interrupted")
    assert "did not respond for 2 seconds" in str(lab.run(id).cause)
    assert finish(lab, lab.launch(PRETRAIN.but(seed=1)).id)[0].state == "finished"  # by the new thread
    os.rename(path, path.with_suffix(".fifo"))
    path.write_bytes(content)
    lab.finish([id])
    done = finish(lab, id)[0]
    assert done.state == "finished"
    with os.fdopen(pipe, "wb") as file:
        file.write(content)  # the thread continues
    hung.join(20)
    assert not hung.is_alive()
    assert lab.run(id) == done


def test_another_processes_death_is_seen_without_a_restart(lab: Lab, settings: Settings) -> None:
    with lab_process(settings.home, [LONG, PRETRAIN], checkpoint_seconds=0.05) as (process, (running, waiting)):
        wait_until(lambda: lab.store.checkpoint(running) is not None)
        assert lab.run(running).state == "running"
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_until(lambda: lab.run(running).state == "interrupted")
        assert finish(lab, waiting)[0].state == "finished"
        assert len(os.listdir(settings.home / "owners")) == 2  # this process's lock and heartbeat


def test_a_process_that_sleeps_loses_its_runs_and_disturbs_nobody_when_it_wakes(lab: Lab, settings: Settings) -> None:
    with lab_process(settings.home, [LONG], checkpoint_seconds=0.05, threads=1) as (process, (id,)):
        wait_until(lambda: lab.store.checkpoint(id) is not None)
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: lab.run(id).state == "interrupted")
        assert "does not respond" in str(lab.run(id).cause)
        lab.finish([id])
        wait_until(lambda: lab.run(id).state != "queued")
        process.send_signal(signal.SIGCONT)
        run, untouched = finish(lab, id, lab.launch(LONG).id)
        assert run.state == "finished"
        assert lab.curve(id).step.tolist() == list(range(1, run.steps + 1))
        assert lab.curve(id).loss.tolist() == lab.curve(untouched.id).loss.tolist()
        assert lab.artifacts.read(id, NETWORK) == lab.artifacts.read(untouched.id, NETWORK)
        wait_until(lambda: copied(lab, id))
        left = {path.name for path in folder(settings, id).iterdir() if not path.name.startswith(PREFIX)}
        assert left == {NETWORK, PREDICTIONS, NAME}


def folder(settings: Settings, id: str) -> Path:
    return settings.runs / id


def test_a_process_that_was_paused_keeps_its_own_healthy_run(settings: Settings) -> None:
    """As after Ctrl-Z and fg, or in a container's freezer: the whole process was paused, and no thread hangs."""
    reader = Lab(settings)
    with lab_process(settings.home, [LONG], hang_seconds=2.0, settle_seconds=0.2, threads=1) as (process, (id,)):
        for _ in range(2):  # the watchdog may wake before or after the worker thread
            step = reader.run(id).step
            wait_until(lambda step=step: reader.run(id).step > step)
            process.send_signal(signal.SIGSTOP)
            time.sleep(2.5)  # longer than hang_seconds
            process.send_signal(signal.SIGCONT)
        step = reader.run(id).step
        wait_until(lambda: reader.run(id).step > step)
        reader.stop(id)
        wait_until(lambda: not reader.run(id).is_live)
        assert [state for _, state in reader.history(id)] == ["queued", "running", "stopped"]
    reader.store.close()


def test_a_hung_thread_is_seen_although_the_sign_of_life_cannot_be_given(lab: Lab, settings: Settings) -> None:
    base = finish(lab, lab.launch(PRETRAIN).id)[0].id
    path, content = held_back(lab, base)
    spec = RunSpec.of(method="full", task=DIGITS, source=DIGITS, base=base, optim=short(rate=0.001))
    id = lab.launch(spec).id
    pipe = when_read(path)

    def is_no_folder() -> bool:
        with suppress(OSError):  # a sign of life may be given in between
            shutil.rmtree(settings.processes)
            settings.processes.write_bytes(b"")
        return settings.processes.is_file()

    wait_until(is_no_folder)  # in which no file can be created
    wait_until(lambda: lab.run(id).state == "interrupted")
    settings.processes.unlink()
    wait_until(lambda: len(list(settings.processes.glob("*"))) == 2)  # now files can be created
    assert living(settings.processes) == [lab.owner]
    with os.fdopen(pipe, "wb") as file:
        file.write(content)
