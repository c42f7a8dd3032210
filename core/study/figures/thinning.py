"""Long curves made short enough to draw, without hiding a spike, a gap or the last value."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MAX_POINTS = 1_500
"""Points that a drawn curve has at most: about one a pixel of a wide screen."""


def thin(y: NDArray[np.floating], most: int = MAX_POINTS) -> NDArray[np.intp]:
    """Which points of a curve to draw.

    Min–max thinning: the curve is cut into stretches of equal count, and each keeps its lowest
    and its highest finite value, as a person would see them (Jugel et al., "M4", VLDB 2014).
    The first and last point stay. Between two kept values that had a NaN or an infinity between
    them, one such point stays too, so that a line never crosses a gap.

    Args:
        y: (n,) values, in order.
        most: points to keep at most, at least 7.

    Returns:
        Indices into ``y``, ascending; all of them where n ≤ ``most``.
    """
    n = len(y)
    if n <= most:
        return np.arange(n)
    finite = np.isfinite(y)
    # With gaps, every kept value may need a gap kept beside it.
    stretches = (most - 2) // 2 if finite.all() else (most - 3) // 4
    width = -(-n // stretches)
    lowest = _lowest_of_each(np.where(finite, y, np.inf), width)
    highest = _lowest_of_each(np.where(finite, -y, np.inf), width)
    kept = np.unique(np.concatenate([[0], lowest, highest, [n - 1]]))
    gaps = np.flatnonzero(~finite)
    # Where a gap lies between two kept points, the first point of it comes along.
    following = np.searchsorted(gaps, kept[:-1], side="right")
    between = following[np.searchsorted(gaps, kept[1:], side="left") > following]
    return np.unique(np.concatenate([kept, gaps[between]]))


def _lowest_of_each(y: NDArray[np.floating], width: int) -> NDArray[np.intp]:
    """Index of the first smallest value of each stretch of ``width`` values; the last may be shorter."""
    rows = np.pad(y, (0, -len(y) % width), constant_values=np.inf).reshape(-1, width)
    lowest: NDArray[np.intp] = np.arange(len(rows)) * width + rows.argmin(axis=1)
    return lowest


def smooth(y: NDArray[np.floating], weight: float) -> NDArray[np.float64]:
    """Exponential moving average with bias correction: s_t = w s_(t−1) + (1 − w) y_t, shown as s_t / (1 − w^t).

    The correction keeps the start from leaning to zero (Kingma and Ba, "Adam", 2015, §3). A value
    that is not finite stays as it is, and the average starts anew after it.

    Args:
        y: (n,) values, in order.
        weight: of the past, from 0 (the curve itself) to below 1.

    Returns:
        (n,) the average at every point.
    """
    averaged = y.astype(np.float64)
    finite = np.isfinite(averaged)
    cuts = np.flatnonzero(np.diff(finite, prepend=False, append=False))
    for start, end in zip(cuts[::2], cuts[1::2], strict=True):
        # pandas divides by the sum of the weights that it used, which is the correction.
        averaged[start:end] = pd.Series(averaged[start:end]).ewm(alpha=1 - weight, adjust=True).mean()
    return averaged
