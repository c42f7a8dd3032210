"""Trackers that follow runs while they are trained: complete, and without effect on what is trained."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.errors import TrackerError
from core.lab import Lab
from core.settings import Settings
from core.store.record import Experiment
from core.tracking.delivery import Delivery, Turns
from core.tracking.follower import Followed, Follower
from core.tracking.registry import Target, target_of
from core.tracking.source import RunProgress, Source
from tests.conftest import BOTH, compared, finish, short, wait_until
from tests.slow_servers import slow_server
from tests.tracking.readers import in_mlflow, in_tensorboard, mlflow_runs, single, stored


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
    logs = tmp_path / "logs"
    with opened(tmp_path / "home", f"tensorboard:{logs}", f"mlflow:sqlite:///{mlflow_file}") as lab:
        lab.tracking.report_maker = lambda experiment: f"<html>{experiment.id}</html>".encode()
        experiment = train(lab)
        wait_until(lambda: bool(list(logs.glob("*/*"))))
        finish(lab, experiment.base, *experiment.runs)
        wait_until(lambda: has_all(lab, logs, experiment))
        wait_until(lambda: in_mlflow(mlflow_file) == stored(lab, experiment))
        wait_until(lambda: any("lora_lab.report" in run.data.tags for run in mlflow_runs(mlflow_file)))
        assert all(followed.error is None and followed.written for followed in lab.tracking.followed())
        assert len(mlflow_runs(mlflow_file)) == 5
    with opened(tmp_path / "home", f"tensorboard:{logs}", f"mlflow:sqlite:///{mlflow_file}") as lab:
        wait_until(lambda: all(not followed.pending for followed in lab.tracking.followed()))
        assert in_mlflow(mlflow_file) == stored(lab, experiment)
    assert has_all(lab, logs, experiment)
    lab.store.close()


def test_a_tracker_that_blocks_or_fails_changes_nothing_for_a_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path / "alone") as lab:
        alone = finish(lab, *train(lab).runs)
        curves = [lab.curve(run.id).loss.tolist() for run in alone]
    (tmp_path / "file").write_text("no folder")
    logs = tmp_path / "logs"
    with slow_server("it never answers") as server, caplog.at_level(logging.WARNING):
        addresses = f"mlflow:{server.url}", f"tensorboard:{tmp_path / 'file'}", f"tensorboard:{logs}"
        with opened(tmp_path / "home", *addresses) as lab:
            experiment = train(lab)
            followed = finish(lab, *experiment.runs)
            assert [run.score for run in followed] == [run.score for run in alone]
            assert [lab.curve(run.id).loss.tolist() for run in followed] == curves
            wait_until(lambda: has_all(lab, logs, experiment))  # none waits for another
            wait_until(lambda: bool(lab.tracking.followed()[1].error))
            assert "cannot be used" in str(lab.tracking.followed()[1].error)
            assert lab.tracking.followed()[2].error is None
            assert lab.tracking.followed()[0].written is None
            begun = time.monotonic()
    assert time.monotonic() - begun < 30
    warnings = [record.message for record in caplog.records if str(tmp_path / "file") in record.message]
    assert len(warnings) == 1, "logged once, however often it is tried"


def test_a_tracker_that_was_down_for_days_is_still_tried(tmp_path: Path) -> None:
    """The pause doubles with each failure, and 2 to the power of 1,024 is no float."""
    tried = []

    class Away(Source):
        def since(self, at: float) -> list[RunProgress]:
            tried.append(at)
            raise TrackerError("It is away.")

    with opened(tmp_path / "home") as lab:
        source, target = Away(lab.store, lab.artifacts), target_of(f"tensorboard:{tmp_path / 'logs'}")
        delivery = Delivery(source, target, tmp_path / "turns")
        follower = Follower(source, delivery, Followed(target, 0.0), 0.0, lambda: False, lambda: None)
        follower.start()
        wait_until(lambda: len(tried) > 1100)
        assert follower.state.error == "It is away."
        follower.ask_close(1)
        follower.join(60)


def test_a_tracker_that_was_down_is_caught_up(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.write_text("in the way")
    with opened(tmp_path / "home", f"tensorboard:{logs}") as lab:
        experiment = train(lab)
        finish(lab, experiment.base, *experiment.runs)
        wait_until(lambda: bool(lab.tracking.followed()[0].error))
    assert logs.read_text() == "in the way"
    with opened(tmp_path / "home", f"tensorboard:{logs}") as lab:
        wait_until(lambda: bool(lab.tracking.followed()[0].error))
        logs.unlink()
        wait_until(lambda: logs.is_dir() and has_all(lab, logs, experiment))
        wait_until(lambda: lab.tracking.followed()[0].error is None)


def test_runs_of_the_past_are_left_to_the_button(home: Path, experiment: Experiment, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    with opened(home, f"tensorboard:{logs}") as lab:
        run = finish(lab, lab.launch(lab.run(experiment.base).spec.but(seed=7)).id)[0]
        wait_until(lambda: run.id in (in_tensorboard(logs) if logs.exists() else {}))
        wait_until(lambda: lab.tracking.followed()[0].pending == 0)
        assert in_tensorboard(logs).keys() == {run.id}


def test_names_of_trackers_are_checked_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_LAB_TRACK", f"tensorboard:{tmp_path}, wandb:x")
    settings = Settings.from_environment(tmp_path / "home")
    assert settings.track == (f"tensorboard:{tmp_path}", "wandb:x")
    with pytest.raises(TrackerError, match=r"^LORA_LAB_TRACK cannot be used. There is no tracker 'wandb'"):
        Lab(settings)


def test_whoever_takes_turns_knows_whether_another_one_has_written(tmp_path: Path) -> None:
    one, two = (Turns(tmp_path, Target("tensorboard", "logs")) for _ in range(2))
    found = []
    for turns in (one, one, two, one, one):
        with turns.turn(1) as others:
            found.append(others)
    assert found == [True, False, True, True, False]
    with one.turn(1), pytest.raises(TrackerError, match="Another writer holds"), two.turn(0):
        pass


def test_a_writer_that_cannot_be_noted_is_a_sentence_and_holds_nothing(tmp_path: Path) -> None:
    turns = Turns(tmp_path, Target("tensorboard", "logs"))
    with turns.turn(1):
        pass
    (noted,) = tmp_path.glob("*.writer")
    noted.unlink()
    noted.mkdir()
    for _ in range(2):  # the lock was released
        with pytest.raises(TrackerError, match=r"\.writer cannot be written: Is a directory\."), turns.turn(0):
            raise AssertionError
    noted.rmdir()
    with turns.turn(0) as others:
        assert others


def test_an_error_in_a_turn_stays_what_it_is(tmp_path: Path) -> None:
    turns = Turns(tmp_path, Target("tensorboard", "logs"))
    with pytest.raises(OSError, match="of the tracker"), turns.turn(0):
        raise OSError("of the tracker")
    with turns.turn(0):
        pass
