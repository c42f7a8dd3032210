"""Forecasts of time and memory, as ranges: what follows from a network and a method alone, and the line of a run's log
that keeps its forecast beside what it took.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from core.engine.jobs.job import untrained
from core.methods.linear import count_parameters
from core.methods.method import MethodSpec
from core.methods.roles import ALL, Layers
from core.methods.targets import find_targets
from core.networks.network import NetworkSpec
from core.training.frozen import frozen_blocks


@dataclass(frozen=True)
class Plan:
    """Sizes of a run."""

    parameters: int
    """Number of parameters of the whole network, including adapters."""
    trainable_parameters: int


@lru_cache(maxsize=256)
def plan(network: NetworkSpec, method: MethodSpec) -> Plan:
    """Sizes of a run on this network, counted on the ``meta`` device.

    Raises:
        LoRAError: the adapters do not fit the network.
    """
    built = untrained(network, method)
    return Plan(count_parameters(built), count_parameters(built, trainable=True))


def frozen_sentence(network: NetworkSpec, method: MethodSpec) -> str | None:
    """What is computed only once per text, since nothing below it is trained; None if there is no such part.

    Raises:
        LoRAError: the adapters do not fit the network.
    """
    return frozen_blocks(network, method.shape()).sentence()


@lru_cache(maxsize=256)
def target_layers(network: NetworkSpec) -> Layers:
    """The layers that adapters are put on where all are asked for.

    Raises:
        LoRAError: the network has no linear layer.
    """
    return Layers(tuple(find_targets(network.build(), [ALL])))


def chosen_for(network: NetworkSpec, targets: Sequence[str]) -> tuple[list[str], list[int]]:
    """What a form shows for target modules of a network: names of choices, and numbers of blocks.

    Raises:
        LoRAError: a target names no layer.
    """
    return target_layers(network).chosen(tuple(targets), find_targets(network.build(), targets))


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
