"""Derive the limits on connections from the number of file descriptors, keeping some for training and the store."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

if sys.platform != "win32":
    import resource

KEPT_BACK = 48
"""Descriptors that connections never use, for checkpoints, results, the store and datasets."""

BURSTS = range(8, 65)
"""Range of the number of connections to accept at once. Few if there are few descriptors, since four times as many can
be open beyond a limit for a moment, until others have been closed."""

MAX_IN_ALL = 1024
"""Maximum number of connections in total."""

MAX_PER_PEER = 256
"""Maximum number of connections per peer; twenty tabs with a websocket and six more connections each need 140."""

ENOUGH = 8192
"""Descriptors that are always enough; some systems allow millions, which would be too many."""

UNKNOWN_USE = 64
"""Assumed number of open descriptors if the system does not report it."""

UNKNOWN_LIMIT = 512
"""Assumed limit if the system does not report it: that of select() on Windows."""


@dataclass(frozen=True)
class Room:
    """Limits on the number of connections."""

    in_all: int
    per_peer: int
    burst: int = BURSTS[0]
    """Number of connections to accept at once."""

    @classmethod
    def of(cls, descriptors: int, in_use: int) -> Room:
        """Derive the limits from the number of descriptors.

        Five sixths of the free ones are for connections, and the last sixth for the files that these request.

        Args:
            descriptors: maximum number of descriptors of the process.
            in_use: number of those used for other purposes.
        """
        burst = max(BURSTS[0], min(BURSTS[-1], descriptors // 32))
        in_all = max(22, min(MAX_IN_ALL, (descriptors - in_use - KEPT_BACK - 4 * burst) * 5 // 6))
        return cls(in_all, min(MAX_PER_PEER, in_all * 3 // 4), burst)


class Descriptors:
    """The descriptors of this process, with the limit raised as far as allowed."""

    def __init__(self) -> None:
        """Raise the limit."""
        self.limit = _raised_limit()

    def room(self, connections: int) -> Room:
        """The current limits, which depend on what else is open, such as three descriptors per open page.

        Args:
            connections: number of open connections.
        """
        return Room.of(self.limit, _in_use() - connections)


def _raised_limit() -> int:
    """The soft limit of descriptors, raised as far as needed and allowed."""
    if sys.platform == "win32":
        return UNKNOWN_LIMIT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= ENOUGH:
        return ENOUGH
    wish = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wish, hard))
    except (OSError, ValueError):  # macOS has another limit, which getrlimit does not report
        return soft
    return wish


def _in_use() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        if Path(folder).is_dir():
            return len(os.listdir(folder))
    return UNKNOWN_USE
