"""What a job says, or a file of results, is recorded; a run whose files cannot be written fails alone."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.engine.jobs.run_files import NETWORK
from core.engine.recorder import joined
from core.engine.writes import Finish
from core.lab import Lab
from core.methods.full import FullSpec
from core.settings import Settings
from core.store.run_file import NAME
from core.training.stepper import EpochEnd, StepLoss
from tests.conftest import PRETRAIN, TURNED, finish, short, wait_until
from tests.launching import fine_tune


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, threads=1)


def test_a_run_whose_folder_cannot_be_made_fails_alone(lab: Lab) -> None:
    base = finish(lab, lab.launcher.launch(PRETRAIN).id)[0]
    with lab.workers._claiming:  # nobody makes the folder meanwhile
        experiment = fine_tune(lab, base, TURNED, [(short(), FullSpec())], [0, 1])
        (lab.settings.runs / experiment.runs[0]).write_text("where a folder should be")
    failed, finished = finish(lab, *experiment.runs)
    assert failed.state == "failed"
    assert "could not be read or written" in str(failed.cause)
    assert finished.state == "finished"
    assert finished.result.bank == 2
    assert (lab.settings.runs / finished.id / NAME).exists()


def test_an_end_that_the_store_cannot_take_waits_by_name_and_is_written_later(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(lab.store, "finish", refuse)
        id = lab.launcher.launch(PRETRAIN).id
        wait_until(lambda: bool(lab.workers.writes.waiting))
        (write,) = lab.workers.writes.waiting
        assert isinstance(write, Finish)
        assert (write.run.id, write.state) == (id, "finished")
        assert lab.store.run(id).state == "running"
    (run,) = finish(lab, id)
    assert run.state == "finished"
    assert run.result == write.result
    assert lab.artifacts.path(id, NETWORK).exists()
    assert not lab.workers.writes.waiting


def test_losses_of_a_run_are_written_as_one_row_and_none_is_lost_or_moved(idle: Lab) -> None:
    def losses(first: int, count: int) -> StepLoss:
        return StepLoss(first, np.arange(first, first + count, dtype=np.float32), np.arange(count) + 0.5 * first)

    ends = [EpochEnd(epoch, 3 * epoch, 1.0, 0.5, 10.0, {}) for epoch in (1, 2)]
    one, other = (idle.launcher.launch(PRETRAIN.but(seed=seed)) for seed in (0, 1))
    events = [(one, losses(1, 3)), (other, losses(1, 3)), (one, ends[0]), (other, ends[0]), (one, losses(4, 2))]
    found = joined([*events, (one, losses(6, 1)), (one, ends[1])])
    epochs = [(run.id, event) for run, event in found if isinstance(event, EpochEnd)]
    assert epochs == [(one.id, ends[0]), (other.id, ends[0]), (one.id, ends[1])]
    rows = {run.id: event for run, event in found if isinstance(event, StepLoss)}
    assert len(found) == 5
    assert rows[one.id].first_step == rows[other.id].first_step == 1
    assert rows[one.id].losses.tolist() == [1, 2, 3, 4, 5, 6]
    assert rows[one.id].seconds.tolist() == [0.5, 1.5, 2.5, 2.0, 3.0, 3.0]
    assert rows[other.id].losses.tolist() == [1, 2, 3]
