"""Processes killed at random moments of a plan: what it trains and what it chooses is as if nothing had happened."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from core.lab import Lab
from core.settings import Settings
from core.store.record import Experiment, is_under_way
from tests.conftest import wait_until
from tests.launching import compare
from tests.searched_home import asked, chosen, trained
from tests.soak.sizes import keep
from tests.soak.test_kills import Processes, attempts, check_curve, check_files, check_store

KILLS = 60

LATEST = 2.5
"""Maximum seconds from the start of a process to its kill: within a stage, between two, or during the start."""


@pytest.mark.minutes
@pytest.mark.timeout(1800)
def test_a_plan_outlives_processes_that_are_killed_at_random_moments(
    undisturbed: tuple[Lab, Experiment], tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    print(f"kills at moments of seed {seed}")
    chance, begun = random.Random(seed), time.monotonic()
    expected = undisturbed[0].store.members(undisturbed[1])
    settings = Settings(home=tmp_path / "home", threads=1, checkpoint_seconds=0.1, settle_seconds=0.2)
    processes, reader, kills, plans, longest = Processes(settings), Lab(settings), 0, 0, Counter[int]()
    while kills < KILLS:
        experiment = compare(reader, asked(reader).but(seeds=range(plans, plans + 4)))
        plans += 1
        while any(
            run.is_live or run.is_unfinished or run.plan != "complete" for run in reader.store.members(experiment)
        ):
            process = processes.start()
            if kills < KILLS:
                time.sleep(chance.uniform(0, LATEST))
                kills += 1
            else:  # a machine that starts processes as slowly as they are killed would never get to the end
                wait_until(lambda: not is_under_way(reader.store.members(experiment)))  # noqa: B023
            process.kill()
            process.join()
            check_store(settings)
            check_files(reader, settings)
        runs = reader.store.members(experiment)
        assert {run.plan for run in runs} == {"complete"}
        assert set(trained(runs).values()) == {1}, "nothing is trained twice"
        for run in runs:
            assert run.state == "finished" or run.has_diverged, (run.id, run.cause)
            check_curve(reader, run)
        longest.update(attempts(reader, run.id) for run in runs)
        if plans == 1:
            assert trained(runs) == trained(expected)
            assert chosen(runs) == chosen(expected)
    keep("plans killed", kills=kills, plans=plans, most_attempts=max(longest), seconds=round(time.monotonic() - begun))
    reader.close()
