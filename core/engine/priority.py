"""Who goes first when threads that train and people who look at them want one core."""

from __future__ import annotations

import os
import sys
import threading

BACK = 1
"""Nice value of a thread that trains. Pages go before it, and it keeps near its share of a core that programs of usual
rank want too: at 10 it had a tenth, and beside somebody's compiler a run stood all but still. benchmarks/README.md has
the figures."""


def step_back() -> None:
    """Let threads of usual rank on this machine go before this one, and those that it will start.

    What nobody else wants is still its own, so training alone is as fast. Only Linux ranks single threads;
    elsewhere nothing changes.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACK)
