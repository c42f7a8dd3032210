"""Termination signals, raised as exceptions so that a command can clean up before it ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Ctrl-C, a request to terminate, and a closed terminal."""


SIGNALLED = 128
"""What shells add to the number of a signal in the exit status of a process that it ended."""


class Signalled(BaseException):
    """The process received a signal to end."""

    def __init__(self, number: int) -> None:
        """Args: number: number of the signal."""
        self.number = number
        super().__init__(signal.Signals(number).name)

    @property
    def status(self) -> int:
        """Exit status that shells expect from a process ended by this signal."""
        return SIGNALLED + self.number


@contextmanager
def raised() -> Iterator[None]:
    """Raise :class:`Signalled` in the main thread on a signal; a second signal ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: FrameType | None) -> None:
        for each in ENDING:
            signal.signal(each, signal.SIG_DFL)
        raise Signalled(number)

    # Ignored signals stay ignored, for example SIGHUP under nohup.
    before = {number: signal.getsignal(number) for number in ENDING if signal.getsignal(number) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
