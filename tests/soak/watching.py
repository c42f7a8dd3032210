"""How long a dashboard lets others wait, and how much memory it and its reader have."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

import psutil

from tests.soak.spoken import Speaker
from tests.web.conftest import Visitor

PAGES = ("experiments", "library", "", "experiments", "new")
"""Pages that show a run in training, some of which tick."""

STAY = 5.0
"""Seconds on each: longer than the 2 seconds after which the page of runs draws a part of it again."""

GETS = ("/experiments", "/healthz")
GET_SECONDS = 0.2
"""Seconds between two requests."""

SAMPLE_SECONDS = 0.1


class Waits:
    """Somebody who goes from page to page, and a program that asks for pages; their waits in seconds."""

    def __init__(self, port: int) -> None:
        """Args: port: of the dashboard on this machine."""
        self._port = port
        self._speaker = Speaker(port, PAGES, STAY, 0)
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self.gets: list[float] = []
        self.complaints: list[str] = []

    def __enter__(self) -> Waits:
        self._speaker.start()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._leave.set()
        self._speaker.leave()
        self._thread.join()
        self.complaints += self._speaker.complaints

    @property
    def pages(self) -> list[float]:
        """Until a page was drawn."""
        return self._speaker.waits

    @property
    def ticks(self) -> list[float]:
        """Until a part of a page that draws itself again was drawn."""
        return [milliseconds / 1000 for milliseconds in self._speaker.ticks]

    def _ask(self) -> None:
        while not self._leave.is_set():
            for path in GETS:
                start = time.monotonic()
                try:
                    status = Visitor(self._port).status(path)
                    if status != 200:
                        self.complaints.append(f"{path}: {status}")
                except OSError as error:
                    self.complaints.append(f"{path}: {error!r}")
                self.gets.append(time.monotonic() - start)
            self._leave.wait(GET_SECONDS)


class Memory:
    """Samples of the memory of a process and of those that it has started, in bytes."""

    def __init__(self, pid: int, held: Callable[[], int]) -> None:
        """Args: pid: of the process; held: how many bytes it is expected to hold now, which are not counted."""
        self._process, self._held = psutil.Process(pid), held
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.own: list[int] = []
        """Of the process, without what it is expected to hold."""
        self.children = 0
        """The most that one of the others had."""

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._leave.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._leave.wait(SAMPLE_SECONDS):
            held = self._held()
            try:
                self.own.append(self._process.memory_info().rss - max(held, self._held()))
                for child in self._process.children(recursive=True):
                    self.children = max(self.children, _memory_of(child))
            except psutil.NoSuchProcess:
                return


def _memory_of(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def longest(waits: Sequence[float]) -> float:
    """The longest of some waits. Raises: AssertionError: there are none."""
    assert waits, "nobody has waited"
    return max(waits)
