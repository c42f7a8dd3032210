"""Trackers that get every run when it ends: whole, and without effect on what is trained."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.errors import TrackerError
from core.lab import Lab
from core.settings import Settings
from core.store.record import Experiment
from core.tracking import tracking
from tests.conftest import BOTH, compared, finish, short, wait_until
from tests.tracking.readers import in_mlflow, in_tensorboard, single, stored


@contextmanager
def opened(home: Path, *track: str) -> Iterator[Lab]:
    """A lab that trains alone and on one thread, so that its numbers are always the same, and follows."""
    lab = Lab(Settings(home=home, threads=1, bank_bytes=1, track=track, track_seconds=0.1))
    lab.start()
    yield lab
    lab.close(30)


def train(lab: Lab, epochs: int = 2) -> Experiment:
    arms = [(optim.but(epochs=epochs), method) for optim, method in BOTH]
    return compared(lab, "rotation-45", "digits", None, short(rate=0.001), arms, [0])


def has_all(lab: Lab, folder: Path, experiment: Experiment) -> bool:
    return in_tensorboard(folder) == single(stored(lab, experiment))


def test_both_trackers_have_everything_when_the_runs_have_ended(tmp_path: Path, mlflow_file: Path) -> None:
    logs, home = tmp_path / "logs", tmp_path / "home"
    addresses = f"tensorboard:{logs}", f"mlflow:sqlite:///{mlflow_file}"
    with opened(home, *addresses) as lab:
        experiment = train(lab)
        finish(lab, experiment.base, *experiment.runs)
    # Whoever closes a lab waits for what has ended.
    assert all(written.error is None and len(written.runs) == 3 for written in lab.tracking.written)
    lab = Lab(Settings(home=home))
    assert has_all(lab, logs, experiment)
    assert in_mlflow(mlflow_file) == stored(lab, experiment)
    lab.store.close()


def test_a_tracker_that_blocks_or_fails_changes_nothing_for_a_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path / "alone") as lab:
        alone = finish(lab, *train(lab).runs)
        curves = [lab.store.curve(run.id).loss.tolist() for run in alone]
    (tmp_path / "file").write_text("no folder")
    logs = tmp_path / "logs"
    with socket.create_server(("127.0.0.1", 0)) as silent, caplog.at_level(logging.WARNING):
        addresses = (
            f"mlflow:http://127.0.0.1:{silent.getsockname()[1]}/",
            f"tensorboard:{tmp_path / 'file'}",
            f"tensorboard:{logs}",
        )
        with opened(tmp_path / "home", *addresses) as lab:
            experiment = train(lab)
            followed = finish(lab, *experiment.runs)
            assert [run.score for run in followed] == [run.score for run in alone]
            assert [lab.store.curve(run.id).loss.tolist() for run in followed] == curves
            wait_until(lambda: has_all(lab, logs, experiment))  # a tracker that fails holds none up for long
            blocked, failing, fine = lab.tracking.written
            assert "cannot be used" in str(failing.error)
            assert (failing.runs, fine.error, blocked.runs) == (set(), None, set())
            begun = time.monotonic()
    assert time.monotonic() - begun < 30
    warnings = [record.message for record in caplog.records if str(tmp_path / "file") in record.message]
    assert len(warnings) == 1, "logged once, however often it is tried"


def test_a_tracker_that_was_down_is_caught_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 0.1)
    logs = tmp_path / "logs"
    logs.write_text("in the way")
    with opened(tmp_path / "home", f"tensorboard:{logs}") as lab:
        experiment = train(lab)
        finish(lab, experiment.base, *experiment.runs)
        (written,) = lab.tracking.written
        wait_until(lambda: bool(written.error))
        assert logs.read_text() == "in the way"
        logs.unlink()
        wait_until(lambda: len(written.runs) == 3)
        assert has_all(lab, logs, experiment)


def test_a_home_with_what_an_earlier_version_noted_writes_what_ends_from_now_on(
    home: Path, experiment: Experiment, tmp_path: Path
) -> None:
    logs = tmp_path / "logs"
    (home / "tracking").mkdir(exist_ok=True)
    (home / "tracking" / "since.json").write_text(json.dumps({f"tensorboard:{logs}": 0.0}))
    with opened(home, f"tensorboard:{logs}") as lab:
        run = finish(lab, lab.launcher.launch(lab.store.run(experiment.base).spec.but(seed=7)).id)[0]
    assert in_tensorboard(logs).keys() == {run.id}


def test_names_of_trackers_are_checked_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_LAB_TRACK", f"tensorboard:{tmp_path}, wandb:x")
    settings = Settings.from_environment(tmp_path / "home")
    assert settings.track == (f"tensorboard:{tmp_path}", "wandb:x")
    with pytest.raises(TrackerError, match=r"^LORA_LAB_TRACK cannot be used. There is no tracker 'wandb'"):
        Lab(settings)
