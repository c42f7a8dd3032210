"""The common style of all figures: transparent, with text in the color of the page; and how figures leave the lab."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from core.results.intervals import Interval
from core.results.measures import Quantity, bounded

GRID = "rgba(128, 128, 128, 0.25)"
"""Colour of grid lines, visible on light and dark backgrounds."""

MAX_LINE = 57
"""Maximum number of characters in a line of a subtitle: what fits a figure on a phone, which cuts the rest off."""

LINE_HEIGHT = 36
"""Room for one more line of a subtitle, in pixels; half of it is above the title, centered in the margin."""


UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
"""Letters after large numbers."""


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


def subtitle_lines(subtitle: str) -> list[str]:
    """Break a subtitle after semicolons into lines of :data:`MAX_LINE` characters, or of one clause if it is longer."""
    lines: list[str] = []
    for clause in subtitle.split("; "):
        if lines and len(lines[-1]) + len(clause) + 2 <= MAX_LINE:
            lines[-1] += f"; {clause}"
        else:
            lines.append(clause)
    return [f"{line};" for line in lines[:-1]] + lines[-1:]


def scatter(mode: str, name: str | None, x: Any, y: Any, hover: str | None, **more: Any) -> dict[str, Any]:
    """Return a trace of points or lines; ``hover`` is its hover text, None for none, ``more`` its other attributes."""
    shown = {"hoverinfo": "skip"} if hover is None else {"hovertemplate": f"{hover}<extra></extra>"}
    return {"type": "scatter", "mode": mode, "name": name, "x": x, "y": y, **shown, **more}


def markers(name: str | None, x: Any, y: Any, **more: Any) -> dict[str, Any]:
    """Return a trace of points without an entry in the legend; ``more`` are its other attributes."""
    points = {"x": np.asarray(x), "y": np.asarray(y)}
    return {"type": "scatter", "mode": "markers", "name": name, "showlegend": False, **points, **more}


def whiskers(intervals: Sequence[Interval], measure: Quantity) -> dict[str, Any]:
    """Return error bars from each mean to the ends of its interval, within what the measure can be."""
    ends = [bounded(interval, measure) for interval in intervals]
    return {
        "symmetric": False,
        "array": np.nan_to_num(np.array([end.high - end.mean for end in ends])),
        "arrayminus": np.nan_to_num(np.array([end.mean - end.low for end in ends])),
    }


def log_axis(values: Sequence[float]) -> dict[str, Any]:
    """Return a logarithmic axis for values from 1, with ticks at powers of ten, and at 2 and 5 times them for few.

    Plotly's own ticks between powers cannot be styled like the others.
    """
    if not values:
        return {"type": "log"}
    low, high = math.log10(min(values)), math.log10(max(values))
    steps = (1, 2, 5) if high - low <= 2 else (1,)
    ticks = [step * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for step in steps]
    return {"type": "log", "tickvals": ticks, "ticktext": [_short(tick) for tick in ticks]}


def _short(value: float) -> str:
    """A number as in ``20k``."""
    size, unit = next((size, unit) for size, unit in UNITS if value >= size)
    return f"{value / size:g}{unit}"


def plain(value: Any) -> Any:
    """Convert arrays to lists and non-finite numbers to None, for JSON.

    Arrays are rounded to five significant digits, which is finer than a pixel and keeps messages small.
    """
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, np.ndarray):
        return [plain(float(f"{each:.5g}")) if isinstance(each, float) else each for each in value.tolist()]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def chart_config(name: str) -> dict[str, Any]:
    """Return Plotly's options for a chart whose toolbar saves it as ``name.png``.

    The toolbar has few buttons, so that on a phone it does not cover the title: a chart is zoomed by dragging.
    """
    return {
        "displaylogo": False,
        "modeBarButtonsToRemove": ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "autoScale2d"],
        "toImageButtonOptions": {"filename": name, "scale": 2},
    }


SAVE = """
const kind = new URLSearchParams(location.search).get("as");
if (["png", "svg"].includes(kind)) Plotly.downloadImage("{plot_id}", {format: kind, filename: NAME, scale: 2});
"""
"""Has a browser save the figure as an image where the address asks for that, as in ``chart.html?as=svg``."""


def export_html(figure: go.Figure, name: str) -> bytes:
    """Return a self-contained HTML page with the figure; it includes plotly.js and works offline.

    Args:
        figure: what to draw.
        name: of the file, without its ending; the page's own toolbar saves ``name.png``.
    """
    page = go.Figure(figure)
    page.update_layout(template="plotly_white", paper_bgcolor="white", plot_bgcolor="white")
    config = chart_config(name) | {"responsive": True}
    script = SAVE.replace("NAME", json.dumps(name))
    html: str = page.to_html(full_html=True, include_plotlyjs=True, config=config, div_id="figure", post_script=script)
    return html.encode()


SCALE = "Viridis"
"""Colour scale of heat maps: perceptually uniform, also for people with colour vision deficiency."""
