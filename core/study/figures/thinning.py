"""Thinning and smoothing of long curves; thinning keeps spikes, gaps and the last value."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MAX_POINTS = 1_500
"""Maximum number of points of a drawn curve: about one per pixel of a wide screen."""


def thin(y: NDArray[np.floating], max_points: int = MAX_POINTS) -> NDArray[np.intp]:
    """Choose which points of a curve to draw.

    Min–max thinning: the curve is split into segments with equally many points, and each segment keeps its lowest and
    highest finite value, so that the drawn line looks the same (Jugel et al., "M4", VLDB 2014). The first and last
    point are kept. Where non-finite values lie between two kept points, one of them is kept too, so that no line
    crosses a gap.

    Args:
        y: (n,) values, in order.
        max_points: maximum number of points to keep, at least 7.

    Returns:
        Indices into ``y``, ascending; all of them if n ≤ ``max_points``.
    """
    n = len(y)
    if n <= max_points:
        return np.arange(n)
    finite = np.isfinite(y)
    # With gaps, each kept value may need another point for a gap.
    stretches = (max_points - 2) // 2 if finite.all() else (max_points - 3) // 4
    width = -(-n // stretches)
    lowest = _lowest_of_each(np.where(finite, y, np.inf), width)
    highest = _lowest_of_each(np.where(finite, -y, np.inf), width)
    kept = np.unique(np.concatenate([[0], lowest, highest, [n - 1]]))
    gaps = np.flatnonzero(~finite)
    # If a gap lies between two kept points, keep its first point.
    following = np.searchsorted(gaps, kept[:-1], side="right")
    between = following[np.searchsorted(gaps, kept[1:], side="left") > following]
    return np.unique(np.concatenate([kept, gaps[between]]))


def _lowest_of_each(y: NDArray[np.floating], width: int) -> NDArray[np.intp]:
    """Return the index of the first minimum of each segment of ``width`` values; the last may be shorter."""
    rows = np.pad(y, (0, -len(y) % width), constant_values=np.inf).reshape(-1, width)
    lowest: NDArray[np.intp] = np.arange(len(rows)) * width + rows.argmin(axis=1)
    return lowest


def smooth(y: NDArray[np.floating], weight: float) -> NDArray[np.float64]:
    """Compute the exponential moving average with bias correction: s_t = w s_(t−1) + (1 − w) y_t, then s_t / (1 − w^t).

    The correction removes the bias of the first values towards zero (Kingma and Ba, "Adam", 2015, §3). Non-finite
    values are left unchanged, and the average restarts after them.

    Args:
        y: (n,) values, in order.
        weight: w, from 0 (no smoothing) to below 1.

    Returns:
        (n,) averages.
    """
    averaged = y.astype(np.float64)
    finite = np.isfinite(averaged)
    cuts = np.flatnonzero(np.diff(finite, prepend=False, append=False))
    for start, end in zip(cuts[::2], cuts[1::2], strict=True):
        # With adjust=True, pandas divides by the sum of the weights, which is the bias correction.
        averaged[start:end] = pd.Series(averaged[start:end]).ewm(alpha=1 - weight, adjust=True).mean()
    return averaged
