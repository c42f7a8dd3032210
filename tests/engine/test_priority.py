"""Training threads have a lower priority than pages, keep a share of a busy core, and other threads are unchanged."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from core import priority
from core.lab import Lab
from core.priority import NICE, SWITCH, lower_priority
from core.run_spec import RunSpec
from core.training.threads import available_cores
from tests.conftest import DIGITS, short, wait_until


@pytest.fixture(autouse=True)
def turns(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Threads take turns as often as in the dashboard, which other tests leave out."""
    before = sys.getswitchinterval()
    monkeypatch.setattr(priority, "SWITCH", SWITCH)
    yield
    sys.setswitchinterval(before)


def nice(thread: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, thread)


def test_a_thread_that_trains_steps_back_and_the_caller_stays(lab: Lab) -> None:
    expected = max(NICE, nice(0)) if sys.platform == "linux" else nice(0)
    (trainer,) = (thread for thread in threading.enumerate() if thread.name == "trainer-0")
    wait_until(lambda: nice(trainer.native_id or 0) == expected)
    assert nice(threading.get_native_id()) == nice(os.getppid())
    assert sys.getswitchinterval() == pytest.approx(SWITCH)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_a_thread_that_is_nice_already_stays_so() -> None:
    """As under `nice -n 10`: only root may raise a priority, so that a worker would die of it again and again."""

    def lowered() -> int:
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, NICE + 9)
        lower_priority()
        return nice(thread)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lowered).result() == NICE + 9


def test_training_gets_a_share_of_cores_that_others_want(lab: Lab) -> None:
    long = RunSpec.of(method="pretrain", task=DIGITS, optim=short(epochs=200, batch_size=8))
    first, *_ = [lab.launcher.launch(long.but(seed=seed)) for seed in range(8)]
    wait_until(lambda: lab.store.run(first.id).step > 0)
    # Twice as many as there are cores, so that no core is left over.
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * available_cores())]
    begun, theirs = training_seconds(), 0.0
    try:
        wait_until(lambda: training_seconds() - begun > 1)
    finally:
        ours = training_seconds() - begun
        for loop in loops:
            loop.kill()
            used = os.wait4(loop.pid, 0)[2]
            theirs += used.ru_utime + used.ru_stime
            loop.returncode = 0
    assert ours > theirs / len(loops) / 4


def training_seconds() -> float:
    """Seconds that this process has had of the cores for all threads but the one that asks.

    A bank trains on threads that come and go: what its first thread had alone says little.
    """
    return time.process_time() - time.thread_time()
