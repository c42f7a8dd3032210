"""Signals that ask a command to end, raised where it stands so that it closes what it has opened."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Ctrl-C, a request to end, and a terminal that was closed."""


class Signalled(BaseException):
    """Somebody asked the process to end."""

    def __init__(self, number: int) -> None:
        """Args: number: of the signal."""
        self.number = number
        super().__init__(signal.Signals(number).name)

    @property
    def status(self) -> int:
        """What a shell expects of a process that a signal has ended."""
        return 128 + self.number


@contextmanager
def raised() -> Iterator[None]:
    """Meanwhile, raise :class:`Signalled` in the main thread; a second signal ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: FrameType | None) -> None:
        for each in ENDING:
            signal.signal(each, signal.SIG_DFL)
        raise Signalled(number)

    # What is ignored stays so, as SIGHUP under nohup.
    before = {number: signal.getsignal(number) for number in ENDING if signal.getsignal(number) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
