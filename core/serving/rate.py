"""Requests and rows that were answered per second, over the latest minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WINDOW = 60.0
"""Seconds that rates are computed over."""


@dataclass(frozen=True)
class Answered:
    """A request that was answered."""

    at: float
    """When, on a clock that never goes back."""
    rows: int
    seconds: float
    """From its arrival to its answer."""


@dataclass(frozen=True)
class Rate:
    """How much was answered per second."""

    requests: float
    rows: float


def rate_of(latest: Sequence[Answered], since: float, now: float) -> Rate:
    """The rate over the latest minute, or since the time from which on all requests are known.

    Args:
        latest: requests that were answered.
        since: all requests that were answered after this time are among them.
        now: the end of the minute.
    """
    start = max(since, now - WINDOW)
    if now <= start:
        return Rate(0.0, 0.0)
    counted = [each.rows for each in latest if start < each.at <= now]
    return Rate(len(counted) / (now - start), sum(counted) / (now - start))
