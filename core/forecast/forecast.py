"""Forecasts of time and memory, as ranges, and the line of a run's log that keeps its forecast beside what it took."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

MAX_WIDTH = 2.7
"""Maximum ratio of a range's ends. Below 3, so that it is at most 3 after both ends are rounded for a page."""

Basis = Literal["measured", "calibrated", "rough", "unknown"]
"""What a range follows from: runs that this machine has trained; a calibration; either of them where it does not quite
fit, or was made on a busy machine; nothing yet."""

ORDER: tuple[Basis, ...] = ("measured", "calibrated", "rough", "unknown")

WIDTHS: dict[Basis, float] = {"measured": 1.6, "calibrated": 2.0, "rough": MAX_WIDTH}
"""Least ratio of a range's ends, by basis."""

_LINE = re.compile(r"Forecast: (?:(\d+\.?\d*) to (\d+\.?\d*) s of training, )?(\d+\.\d) MB of memory \((\w+)\)\.")


@dataclass(frozen=True)
class Forecast:
    """Expected time and memory of one run, or of several."""

    seconds_low: float | None
    """Lower end of the expected seconds; None if nothing is known of them yet."""
    seconds_high: float | None
    """Upper end; None while the lower end is only a bound, since not all of the time is known yet."""
    memory: int
    """Expected peak memory in bytes; see :func:`core.forecast.packing.memory_of`."""
    basis: Basis

    @classmethod
    def around(cls, seconds: float, memory: int, basis: Basis, spread: float = 1.0) -> Forecast:
        """A range around a number of seconds, as wide as its basis or ``spread``, the ratio of its ends, asks for."""
        half = math.sqrt(min(MAX_WIDTH, max(WIDTHS[basis], spread)))
        return cls(seconds / half, seconds * half, memory, basis)

    @property
    def seconds(self) -> float | None:
        """Middle of the range: the geometric mean of its ends, as errors are factors."""
        if self.seconds_low is None or self.seconds_high is None:
            return None
        return math.sqrt(self.seconds_low * self.seconds_high)

    def scaled(self, factor: float) -> Forecast:
        """The time that a part of the work takes, or all of it where several machines share it."""
        low, high = (end and end * factor for end in (self.seconds_low, self.seconds_high))
        return replace(self, seconds_low=low, seconds_high=high)

    def to_line(self) -> str:
        """A line for the log of a run, which :meth:`from_line` reads."""
        time = ""
        if self.seconds_low is not None and self.seconds_high is not None:
            time = f"{_plain(self.seconds_low)} to {_plain(self.seconds_high)} s of training, "
        return f"Forecast: {time}{self.memory / 1e6:.1f} MB of memory ({self.basis})."

    @classmethod
    def from_line(cls, text: str) -> Forecast | None:
        """The forecast in a line of a log; None if it is another line."""
        found = _LINE.fullmatch(text)
        bases: dict[str, Basis] = {basis: basis for basis in ORDER}
        if found is None or found[4] not in bases:
            return None
        low, high = (float(found[1]), float(found[2])) if found[1] else (None, None)
        return cls(low, high, round(float(found[3]) * 1e6), bases[found[4]])


def weaker(*bases: Basis) -> Basis:
    """The weakest of several bases; of none the strongest there is."""
    return max(bases, key=ORDER.index, default=ORDER[0])


def total(parts: Iterable[Forecast]) -> Forecast:
    """Forecast of parts that follow one another: times add up, the largest memory counts, and the weakest basis.

    Where the time of a part is not known, the sum of the others is a lower bound.
    """
    known = list(parts)
    lows, highs = [part.seconds_low for part in known], [part.seconds_high for part in known]
    basis = weaker(*(part.basis for part in known))
    low = sum(filter(None, lows)) if any(lows) or None not in lows else None
    high = None if None in highs else sum(filter(None, highs))
    return Forecast(low, high, max((part.memory for part in known), default=0), basis)


def _plain(seconds: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{seconds:.{max(0, 2 - math.floor(math.log10(seconds)))}f}" if seconds > 0 else "0"
