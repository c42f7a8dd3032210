"""The priority of threads that train, below that of threads that answer pages."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

NICE = 1
"""Nice value of a thread that trains. Pages run before it, and it still gets nearly an equal share of a core beside
programs at the default priority; at 10 it got a tenth, and beside a compiler a run almost stood still. See
benchmarks/README.md for the figures."""

SWITCH = 0.0001
"""Seconds after which a thread gives Python's lock to one that waits for it. A step of a transformer asks for it a
thousand times, and at the usual 0.005 each waits for the redraw of a page."""


def lower_priority() -> None:
    """Lower the priority of this thread, and of the threads that it will start, on Linux.

    On an idle machine training is as fast as before. A thread whose priority is lower already, as under ``nice -n 10``,
    keeps it. Other systems set priorities per process only, so nothing changes there. On all of them threads of this
    process take turns more often; see :data:`SWITCH`.
    """
    sys.setswitchinterval(SWITCH)
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # as in a sandbox: it trains all the same
            os.setpriority(os.PRIO_PROCESS, thread, max(NICE, os.getpriority(os.PRIO_PROCESS, thread)))
