"""Jobs on a real Ray cluster of two nodes: the bits of threads, and nothing lost with a node, a lab or the cluster."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from core.errors import SpecError
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.record import Experiment, Run
from tests import forked
from tests.browser.conftest import free_port
from tests.conftest import BOTH, DIGITS, PRETRAIN, TURNED, finish, short, wait_until, weights_of
from tests.launching import compare, fine_tune
from tests.searched_home import asked, check_found_the_same, ended
from tests.soak.sizes import FULL, full_or_short
from tests.text_home import PETS, import_tiny

RAY = Path(sys.executable).with_name("ray")
LONG_RUN = RunSpec.of(
    task=TURNED, source=DIGITS, base="r-base", method=LoRASpec.of(), optim=short(epochs=200, batch_size=8)
)


class RayCluster:
    """A head and nodes with processes, ports and temporary folders of their own on this machine.

    Nodes are started with ``ray start --block`` and killed with everything that they have started.
    """

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
        self.address = f"127.0.0.1:{free_port()}"
        self.nodes: list[subprocess.Popen[bytes]] = []
        port = self.address.rpartition(":")[2]
        self._start("--head", f"--port={port}", "--include-dashboard=false", "--no-monitor")

    def add(self) -> None:
        """Add a node."""
        self._start(f"--address={self.address}")

    def _start(self, *options: str) -> None:
        number = len(self.nodes)
        home = Path(self.folder.name) / str(number)
        home.mkdir()
        # A home of its own for each node, so that nothing of the lab's can be reached through the environment.
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_failure_threshold": "4",
            # Jobs have processes with an environment of their own, so nobody would use those started beforehand.
            "RAY_prestart_worker_first_driver": "0",
            "RAY_enable_worker_prestart": "0",
        }
        command = [str(RAY), "start", "--block", "--node-ip-address=127.0.0.1", "--num-cpus=1", f"--temp-dir={home}"]
        command += ["--object-store-memory=100000000", "--include-log-monitor=false", *options]
        with (home / "log").open("wb") as log:
            node = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log, start_new_session=True)
        self.nodes.append(node)

    def kill(self, number: int) -> None:
        """End a node with SIGKILL, as a power cut would."""
        node = self.nodes[number]
        with suppress(psutil.NoSuchProcess):
            # The group of the node's own processes, and workers, which Ray puts into groups of their own.
            for process in [psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
        node.wait()

    def close(self) -> None:
        for number in reversed(range(len(self.nodes))):
            self.kill(number)
        self.folder.cleanup()


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """In the whole suite its one node is the head, since every further one takes seconds of both cores."""
    cluster = RayCluster()
    if FULL:
        cluster.add()
    yield cluster
    cluster.close()


def on_cluster(home: Path) -> Settings:
    """Settings of a lab that trains on the cluster of ``RAY_ADDRESS``."""
    return Settings(home, threads=1, checkpoint_seconds=0.05, executor="ray")


@pytest.fixture
def settings(tmp_path: Path, cluster: RayCluster, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a lab that has trained nothing yet."""
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    return on_cluster(tmp_path / "home")


def opened(settings: Settings, places: int = full_or_short(2, 1)) -> Lab:
    """A lab that has joined the cluster."""
    lab = Lab(settings)
    lab.start()
    wait_until(lambda: lab.workers.places >= places)
    return lab


def by_spec(lab: Lab, runs: list[Run]) -> dict[tuple[str, int], str | None]:
    """Weights by label and seed."""
    return {(run.spec.label, run.spec.seed): weights_of(lab, run) for run in runs}


@pytest.fixture(scope="module")
def lab(cluster: RayCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of several tests: what has trained one job on a node is kept for the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", cluster.address)
        lab = opened(on_cluster(tmp_path_factory.mktemp("cluster") / "home"))
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def base(lab: Lab) -> Run:
    """A base that was trained on a node."""
    return finish(lab, lab.launcher.launch(PRETRAIN).id)[0]


def alone(lab: Lab, base: Run, folder: Path) -> list[Run]:
    """Single runs of each method from a base, and of a network and texts that somebody has brought."""
    network = import_tiny(lab, folder)
    runs = [
        lab.launcher.launch(
            RunSpec.of(method=LoRASpec.of(rank=2), network=network, task=PETS, optim=short(batch_size=16))
        )
    ]
    for method in (FullSpec(), LoRASpec.of()):
        runs += lab.store.runs_of(fine_tune(lab, base, TURNED, [(short(), method)], [0]).runs)
    runs = finish(lab, *(run.id for run in runs))
    assert [(run.state, run.cause) for run in runs] == [("finished", None)] * 3
    assert all(lab.artifacts.verify(run.id).certified for run in runs if run.spec.role == "adapter")
    return [base, *runs]


def test_runs_on_nodes_come_to_the_bits_of_threads(lab: Lab, base: Run, tmp_path: Path) -> None:
    there = by_spec(lab, alone(lab, base, tmp_path / "there"))
    threads = opened(replace(lab.settings, home=tmp_path / "home", executor="threads"), 1)
    here = by_spec(threads, alone(threads, finish(threads, threads.launcher.launch(PRETRAIN).id)[0], tmp_path / "here"))
    threads.close()
    assert here == there


def test_a_run_on_a_node_is_seen_and_stopped(lab: Lab, base: Run) -> None:
    executor = lab.executors.current
    id = lab.launcher.launch(LONG_RUN.but(base=base.id)).id
    wait_until(lambda: lab.store.run(id).step > 0)
    (place,) = executor.machines.running()
    assert place.runs == (id,)
    assert place.node in {node.id for node in executor.machines.nodes()}
    lab.stop(id)
    (stopped,) = finish(lab, id)
    assert stopped.state == "stopped"
    assert 0 < stopped.step < stopped.steps
    assert lab.artifacts.verify(id).certified


def test_other_versions_on_a_node_are_one_sentence(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(lab.executors.current), "versions", {"torch": "1.0"})
    (run,) = finish(lab, lab.launcher.launch(PRETRAIN.but(seed=1)).id)
    assert run.state == "interrupted"
    assert run.cause.startswith("A node of the cluster has torch 2.")
    assert run.cause.endswith("and this machine has 1.0: install the same version on both.")


def left_by(lab: Lab, id: str) -> str:
    """State of a run whose lab is closed as soon as it has a checkpoint or has ended."""
    wait_until(lambda: lab.store.checkpoint(id) is not None or not lab.store.run(id).is_live)
    lab.close()
    return lab.store.run(id).state


LAB = """
import sys
from pathlib import Path
from tests.engine.test_ray import keep_training
keep_training(Path(sys.argv[1]), *sys.argv[2:])
"""

ARMS = [*BOTH, *((short(rate=rate), LoRASpec.of(rank=rank)) for rank in (1, 2) for rate in (0.001, 0.002, 0.003))]
LONG = [(optim.but(epochs=20), method) for optim, method in full_or_short(ARMS, ARMS[:3])]
SEEDS = full_or_short(5, 2)
"""A sweep of 40 runs, or of 6."""


def keep_training(home: Path, base: str, left: str) -> None:
    """Open a lab, queue a sweep on a base, go on with a run that was left, and wait for a signal."""
    lab = opened(on_cluster(home))
    fine_tune(lab, lab.store.run(base), TURNED, LONG, range(SEEDS), "sweep")
    lab.launcher.finish([left])
    signal.pause()


@pytest.mark.minutes
def test_a_run_that_a_lab_left_and_a_sweep_outlive_a_killed_node_a_killed_lab_and_a_stop(
    lab: Lab, base: Run, cluster: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not stopped ends with every step once, and the run that was left with the bits of one that was not."""
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    # A run may have finished before its lab was closed, which is nobody's fault.
    for epochs in (60, 120, 240, 600, 6000):
        left = lab.launcher.launch(LONG_RUN.but(base=base.id, optim=short(epochs=epochs))).id
        if left_by(lab, left) != "finished":
            break
        lab = opened(lab.settings)
    assert lab.store.run(left).state == "interrupted"

    first = forked.start(["-c", LAB, str(lab.settings.home), base.id, left])
    watching = Lab(replace(lab.settings, executor="threads"))  # never started: it only looks

    def sweep() -> list[Run]:
        found = [experiment for experiment in watching.store.experiments() if experiment.name == "sweep"]
        return [run for experiment in found for run in watching.store.members(experiment)]

    wait_until(lambda: sum(run.state == "running" and run.step > 20 for run in sweep()) >= 2)
    stopped = next(run for run in sweep() if run.state == "running" and run.step > 20)
    watching.stop(stopped.id)
    cluster.kill(1)
    wait_until(lambda: sum(run.state == "finished" for run in sweep()) >= SEEDS)
    first.kill()
    first.wait()
    done = {run.id: weights_of(watching, run) for run in sweep() if run.state == "finished"}
    watching.close()

    lab = opened(lab.settings, 1)
    lab.launcher.finish([run.id for run in lab.store.runs(states=["interrupted"])])
    runs = finish(lab, *(run.id for run in lab.store.members(lab.store.experiments()[0])))
    assert len(runs) == len(LONG) * SEEDS
    assert {run.id: run.cause for run in runs if run.state not in ("finished", "stopped")} == {}
    assert [run.id for run in runs if run.state == "stopped"] == [stopped.id]
    assert len({(run.spec.arm, run.spec.seed) for run in runs}) == len(LONG) * SEEDS
    (resumed,) = finish(lab, left)
    assert resumed.resumed_step > 0
    for run in (*runs, resumed):
        assert lab.store.curve(run.id).step.tolist() == list(range(1, run.step + 1))
        assert run.spec.role != "adapter" or lab.artifacts.verify(run.id).certified
    assert {id: weights_of(lab, lab.store.run(id)) for id in done} == done
    (untouched,) = finish(lab, lab.launcher.launch(resumed.spec).id)
    assert resumed.step == resumed.steps
    assert weights_of(lab, untouched) == weights_of(lab, resumed)
    lab.close()


PLAN = """
import signal, sys
from pathlib import Path
from tests.engine.test_ray import on_cluster, opened
lab = opened(on_cluster(Path(sys.argv[1])), 1)
lab.launcher.finish([run.id for run in lab.store.runs(states=["interrupted"])])
signal.pause()
"""


@pytest.mark.minutes
def test_a_plan_on_a_cluster_outlives_labs_that_are_killed(
    undisturbed: tuple[Lab, Experiment], settings: Settings
) -> None:
    watching = Lab(replace(settings, executor="threads"))  # never started: it only looks
    experiment = compare(watching, asked(watching))
    chance, runs = random.Random(0), watching.store.members(experiment)
    for _ in range(5):
        lab = forked.start(["-c", PLAN, str(settings.home)])
        known = sum(run.state == "finished" for run in runs)
        wait_until(lambda known=known: sum(r.state == "finished" for r in watching.store.members(experiment)) > known)
        time.sleep(chance.uniform(0, 2))
        lab.kill()
        lab.wait()
        runs = watching.store.members(experiment)
    assert {run.plan for run in runs} != {"complete"}, "it was killed in the middle"
    watching.close()
    lab = opened(settings, 1)
    lab.launcher.finish([run.id for run in lab.store.runs(states=["interrupted"])])
    check_found_the_same(ended(lab, experiment), undisturbed)
    lab.close()


@pytest.mark.minutes
def test_a_cluster_that_is_gone_costs_nobody_the_dashboard(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = RayCluster()
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    lab = opened(settings, 1)
    base = finish(lab, lab.launcher.launch(PRETRAIN).id)[0].id
    id = lab.launcher.launch(LONG_RUN.but(base=base)).id
    wait_until(lambda: lab.store.checkpoint(id) is not None)
    cluster.kill(0)
    wait_until(lambda: lab.store.run(id).state == "queued")
    assert lab.executors.current.machines.problem() is not None
    assert lab.workers.places == 0
    lab.executors.choose("threads")
    wait_until(lambda: lab.store.run(id).state == "running")
    assert lab.store.run(id).resumed_step > 0
    lab.stop(id)
    assert finish(lab, id)[0].state == "stopped"
    lab.close()
    cluster.close()


def test_what_is_not_there_cannot_be_chosen(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS")
    lab = Lab(replace(settings, executor="threads"))
    assert list(lab.executors.titles) == ["threads"]
    with pytest.raises(SpecError, match="no executor 'ray' here"):
        lab.executors.choose("ray")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert list(Lab(replace(settings, executor="threads")).executors.titles) == ["threads", "ray"]
