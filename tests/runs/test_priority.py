"""Threads that train let everybody else go first, and nobody else is moved."""

from __future__ import annotations

import os
import sys
import threading

from core.engine.priority import BACK
from core.lab import Lab
from tests.conftest import wait_until


def nice(thread: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, thread)


def test_a_thread_that_trains_steps_back_and_the_caller_stays(lab: Lab) -> None:
    expected = BACK if sys.platform == "linux" else nice(0)
    (trainer,) = (thread for thread in threading.enumerate() if thread.name == "trainer-0")
    wait_until(lambda: nice(trainer.native_id or 0) == expected)
    assert nice(threading.get_native_id()) == nice(os.getppid())
