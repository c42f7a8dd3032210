"""The figure of accuracy against forgetting over all rates and checkpoints; a pure function of frontiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from core.rule.frontier import Frontier, Point
from core.study.figures.style import layout_of

ALT = (
    "Accuracy on the target against forgetting: a faint point for each learning rate and epoch, and a line through the "
    "points of each method that are not beaten on both"
)
"""Alternative text of :func:`frontier_figure`."""


def frontier_figure(found: Sequence[Frontier], colours: Mapping[str, str], masked: bool = False) -> go.Figure:
    """Draw one line per method through its frontier, over faint points for everything that it was seen to reach.

    Args:
        found: of one experiment.
        colours: of each, by key.
        masked: whether forgetting considers only the outputs of the source's own classes.
    """
    traces: list[dict[str, Any]] = []
    for frontier in found:
        colour, label = colours[frontier.key], frontier.label
        cloud = {"mode": "markers", "marker": {"size": 5, "color": colour, "opacity": 0.3}, "showlegend": False}
        line = {
            "mode": "lines+markers",
            "line": {"color": colour, "width": 2.5},
            "marker": {"size": 8, "color": colour},
        }
        for name, points, style in (("all", frontier.points, cloud), ("frontier", frontier.best, line)):
            traces.append(
                {
                    "type": "scatter",
                    "name": label,
                    "legendgroup": frontier.key,
                    "uid": f"{frontier.key}:{name}",
                    "x": np.array([point.forgetting for point in points]),
                    "y": np.array([point.target for point in points]),
                    "text": [_where(point) for point in points],
                    "hovertemplate": f"{label}, %{{text}}<br>target %{{y:.2f}} %, forgot %{{x:.2f}} points"
                    "<extra></extra>",
                    **style,
                }
            )
    among = ", its own classes only" if masked else ""
    layout = layout_of(
        "Accuracy against forgetting",
        "validation parts, mean over seeds, all rates and epochs; "
        "line: not beaten on both; up and to the left is better",
        f"Forgetting of the source{among} (points)",
        "Accuracy on the target (%)",
        height=460,
    )
    return go.Figure(traces, layout)


def _where(point: Point) -> str:
    return f"rate {point.learning_rate:g}, epoch {point.epoch}"
