"""The common style of all figures, with transparent background and text in the colour of the page, and their traces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.results.intervals import Interval
from core.results.measures import Quantity, bounded

GRID = "rgba(128, 128, 128, 0.25)"
"""Colour of grid lines, visible on light and dark backgrounds."""

MAX_LINE = 57
"""Maximum number of characters in a line of a subtitle: what fits a figure on a phone, which cuts the rest off."""

LINE_HEIGHT = 36
"""Room for one more line of a subtitle, in pixels; half of it is above the title, centered in the margin."""


def layout_of(title: str, subtitle: str | None, x: str, y: str | None, height: int = 400) -> dict[str, Any]:
    """Return the layout of a figure with one pair of axes.

    Args:
        title: what the figure shows.
        subtitle: how to read it, in clauses separated by semicolons, or None; long ones are wrapped there.
        x: title of the horizontal axis, with its unit.
        y: title of the vertical axis, with its unit.
        height: in pixels, without further lines of the subtitle; the width follows the page.
    """
    lines = subtitle_lines(subtitle or "")
    reading = {"text": "<br>".join(lines) or None}
    more = LINE_HEIGHT * (len(lines) - 1)
    axis = {"gridcolor": GRID, "linecolor": GRID, "zeroline": False, "automargin": True}
    return {
        "title": {"text": title, "subtitle": reading, "x": 0, "xanchor": "left", "xref": "container"},
        "height": height + more,
        "margin": {"l": 8, "r": 16, "t": (64 if subtitle else 40) + more, "b": 8},
        # Plotly hides a last label that leans to the right and out of the figure.
        "xaxis": axis | {"title": {"text": x}, "autotickangles": [0, -30, -90]},
        "yaxis": axis | {"title": {"text": y}},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 0, "yanchor": "bottom", "yref": "container"},
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "hovermode": "closest",
        "uirevision": "constant",
    }


def scatter(mode: str, name: str | None, x: Any, y: Any, hover: str | None, **more: Any) -> dict[str, Any]:
    """Return a trace of points or lines; ``hover`` is its hover text, None for none, ``more`` its other attributes."""
    shown = {"hoverinfo": "skip"} if hover is None else {"hovertemplate": f"{hover}<extra></extra>"}
    return {"type": "scatter", "mode": mode, "name": name, "x": x, "y": y, **shown, **more}


def markers(name: str | None, x: Any, y: Any, **more: Any) -> dict[str, Any]:
    """Return a trace of points without an entry in the legend; ``more`` are its other attributes."""
    points = {"x": np.asarray(x), "y": np.asarray(y)}
    return {"type": "scatter", "mode": "markers", "name": name, "showlegend": False, **points, **more}


def subtitle_lines(subtitle: str) -> list[str]:
    """Break a subtitle after semicolons into lines of :data:`MAX_LINE` characters, or of one clause if it is longer."""
    lines: list[str] = []
    for clause in subtitle.split("; "):
        if lines and len(lines[-1]) + len(clause) + 2 <= MAX_LINE:
            lines[-1] += f"; {clause}"
        else:
            lines.append(clause)
    return [f"{line};" for line in lines[:-1]] + lines[-1:]


def whiskers(intervals: Sequence[Interval], measure: Quantity) -> dict[str, Any]:
    """Return error bars from each mean to the ends of its interval, within what the measure can be."""
    ends = [bounded(interval, measure) for interval in intervals]
    return {
        "symmetric": False,
        "array": np.nan_to_num(np.array([end.high - end.mean for end in ends])),
        "arrayminus": np.nan_to_num(np.array([end.mean - end.low for end in ends])),
    }


def within(limits: tuple[float, float]) -> dict[str, Any]:
    """Return what keeps an axis within the lowest and the highest value that there can be, as accuracies to 100."""
    ends = zip(("clipmin", "clipmax"), limits, strict=True)
    return {"autorangeoptions": {name: end for name, end in ends if math.isfinite(end)}}


def log_ticks(low: float, high: float) -> dict[str, Any]:
    """Return ticks of a logarithmic axis at 1, 2 and 5 times powers of ten, or at powers of ten over two decades.

    Plotly's own ticks between powers cannot be styled like the others.

    Args:
        low: smallest value, above 0.
        high: largest value.
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high <= 100 * low else (1,)
    ticks = [step * 10.0**power for power in decades for step in steps]
    return {"type": "log", "tickvals": ticks, "ticktext": [_short(tick) for tick in ticks]}


def _short(tick: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if tick >= size:
            return f"{tick / size:g}{letter}"
    return f"{tick:g}"


def plain(value: Any) -> Any:
    """Convert arrays to lists and non-finite numbers to None, for JSON.

    Arrays are rounded to five significant digits, which is finer than a pixel and keeps messages small.
    """
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, np.ndarray):
        return _rounded(value) if np.issubdtype(value.dtype, np.floating) else value.tolist()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _rounded(values: NDArray[np.floating]) -> list[float | None]:
    finite = np.isfinite(values)
    known = values[finite].astype(np.float64)
    size = np.abs(known)
    # Within the range of float32, so that neither the unit nor its inverse can overflow.
    unit = 10.0 ** (4 - np.floor(np.log10(np.clip(size, 1e-45, 1e38))))
    rounded = np.full(len(values), None, dtype=object)
    rounded[finite] = np.round(known * unit) / unit
    listed: list[float | None] = rounded.tolist()
    return listed


SCALE = "Viridis"
"""Colour scale of heat maps: perceptually uniform, also for people with colour vision deficiency."""
