"""The budget of memory: small files do not wait for a large one, the sum stays bounded, and who waits is told."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.data.uploads.text_file import read_text_table
from core.errors import DatasetError
from core.reader import GROWTH, WAITS, Limits, opening
from core.reader.opening import Budget
from core.reader.process import LEAST
from tests.bad_files.sentences import faults_of
from tests.conftest import HANG, wait_until
from tests.data.text_files import CSV
from tests.reader.openers import WIDE, allocate_little, anything, last

SLOW_SECONDS = 20.0
"""Seconds that a file takes in whose time a small one has to be read."""


def test_a_small_file_does_not_wait_for_a_large_one_that_takes_long(tmp_path: Path) -> None:
    end = tmp_path / "end"
    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(last, str(end))
        time.sleep(1.0)
        small = pool.submit(read_text_table, CSV)
        try:
            assert len(small.result(SLOW_SECONDS)) > 0
            assert not long.done()
        finally:
            end.touch()
        assert long.result(HANG) == str(end)


def test_what_is_taken_at_the_same_time_never_exceeds_the_budget() -> None:
    budget, lock = Budget(10), threading.Lock()
    taken, most = 0, 0

    def take(size: int) -> None:
        nonlocal taken, most
        with budget.taken(size, lambda is_waiting: None):
            with lock:
                taken += min(size, 10)
                most = max(most, taken)
            time.sleep(0.002)
            with lock:
                taken -= min(size, 10)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(take, [1, 2, 3, 5, 8, 10, 11] * 20, timeout=HANG))
    assert (taken, budget._left) == (0, 10)
    assert most > 5


def test_who_waits_is_told_until_there_is_room_and_then_that_it_goes_on() -> None:
    told: list[bool] = []

    def read() -> object:
        WAITS.set(told.append)
        return anything(7)

    with ThreadPoolExecutor(1) as pool:
        with opening._budget.taken(opening.MAX_TOGETHER, lambda is_waiting: None):
            found = pool.submit(read)
            wait_until(lambda: len(told) > 1, HANG)
            assert not found.done()
        assert found.result(HANG) == 7
        assert told == [True] * (len(told) - 1) + [False]
        told.clear()
        assert pool.submit(read).result(HANG) == 7
        assert told == []


def test_who_is_told_may_give_up_and_takes_nothing() -> None:
    budget = Budget(2)

    def give_up(is_waiting: bool) -> None:
        raise KeyboardInterrupt

    with budget.taken(2, give_up), pytest.raises(KeyboardInterrupt), budget.taken(1, give_up):
        pass
    assert budget._left == 2


def test_a_small_file_gets_little_memory_and_a_large_one_all() -> None:
    limits = Limits(memory=2**30, growth=GROWTH)
    assert [limits.of_arguments(size).memory for size in (0, 1000, 2**24)] == [LEAST, LEAST + 1000 * GROWTH, 2**30]
    assert WIDE.of_arguments(10**9) == WIDE
    with pytest.raises(DatasetError, match="takes more than 128 MiB of memory") as caught:
        allocate_little(2**28)
    assert faults_of(str(caught.value)) == []
    assert allocate_little(2**20) == 2**20
