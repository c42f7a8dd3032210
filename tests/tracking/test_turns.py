"""Turns of those who write to one tracker."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import TrackerError
from core.tracking.registry import Target
from core.tracking.turns import Turns


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
