"""What a job says, or a file of results, is recorded; a run whose files cannot be written fails alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.data.sources.catalog import Catalog
from core.engine.jobs.commands import Commands
from core.engine.jobs.dependencies import Dependencies
from core.engine.jobs.job import Job
from core.engine.jobs.messages import Ended, Message, Noted, OutOfMemory
from core.engine.jobs.results import results_of
from core.engine.jobs.run_files import NETWORK
from core.engine.jobs.run_job import run_job
from core.engine.recorder import joined
from core.engine.writes import Finish
from core.lab import Lab
from core.methods.full import FullSpec
from core.settings import Settings
from core.tasks.tasks import Tasks
from core.training.events import EpochEnd, StepLoss
from tests.conftest import PRETRAIN, TURNED, copied, finish, short, some_of, wait_until
from tests.engine.test_run_job import job_of


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, threads=1)


def test_a_run_whose_folder_cannot_be_made_fails_alone(lab: Lab) -> None:
    base = finish(lab, lab.launch(PRETRAIN).id)[0]
    with lab._copies._saving, lab.workers._claiming:  # neither makes the folder meanwhile
        experiment = lab.fine_tune(base, TURNED, [(short(), FullSpec())], [0, 1])
        (lab.settings.runs / experiment.runs[0]).write_text("where a folder should be")
    failed, finished = finish(lab, *experiment.runs)
    assert failed.state == "failed"
    assert "could not be read or written" in str(failed.cause)
    assert finished.state == "finished"
    assert finished.result.bank == 2
    wait_until(lambda: copied(lab, finished.id))  # although the one before it cannot be copied


def test_an_end_that_the_store_cannot_take_waits_by_name_and_is_written_later(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(lab.store, "finish", refuse)
        id = lab.launch(PRETRAIN).id
        wait_until(lambda: bool(lab.workers.writes.waiting))
        (write,) = lab.workers.writes.waiting
        assert isinstance(write, Finish)
        assert (write.run.id, write.state) == (id, "finished")
        assert lab.run(id).state == "running"
    (run,) = finish(lab, id)
    assert run.state == "finished"
    assert run.result == write.result
    assert lab.artifacts.path(id, NETWORK).exists()
    assert not lab.workers.writes.waiting


def test_losses_of_a_run_are_written_as_one_row_and_none_is_lost_or_moved(idle: Lab) -> None:
    def losses(first: int, count: int) -> StepLoss:
        return StepLoss(first, np.arange(first, first + count, dtype=np.float32), np.arange(count) + 0.5 * first)

    ends = [EpochEnd(epoch, 3 * epoch, 1.0, 0.5, 10.0, {}) for epoch in (1, 2)]
    one, other = (idle.launch(PRETRAIN.but(seed=seed)) for seed in (0, 1))
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


class Machine:
    """A machine that has enough memory for some runs at once; it is out of memory as soon as some of more ended."""

    def __init__(self, folder: Path, room: int, ended: int) -> None:
        self.dependencies = Dependencies(Tasks(Catalog(Settings(folder))))
        self.room, self.ended = room, ended
        self.sizes: list[int] = []

    def train(self, job: Job) -> Iterator[Message]:
        self.sizes.append(len(job.members))
        ends = 0
        for message in run_job(job, self.dependencies, Commands()):
            if len(job.members) > self.room and isinstance(message, Ended):
                ends += 1
                if ends > self.ended:
                    yield OutOfMemory()
                    return
            yield message


@pytest.mark.parametrize(
    ("ended", "sizes"), some_of([(2, [5, 3, 1]), (0, [5, 3, 2, 2, 1])], lambda ended, sizes: ended > 0)
)
def test_a_job_is_halved_until_it_fits(tmp_path: Path, ended: int, sizes: list[int]) -> None:
    machine, fitting = Machine(tmp_path, 2, ended), dict[str, int]()
    specs = [PRETRAIN.but(seed=seed) for seed in range(5)]
    found = list(results_of(job_of(specs), machine.train, fitting))
    assert machine.sizes == sizes
    assert sorted(one.run for one in found) == [f"r-{seed}" for seed in range(5)]
    for one in found:
        *others, end = one.messages
        assert not any(isinstance(message, Ended) for message in others)
        assert one.first_step == 1
        notes = [message.text for message in others if isinstance(message, Noted)]
        halvings = sum(text.startswith("Out of memory with ") for text in notes)
        assert halvings == {5: 0, 3: 1, 2: 2, 1: 2}[end.result.bank]
    machine.sizes.clear()
    assert len(list(results_of(job_of(specs[:3]), machine.train, fitting))) == 3
    assert machine.sizes == [2, 1]  # what did not fit is not tried again
