"""What a process that reads one file may use."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass, replace
from pathlib import Path

LEAST = 2**27
"""Bytes of memory for the smallest file."""

GROWTH = 2**11
"""Bytes of memory per byte of a file that may be packed: twice what gzip can unpack one to."""


@dataclass(frozen=True)
class Limits:
    """Limits on the process that reads one file; where the system cannot enforce one, it ends after ``wall``."""

    memory: int = 2**29
    """Bytes beyond those that it has once it has received the file."""
    cpu: int = 10
    """Seconds of CPU time."""
    wall: int = 60
    """Seconds until it is ended."""
    output: int = 2**28
    """Bytes that it may return."""
    growth: int = 0
    """Bytes of memory per byte of the arguments, beside ``LEAST``; 0 where the arguments do not hold the file."""

    def of_arguments(self, size: int) -> Limits:
        """The same for a file of which so little is given that it can need less. Args: size: bytes of the arguments."""
        return replace(self, memory=min(self.memory, LEAST + self.growth * size)) if self.growth else self

    def apply(self) -> None:
        """Put the limits on this process, which the system then ends when it exceeds one."""
        try:
            import resource
        except ImportError:  # Windows, where only the caller's patience ends a file
            return
        limits = {
            resource.RLIMIT_CPU: (self.cpu, self.cpu + 1),
            resource.RLIMIT_FSIZE: (0, 0),
            resource.RLIMIT_CORE: (0, 0),
            # Unlike the address space, data do not count what an allocator has only reserved.
            resource.RLIMIT_DATA: 2 * (_data_bytes() + self.memory,),
        }
        for limit, values in limits.items():
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(limit, values)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, self.wall)

    def sentence(self, what: str, exit_code: int) -> str:
        """Why a file could not be read.

        Args:
            what: subject of the sentence.
            exit_code: of the process; negative for the signal that ended it.
        """
        if -exit_code in (getattr(signal, name, None) for name in ("SIGXCPU", "SIGALRM", "SIGKILL")):
            return f"{what} takes more than {self.cpu} seconds to read: choose another one."
        return (
            f"{what} cannot be read: it is damaged, or takes more than {self.memory // 2**20} MiB of memory. Choose "
            "another one."
        )


def _data_bytes() -> int:
    """Bytes of this process that count as data, zero where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmData:")), 0)
