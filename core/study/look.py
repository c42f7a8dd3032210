"""How every figure looks: calm, transparent, with text that takes its colour from the page around it."""

from __future__ import annotations

from typing import Any

import numpy as np

GRID = "rgba(128, 128, 128, 0.25)"
"""Lines of the grid, seen on white and on near-black."""


def layout_of(title: str, subtitle: str | None, x: str, y: str | None, height: int = 400) -> dict[str, Any]:
    """The layout of a figure with one pair of axes.

    Args:
        title: what is shown.
        subtitle: how to read it.
        x: title of the horizontal axis, with its unit.
        y: title of the vertical axis, with its unit.
        height: in pixels; the width is that of the page.
    """
    axis = {"gridcolor": GRID, "linecolor": GRID, "zeroline": False, "automargin": True}
    return {
        "title": {"text": title, "subtitle": {"text": subtitle}, "x": 0, "xanchor": "left", "xref": "container"},
        "height": height,
        "margin": {"l": 8, "r": 16, "t": 64 if subtitle else 40, "b": 8},
        "xaxis": axis | {"title": {"text": x}},
        "yaxis": axis | {"title": {"text": y}},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 0, "yanchor": "bottom", "yref": "container"},
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "hovermode": "closest",
        "uirevision": "constant",
    }


def plain(value: Any) -> Any:
    """The same in lists and numbers of JSON; floats to five digits, which is finer than a pixel."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray | list):
        return [plain(part) for part in (value.tolist() if isinstance(value, np.ndarray) else value)]
    if isinstance(value, float):
        return float(f"{value:.5g}") if np.isfinite(value) else None
    return value
