"""A tracker's writer that is killed, or a run that went on after its end: whole, and nothing twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from core.errors import TrackerError
from core.lab import Lab
from core.store.record import Experiment, State
from core.tracking import tracking
from core.tracking.tracker import tracked_run
from core.tracking.tracking import tracker_of
from tests import forked
from tests.tracking.conftest import Place
from tests.tracking.readers import mlflow_runs, stored


@pytest.mark.parametrize("place", ["tensorboard", pytest.param("mlflow", marks=pytest.mark.minutes)], indirect=True)
def test_killed_in_the_middle_and_started_again_everything_is_there_once(
    place: Place, idle: Lab, experiment: Experiment, tmp_path: Path
) -> None:
    home = str(idle.settings.home)
    done = forked.run(["-m", "tests.tracking.killed", home, experiment.id, place.target, "4"], timeout=240)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines.count("killed") >= 3
    assert lines[-1].startswith("sent ")
    assert place.read() == place.kept(stored(idle, experiment))
    if place.target.startswith("mlflow"):
        assert len(mlflow_runs(tmp_path / "mlflow" / "mlflow.db")) == 6


@pytest.mark.parametrize("state", ["stopped", "failed"])
def test_a_run_that_went_on_after_its_end_is_shown_with_its_last_end_alone(
    place: Place, state: State, idle: Lab, experiment: Experiment
) -> None:
    run = tracked_run(idle.store, experiment.runs[0])
    losses = run.points[run.points["name"] == "loss"][:40]
    before = replace(run, state=state, ended=run.ended - 1, points=losses.assign(value=losses["value"] * 0.5))
    tracker = tracker_of(place.target)
    assert tracker.write(before, None)
    (shown,) = place.read().values()
    assert len(shown["loss"]) == 40
    assert tracker.write(run, None)
    assert not tracker.write(run, None)
    assert place.read() == place.kept({run.id: stored(idle, experiment)[run.id]})


def test_writers_of_one_tracker_take_turns(
    idle: Lab, experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "TURN_SECONDS", 0.0)
    tracker = tracker_of(f"tensorboard:{tmp_path / 'logs'}")
    assert idle.tracking.run(experiment.runs[0], tracker)
    (lock,) = idle.settings.tracking.iterdir()
    with FileLock(lock), pytest.raises(TrackerError, match="Another writer holds"):
        idle.tracking.run(experiment.runs[1], tracker)
    assert idle.tracking.run(experiment.runs[1], tracker)
