"""How far a command is, on stderr: a bar in a terminal, and a line per minute in a pipe or a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self

from tqdm import tqdm

from core.numbers import counted, seconds_text

LINE_SECONDS = 60.0
"""Time between two lines: a file keeps every one of them, and a bar is drawn up to ten times a second."""

Unit = Literal["run", "step", "%"]

FORMATS: dict[Unit, str | None] = {
    "run": "{desc} {bar} {n:.1f}/{total_fmt} {elapsed}",
    "step": None,
    "%": "{desc} {bar} {percentage:.0f} % {elapsed}",
}
"""How tqdm draws the bar of each unit; None for its own way, with steps per second."""


class ProgressBar:
    """Shows how much is done; a context, which shows at its end where it stands.

    Lines are written when there is something to show: the first at once, then one per interval, and a last one.
    """

    def __init__(
        self,
        title: str,
        unit: Unit,
        total: float = 0.0,
        interval: float = LINE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with nothing done.

        Args:
            title: what is worked on.
            unit: of what is counted.
            total: number of units; of percent 100.
            interval: seconds between two lines.
            clock: tells the time in seconds.
        """
        self.title, self.total, self.done = title, total, 0.0
        self._unit, self._interval, self._clock = unit, interval, clock
        self._start, self._next, self._last = clock(), -float("inf"), ""
        self._bar: Any = None
        if sys.stderr.isatty():
            self._bar = tqdm(total=total, file=sys.stderr, desc=title, unit=unit, bar_format=FORMATS[unit])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._last:
            self._write()

    def show(self, done: float, title: str | None = None, total: float | None = None) -> None:
        """Show how much is done.

        Args:
            done: number of units.
            title: what is worked on now; None for what it was.
            total: number of units; None for what it was.
        """
        self.done = done
        self.title = self.title if title is None else title
        self.total = self.total if total is None else total
        if self._bar is not None:
            self._draw()
        elif self._clock() >= self._next:
            self._next = self._clock() + self._interval
            self._write()

    def share(self, done: float) -> None:
        """Show what share is done, from 0 to 1, of what is counted in percent."""
        self.show(100 * done)

    def _draw(self) -> None:
        changed = (self._bar.total, self._bar.desc) != (self.total, self.title)
        self._bar.total = self.total
        self._bar.set_description_str(self.title, refresh=False)
        self._bar.update(self.done - self._bar.n)
        if changed:
            self._bar.refresh()

    def _write(self) -> None:
        """Write a line, unless it says what the last one said."""
        of = (
            f"{self.done:.0f} %"
            if self._unit == "%"
            else f"{int(self.done):,} of {counted(int(self.total), self._unit)}"
        )
        if self._last != (said := f"{of}: {self.title}"):
            self._last = said
            print(f"{of}, {seconds_text(self._clock() - self._start)}: {self.title}", file=sys.stderr, flush=True)
