"""Jobs on a real Ray cluster of two nodes: the bits of threads, and nothing lost with a node, a lab or the cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.engine.cluster.executor import RayExecutor
from core.engine.recipe import weights_digest
from core.errors import SpecError
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.record import Run
from tests.conftest import BOTH, DIGITS, TURNED, compared, finish, short, wait_until
from tests.engine.ray_cluster import RayCluster
from tests.text_home import PETS, bring_tiny

PRETRAIN = RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001))


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    cluster = RayCluster()
    cluster.add()
    yield cluster
    cluster.close()


@pytest.fixture
def settings(settings: Settings, cluster: RayCluster, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    return replace(settings, threads=1, checkpoint_seconds=0.05, executor="ray")


def opened(settings: Settings, places: int = 2) -> Lab:
    """A lab that has joined the cluster."""
    lab = Lab(settings)
    lab.start()
    wait_until(lambda: lab.workers.places >= places)
    return lab


def weights(lab: Lab, run: Run) -> str | None:
    """SHA-256 of a run's trained weights."""
    return weights_digest(lab.settings.runs / run.id, lab.store.files(run.id))


def by_spec(lab: Lab, runs: list[Run]) -> dict[tuple[str, int], str | None]:
    """Weights by label and seed."""
    return {(run.spec.label, run.spec.seed): weights(lab, run) for run in runs}


def test_runs_on_nodes_come_to_the_bits_of_threads(settings: Settings, tmp_path: Path) -> None:
    found = []
    for where in (settings, replace(settings, home=settings.home.with_name("other"), executor="threads")):
        lab = opened(where, 2 if where is settings else 1)
        base = finish(lab, lab.launch(PRETRAIN).id)[0]
        network = bring_tiny(lab, tmp_path / f"tiny-{where.executor}")
        texts = RunSpec.of(method=LoRASpec.of(rank=2), network=network, task=PETS, optim=short(batch_size=16))
        runs = [lab.launch(texts)]
        for method in (FullSpec(), LoRASpec.of()):
            runs += lab.runs_of(lab.fine_tune(base, TURNED, [(short(), method)], [0]).runs)
        runs = finish(lab, *(run.id for run in runs))
        assert [(run.state, run.cause) for run in runs] == [("finished", None)] * 3
        assert all(lab.artifacts.verify(run.id).certified for run in runs if run.spec.adapter)
        found.append(by_spec(lab, [base, *runs]))
        lab.close()
    assert found[0] == found[1]


def test_a_run_on_a_node_is_seen_stopped_and_resumed(settings: Settings) -> None:
    lab = opened(settings)
    executor = lab.executors.current
    base = finish(lab, lab.launch(PRETRAIN).id)[0].id
    spec = RunSpec.of(task=TURNED, source=DIGITS, base=base, method=LoRASpec.of(), optim=short(epochs=200))
    id = lab.launch(spec).id
    wait_until(lambda: lab.run(id).step > 0)
    (place,) = executor.running()
    assert place.runs == (id,)
    assert place.node in {node.id for node in executor.nodes()}
    lab.stop(id)
    (stopped,) = finish(lab, id)
    assert stopped.state == "stopped"
    assert 0 < stopped.step < stopped.steps
    assert lab.artifacts.verify(id).certified

    left = lab.launch(spec.but(optim=short(epochs=60))).id
    wait_until(lambda: lab.store.checkpoint(left) is not None)
    lab.close()
    lab = opened(settings)
    assert lab.run(left).state == "interrupted"
    lab.resume([left])
    (run,) = finish(lab, left)
    assert run.resumed_step > 0
    assert lab.curve(left).step.tolist() == list(range(1, run.steps + 1))
    (untouched,) = finish(lab, lab.launch(run.spec).id)
    assert weights(lab, untouched) == weights(lab, run)
    lab.close()


def test_other_versions_on_a_node_are_one_sentence(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RayExecutor, "versions", {"torch": "1.0"})
    lab = opened(settings)
    (run,) = finish(lab, lab.launch(PRETRAIN).id)
    assert run.state == "interrupted"
    assert run.cause is not None
    assert run.cause.startswith("A node of the cluster has torch 2.")
    assert run.cause.endswith("and this machine has 1.0: install the same version on both.")
    lab.close()


LAB = """
import sys
from pathlib import Path
from tests.engine.test_ray import keep_training
keep_training(Path(sys.argv[1]))
"""

ARMS = [*BOTH, *((short(rate=rate), LoRASpec.of(rank=rank)) for rank in (1, 2) for rate in (0.001, 0.002, 0.003))]
LONG = [(optim.but(epochs=20), method) for optim, method in ARMS]


def keep_training(home: Path) -> None:
    """Open a lab, queue a sweep of 40 runs, and wait for a signal."""
    lab = opened(Settings(home, threads=1, checkpoint_seconds=0.05, executor="ray"))
    compared(lab, "rotation-45", "digits", None, short(), LONG, range(5))
    signal.pause()


def test_a_sweep_outlives_a_killed_node_a_killed_lab_and_a_stop(settings: Settings, cluster: RayCluster) -> None:
    first = subprocess.Popen([sys.executable, "-c", LAB, str(settings.home)], env={**os.environ, "PYTHONPATH": "."})
    watching = Lab(replace(settings, executor="threads"))  # never started: it only looks

    def sweep() -> list[Run]:
        return [run for experiment in watching.experiments() for run in watching.members(experiment)]

    wait_until(lambda: sum(run.state == "running" and run.step > 20 for run in sweep()) >= 2)
    stopped = next(run for run in sweep() if run.state == "running" and run.step > 20)
    watching.stop(stopped.id)
    cluster.kill(1)
    wait_until(lambda: sum(run.state == "finished" for run in sweep()) >= 5)
    first.kill()
    first.wait()
    done = {run.id: weights(watching, run) for run in sweep() if run.state == "finished"}
    watching.close()

    cluster.add()
    lab = opened(settings)
    lab.resume()
    runs = finish(lab, *(run.id for run in lab.members(lab.experiments()[0])))
    assert len(runs) == 40
    assert {run.id: run.cause for run in runs if run.state not in ("finished", "stopped")} == {}
    assert [run.id for run in runs if run.state == "stopped"] == [stopped.id]
    assert len({(run.spec.arm, run.spec.seed) for run in runs}) == 40
    for run in runs:
        assert lab.curve(run.id).step.tolist() == list(range(1, run.step + 1))
        assert not run.spec.adapter or lab.artifacts.verify(run.id).certified
    assert {id: weights(lab, lab.run(id)) for id in done} == done
    lab.close()


@pytest.mark.minutes
def test_a_cluster_that_is_gone_costs_nobody_the_dashboard(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = RayCluster()
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    lab = opened(settings, 1)
    base = finish(lab, lab.launch(PRETRAIN).id)[0].id
    optim = short(epochs=200, batch_size=8)
    spec = RunSpec.of(task=TURNED, source=DIGITS, base=base, method=LoRASpec.of(), optim=optim)
    id = lab.launch(spec).id
    wait_until(lambda: lab.store.checkpoint(id) is not None)
    cluster.kill(0)
    wait_until(lambda: lab.run(id).state == "queued")
    assert lab.executors.current.problem() is not None
    assert lab.workers.places == 0
    lab.executors.choose("threads")
    wait_until(lambda: lab.run(id).state == "running")
    assert lab.run(id).resumed_step > 0
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
