"""Training threads have a lower priority than pages, keep a share of a busy core, and other threads are unchanged."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

from core.engine.priority import NICE
from core.lab import Lab
from core.spec import RunSpec
from core.training.threads import available_cores
from tests.conftest import DIGITS, short, wait_until


def nice(thread: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, thread)


def test_a_thread_that_trains_steps_back_and_the_caller_stays(lab: Lab) -> None:
    expected = NICE if sys.platform == "linux" else nice(0)
    (trainer,) = (thread for thread in threading.enumerate() if thread.name == "trainer-0")
    wait_until(lambda: nice(trainer.native_id or 0) == expected)
    assert nice(threading.get_native_id()) == nice(os.getppid())


def test_training_gets_a_share_of_cores_that_others_want(lab: Lab) -> None:
    if sys.platform != "linux":  # priorities of threads exist on Linux only
        return
    # Twice as many as there are cores, so that no core is idle.
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * available_cores())]
    try:
        long = RunSpec.of(method="pretrain", task=DIGITS, optim=short(epochs=200, batch_size=8))
        first, *_ = [lab.launch(long.but(seed=seed)) for seed in range(8)]
        (trainer,) = (thread for thread in threading.enumerate() if thread.name == "trainer-0")
        clock = time.pthread_getcpuclockid(trainer.ident or 0)
        wait_until(lambda: lab.run(first.id).step > 0)
        begun, before = time.clock_gettime(clock), [cpu_seconds(loop.pid) for loop in loops]
        wait_until(lambda: time.clock_gettime(clock) - begun > 2)
        theirs = sum(cpu_seconds(loop.pid) for loop in loops) - sum(before)
        assert time.clock_gettime(clock) - begun > theirs / len(loops) / 4
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def cpu_seconds(pid: int) -> float:
    """CPU seconds that a process has used."""
    return time.clock_gettime(~pid << 3 | 2)  # CPU clock of another process, see clock_getcpuclockid(3)
