"""Runs of threads that die or hang, of processes that die or are suspended, and of a cluster that says nothing, are
not shown as running, and others get their place."""

from __future__ import annotations

import ctypes
import math
import os
import pickle
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from core.data.sources.catalog import Catalog
from core.engine.cluster.executor import RayExecutor
from core.engine.jobs.job import Commands, Dependencies, Job
from core.engine.jobs.run_files import NETWORK, PREDICTIONS
from core.engine.processes import living
from core.lab import Lab
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.checkpoints import PREFIX
from core.store.run_file import NAME
from core.tasks.tasks import Tasks
from tests.conftest import DIGITS, PRETRAIN, braked, finish, short, wait_until
from tests.engine.child import held_back, lab_process, suspend

LONG = PRETRAIN.but(optim=short(epochs=60, rate=0.001))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, threads=1, settle_seconds=0.2, hang_seconds=2.0, checkpoint_seconds=0.05)


def full(lab: Lab) -> RunSpec:
    """Full fine-tuning on a base that has finished."""
    base = finish(lab, lab.launcher.launch(PRETRAIN).id)[0].id
    return RunSpec.of(method="full", task=DIGITS, source=DIGITS, base=base, optim=short(rate=0.001))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # raised by this test
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # the thread may end between open() and with
def test_a_thread_that_dies_is_replaced_and_its_run_can_go_on(lab: Lab) -> None:
    with braked():
        id, waiting = lab.launcher.launch(LONG).id, lab.launcher.launch(PRETRAIN).id
        wait_until(lambda: lab.store.run(id).step > 30)
        thread = ctypes.c_ulong(lab.workers._slots[0].thread.ident or 0)  # ends like an uncaught exception
        assert ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(SystemExit)) == 1
        wait_until(lambda: lab.store.run(id).state == "interrupted")
    assert "thread" in str(lab.store.run(id).cause)
    assert "thread" in lab.store.log(id)[-1][1]
    assert finish(lab, waiting)[0].state == "finished"
    lab.launcher.finish([id])
    (run,) = finish(lab, id)
    assert (run.state, run.cause) == ("finished", None)
    assert lab.store.curve(id).step.tolist() == list(range(1, run.steps + 1))


def test_a_thread_that_hangs_is_left_behind_and_what_it_says_later_is_not_heard(lab: Lab) -> None:
    id, path, content, pipe = held_back(lab, full(lab))
    hung = lab.workers._slots[0].thread
    wait_until(lambda: lab.store.run(id).state == "interrupted")
    assert "did not respond for 2 seconds" in str(lab.store.run(id).cause)
    assert finish(lab, lab.launcher.launch(PRETRAIN.but(seed=1)).id)[0].state == "finished"  # by the new thread
    os.rename(path, path.with_suffix(".fifo"))
    path.write_bytes(content)
    lab.launcher.finish([id])
    done = finish(lab, id)[0]
    assert done.state == "finished"
    with os.fdopen(pipe, "wb") as file:
        file.write(content)  # the thread continues
    hung.join(20)
    assert not hung.is_alive()
    assert lab.store.run(id) == done


def test_another_processes_death_is_seen_without_a_restart(lab: Lab, settings: Settings) -> None:
    with lab_process(settings.home, [LONG, PRETRAIN], checkpoint_seconds=0.05) as (process, (running, waiting)):
        wait_until(lambda: lab.store.checkpoint(running) is not None)
        assert lab.store.run(running).state == "running"
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_until(lambda: lab.store.run(running).state == "interrupted")
        assert finish(lab, waiting)[0].state == "finished"
        assert len(os.listdir(settings.home / "owners")) == 2  # this process's lock and heartbeat


def test_a_process_that_sleeps_loses_its_runs_and_disturbs_nobody_when_it_wakes(lab: Lab, settings: Settings) -> None:
    with lab_process(settings.home, [LONG], checkpoint_seconds=0.05, threads=1) as (process, (id,)):
        wait_until(lambda: lab.store.checkpoint(id) is not None)
        suspend(lab, process)
        wait_until(lambda: lab.store.run(id).state == "interrupted")
        assert "does not respond" in str(lab.store.run(id).cause)
        lab.launcher.finish([id])
        wait_until(lambda: lab.store.run(id).state != "queued")
        process.send_signal(signal.SIGCONT)
        run, untouched = finish(lab, id, lab.launcher.launch(LONG).id)
        assert run.state == "finished"
        assert lab.store.curve(id).step.tolist() == list(range(1, run.steps + 1))
        assert lab.store.curve(id).loss.tolist() == lab.store.curve(untouched.id).loss.tolist()
        assert lab.artifacts.read(id, NETWORK) == lab.artifacts.read(untouched.id, NETWORK)
        left = {path.name for path in (settings.runs / id).iterdir() if not path.name.startswith(PREFIX)}
        assert left == {NETWORK, PREDICTIONS, NAME}


def test_a_process_that_was_paused_keeps_its_own_healthy_run(idle: Lab, settings: Settings) -> None:
    """As after Ctrl-Z and fg, or in a container's freezer: the whole process was paused, and no thread hangs."""
    with lab_process(settings.home, [LONG], hang_seconds=2.0, settle_seconds=0.2, threads=1) as (process, (id,)):
        for _ in range(2):  # the watchdog may wake before or after the worker thread
            step = idle.store.run(id).step
            wait_until(lambda step=step: idle.store.run(id).step > step)
            process.send_signal(signal.SIGSTOP)
            time.sleep(2.5)  # longer than hang_seconds
            process.send_signal(signal.SIGCONT)
        step = idle.store.run(id).step
        wait_until(lambda: idle.store.run(id).step > step)
        idle.stop(id)
        wait_until(lambda: not idle.store.run(id).is_live)
        assert [state for _, state in idle.store.transitions(id)] == ["queued", "running", "stopped"]


def test_a_hung_thread_is_seen_although_the_sign_of_life_cannot_be_given(lab: Lab, settings: Settings) -> None:
    id, _, content, pipe = held_back(lab, full(lab))

    def is_no_folder() -> bool:
        with suppress(OSError):  # a sign of life may be given in between
            shutil.rmtree(settings.processes)
            settings.processes.write_bytes(b"")
        return settings.processes.is_file()

    wait_until(is_no_folder)  # in which no file can be created
    wait_until(lambda: lab.store.run(id).state == "interrupted")
    settings.processes.unlink()
    wait_until(lambda: len(list(settings.processes.glob("*"))) == 2)  # now files can be created
    assert living(settings.processes) == [lab.owner]
    with os.fdopen(pipe, "wb") as file:
        file.write(content)


# A cluster

Bridge = subprocess.Popen[bytes]


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    """A process in the place of the bridge that says nothing; what it hears is in its output."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def silent(dependencies: Dependencies, bridge: Bridge) -> RayExecutor:
    """An executor whose cluster takes jobs and does not answer."""
    executor = RayExecutor(dependencies)
    connection = executor._connection
    connection._process, connection.problem, connection._heard = bridge, None, math.inf
    connection.room = 1
    connection.nodes = [{"id": "node", "name": "node", "address": "here", "cpus": 1, "gpus": 0, "memory": 2**30}]
    return executor


def test_the_bridge_is_told_that_nobody_listens_to_an_abandoned_job(tmp_path: Path, bridge: Bridge) -> None:
    executor = silent(Dependencies(Tasks(Catalog(Settings(tmp_path)))), bridge)
    commands = Commands()
    worker = threading.Thread(target=lambda: list(executor.start(Job.of("r-1", PRETRAIN), commands)), daemon=True)
    worker.start()
    assert pickle.load(bridge.stdout)[:2] == ("start", 1)
    executor._connection._jobs[1].put(("at", 1, "node"))
    wait_until(lambda: [job.node for job in executor.machines.running()] == ["node"])
    commands.abandoned = True
    worker.join(10)
    assert not worker.is_alive()
    assert pickle.load(bridge.stdout) == ("end", 1)
    assert executor.machines.running() == []


def test_the_watchdog_abandons_the_job_of_a_worker_that_hears_nothing(lab: Lab, bridge: Bridge) -> None:
    lab.executors._made["threads"] = silent(lab.executors.current.dependencies, bridge)
    id = lab.launcher.launch(PRETRAIN).id
    wait_until(lambda: lab.store.run(id).state == "interrupted", 30)
    assert pickle.load(bridge.stdout)[:2] == ("start", 1)
    assert pickle.load(bridge.stdout) == ("end", 1)
