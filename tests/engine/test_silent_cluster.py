"""A job on a cluster that says nothing is given up once its worker was replaced, so that others get its CPUs."""

from __future__ import annotations

import math
import pickle
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.data.sources.catalog import Catalog
from core.engine.cluster.executor import RayExecutor
from core.engine.jobs.commands import Commands
from core.engine.jobs.dependencies import Dependencies
from core.engine.jobs.job import Job
from core.lab import Lab
from core.run_spec import RunSpec
from core.settings import Settings
from core.tasks.tasks import Tasks
from tests.conftest import DIGITS, short, wait_until

SPEC = RunSpec.of(method="pretrain", task=DIGITS, optim=short())


@pytest.fixture
def bridge() -> Iterator[subprocess.Popen[bytes]]:
    """A process in the place of the bridge that says nothing; what it hears is in its output."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def silent(dependencies: Dependencies, bridge: subprocess.Popen[bytes]) -> RayExecutor:
    """An executor whose cluster takes jobs and does not answer."""
    executor = RayExecutor(dependencies)
    connection = executor._connection
    connection._process, connection.problem, connection._heard = bridge, None, math.inf
    connection.room = 1
    connection.nodes = [{"id": "node", "name": "node", "address": "here", "cpus": 1, "gpus": 0, "memory": 2**30}]
    return executor


def test_the_bridge_is_told_that_nobody_listens_to_an_abandoned_job(
    tmp_path: Path, bridge: subprocess.Popen[bytes]
) -> None:
    executor = silent(Dependencies(Tasks(Catalog(Settings(tmp_path)))), bridge)
    commands = Commands()
    worker = threading.Thread(target=lambda: list(executor.start(Job.of("r-1", SPEC), commands)), daemon=True)
    worker.start()
    assert pickle.load(bridge.stdout)[:2] == ("start", 1)
    executor._connection._jobs[1].put(("at", 1, "node"))
    wait_until(lambda: [job.node for job in executor.machines.running()] == ["node"])
    commands.abandoned = True
    worker.join(10)
    assert not worker.is_alive()
    assert pickle.load(bridge.stdout) == ("end", 1)
    assert executor.machines.running() == []


def test_the_watchdog_abandons_the_job_of_a_worker_that_hears_nothing(
    tmp_path: Path, bridge: subprocess.Popen[bytes]
) -> None:
    lab = Lab(Settings(tmp_path, threads=1, hang_seconds=1.0))
    lab.start()
    lab.executors._made["threads"] = silent(lab.executors.current.dependencies, bridge)
    id = lab.launch(SPEC).id
    wait_until(lambda: lab.run(id).state == "interrupted", 30)
    assert pickle.load(bridge.stdout)[:2] == ("start", 1)
    assert pickle.load(bridge.stdout) == ("end", 1)
    lab.close()
