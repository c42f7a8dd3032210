"""Who goes first when threads that train and people who look at them want one core."""

from __future__ import annotations

import os
import sys
import threading

BACK = 10
"""Nice value of a thread that trains. A page's answer passes ten times between threads and processes; behind
trainers of equal rank each of them waits for a slice of theirs to end."""


def step_back() -> None:
    """Let every thread of usual rank on this machine go before this one, and those that it will start.

    What nobody else wants is still its own, so training alone is as fast. Only Linux ranks single threads;
    elsewhere nothing changes.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACK)
