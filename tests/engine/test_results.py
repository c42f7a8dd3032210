"""Runs that are out of memory together are trained in smaller jobs, and come to what those runs come to alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from core.data.sources.catalog import Catalog
from core.engine.jobs.commands import Commands
from core.engine.jobs.dependencies import Dependencies
from core.engine.jobs.job import Job, Member
from core.engine.jobs.messages import Ended, Message, Noted, OutOfMemory
from core.engine.jobs.results import results_of
from core.engine.jobs.run_job import run_job
from core.run_spec import RunSpec
from core.settings import Settings
from core.tasks.tasks import Tasks
from tests.conftest import DIGITS, short

SPEC = RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001))


def job_of(count: int) -> Job:
    return Job(tuple(Member(f"r-{seed}", SPEC.but(seed=seed)) for seed in range(count)), threads=1)


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


def ends(messages: Iterable[Message]) -> list[Ended]:
    return [message for message in messages if isinstance(message, Ended)]


@pytest.mark.parametrize(("ended", "sizes"), [(0, [5, 3, 2, 2, 1]), (2, [5, 3, 1])])
def test_a_job_is_halved_until_it_fits(tmp_path: Path, ended: int, sizes: list[int]) -> None:
    machine, fitting = Machine(tmp_path, 2, ended), dict[str, int]()
    found = list(results_of(job_of(5), machine.train, fitting))
    assert machine.sizes == sizes
    assert sorted(one.run for one in found) == [f"r-{seed}" for seed in range(5)]
    for one in found:
        (end,) = ends(one.messages)
        assert one.messages[-1] is end
        assert one.first_step == 1
        notes = [message.text for message in one.messages if isinstance(message, Noted)]
        assert (
            sum(text.startswith("Out of memory with ") for text in notes) == {5: 0, 3: 1, 2: 2, 1: 2}[end.result.bank]
        )
    machine.sizes.clear()
    assert len(list(results_of(job_of(3), machine.train, fitting))) == 3
    assert machine.sizes == [2, 1]  # what did not fit is not tried again
