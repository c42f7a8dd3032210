"""A tracker's writer that is killed, or that the store contradicts: complete, and nothing twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.lab import Lab
from core.store.record import Experiment, State
from core.tracking.content import Series, TrackedRun
from core.tracking.delivery import Delivery
from core.tracking.registry import target_of
from core.tracking.sender import Sender, batches
from core.tracking.source import Source
from tests import forked
from tests.tracking.conftest import Place
from tests.tracking.readers import mlflow_runs, stored


@pytest.mark.parametrize("place", ["tensorboard", pytest.param("mlflow", marks=pytest.mark.minutes)], indirect=True)
def test_killed_in_the_middle_and_started_again_everything_is_there_once(
    place: Place, idle: Lab, experiment: Experiment, tmp_path: Path
) -> None:
    home = str(idle.settings.home)
    done = forked.run(["-m", "tests.tracking.killed", home, experiment.id, place.target, "5"], timeout=240)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines.count("killed") >= 3
    assert lines[-1].startswith("Delivered(runs=5")
    assert place.read() == place.kept(stored(idle, experiment))
    if place.target.startswith("tensorboard"):
        assert len(list(tmp_path.glob("logs/*/*/events*"))) > 5, "nobody was killed while a run was written"
    else:
        assert len(mlflow_runs(tmp_path / "mlflow" / "mlflow.db")) == 7


def in_two_parts(run: TrackedRun, first: int) -> tuple[TrackedRun, TrackedRun]:
    """A run as it was after some points of its losses, and as it ended from a point before that with other losses."""
    loss = run.series["loss"]
    part = replace(run, state="running", series={"loss": loss.part(0, first)})
    other = Series(loss.step, loss.value.copy(), loss.time)
    other.value[first - 5 :] *= 0.5
    return part, replace(run, series={**run.series, "loss": other})


@pytest.mark.parametrize("is_new_process", [False, True])
def test_a_run_that_went_on_from_an_older_checkpoint_is_shown_as_it_went_on(
    place: Place, is_new_process: bool, idle: Lab, experiment: Experiment
) -> None:
    target = target_of(place.target)
    source = Source(idle.store, idle.artifacts)
    run = source.run(experiment.runs[0])
    before, after = in_two_parts(run, 40)
    sender = Sender(target.open())
    assert sender.send(before, dict) == 40
    assert sender.send(before, dict) == 0
    sender = Sender(target.open()) if is_new_process else sender
    assert sender.send(after, dict) == sum(map(len, after.series.values()))
    assert sender.send(after, dict) == 0
    expected = {name: list(zip(s.step.tolist(), s.value.tolist(), strict=True)) for name, s in after.series.items()}
    assert place.read() == place.kept({run.id: expected})


@pytest.mark.parametrize(("state", "is_new_process"), [("stopped", False), ("stopped", True), ("failed", True)])
def test_a_run_that_went_on_after_its_end_is_shown_with_its_last_end_alone(
    place: Place, state: State, is_new_process: bool, idle: Lab, experiment: Experiment
) -> None:
    target = target_of(place.target)
    run = Source(idle.store, idle.artifacts).run(experiment.runs[0])
    before = replace(run, state=state, series={"loss": run.series["loss"].part(0, 40)})
    sender = Sender(target.open())
    assert sender.send(before, dict) == 40
    assert (sender.tracker.end(run), sender.tracker.complete()) == (state, set())
    sender = Sender(target.open()) if is_new_process else sender
    whole = run.series["loss"].part(0, 60)
    assert sender.send(replace(run, state="running", series={"loss": whole}), dict) == 60
    assert sender.tracker.end(run) == ""
    assert sender.send(run, dict) == sum(map(len, run.series.values())) - 60
    assert (sender.tracker.end(run), sender.tracker.complete()) == ("finished", {run.id})
    expected = stored(idle, experiment)[run.id]
    assert place.read() == place.kept({run.id: expected})


def test_two_writers_that_take_turns_leave_every_curve_in_its_order(
    place: Place, idle: Lab, experiment: Experiment, tmp_path: Path
) -> None:
    """As one that follows runs, and another one that is asked to send the same experiment meanwhile."""
    target = target_of(place.target)
    source = Source(idle.store, idle.artifacts)
    run = source.run(experiment.runs[0])
    one, two = (Delivery(source, target, tmp_path / "turns") for _ in range(2))
    for first, delivery in ((15, one), (30, two), (45, one), (60, two)):
        part = replace(run, state="running", series={"loss": run.series["loss"].part(0, first)})
        with delivery._turns.turn(1) as others:
            sent = delivery._opened(others).send(part, dict)
            assert sent == 15
    assert one.send(run.id, lambda: False) == sum(map(len, run.series.values())) - 60, "nothing is written anew"
    expected = stored(idle, experiment)[run.id]
    assert place.read() == place.kept({run.id: expected})


def test_batches_hold_every_point_once(idle: Lab, experiment: Experiment) -> None:
    run = Source(idle.store, idle.artifacts).run(experiment.runs[0])
    for size in (1, 7, 50, 10_000):
        parts = list(batches(run.series, size))
        assert all(0 < sum(map(len, part.values())) <= size for part in parts)
        assert sum(sum(map(len, part.values())) for part in parts) == sum(map(len, run.series.values()))
        steps = [step for part in parts if "loss" in part for step in part["loss"].step.tolist()]
        assert steps == run.series["loss"].step.tolist()
