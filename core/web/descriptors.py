"""How many connections the descriptors of this process allow, with enough of them left for training and the store."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

if sys.platform != "win32":
    import resource

KEPT_BACK = 48
"""Descriptors that connections never take: checkpoints, results, the store, datasets."""

BURSTS = range(8, 65)
"""Connections that are taken from the system's queue at once: few where descriptors are few, since for a moment there
can be four times as many beyond a limit, until others have been closed for them."""

MAX_IN_ALL = 1024
MAX_PER_PEER = 256
"""Twenty tabs with a websocket each, and six more connections of each tab, are 140."""

ENOUGH = 8192
"""Descriptors that are always enough; more are not asked for, since some systems let a process have millions."""

UNKNOWN_USE = 64
UNKNOWN_LIMIT = 512
"""What is counted with where the system does not tell: as many as Windows' select() takes."""


@dataclass(frozen=True)
class Room:
    """How many connections there may be."""

    in_all: int
    per_peer: int
    burst: int = BURSTS[0]
    """How many to take from the system's queue at once."""

    @classmethod
    def of(cls, descriptors: int, in_use: int) -> Room:
        """What a number of descriptors allows.

        Five sixths of those that are free are for connections, and the last sixth for the files that they ask for.

        Args:
            descriptors: that the process may have.
            in_use: that it has for other things.
        """
        burst = max(BURSTS[0], min(BURSTS[-1], descriptors // 32))
        in_all = max(22, min(MAX_IN_ALL, (descriptors - in_use - KEPT_BACK - 4 * burst) * 5 // 6))
        return cls(in_all, min(MAX_PER_PEER, in_all * 3 // 4), burst)


class Descriptors:
    """Those of this process; its limit is raised as far as it may raise it itself."""

    def __init__(self) -> None:
        """Raise the limit."""
        self.limit = _raised_limit()

    def room(self, connections: int) -> Room:
        """How many connections there may be now.

        Args:
            connections: that there are; what else is open, as three descriptors for every page that somebody has open,
                leaves less room for them.
        """
        return Room.of(self.limit, _in_use() - connections)


def _raised_limit() -> int:
    """The soft limit of descriptors, raised to what is enough where the hard limit lets it."""
    if sys.platform == "win32":
        return UNKNOWN_LIMIT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= ENOUGH:
        return ENOUGH
    wish = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wish, hard))
    except (OSError, ValueError):  # macOS has a further limit that getrlimit does not tell
        return soft
    return wish


def _in_use() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        if Path(folder).is_dir():
            return len(os.listdir(folder))
    return UNKNOWN_USE
