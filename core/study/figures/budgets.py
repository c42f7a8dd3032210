"""The difference from full fine-tuning after the epochs that runs passed, on the validation part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from core.objectives.objective import ObjectiveSpec
from core.study.arms.budgets import Passed
from core.study.figures.palette import NEUTRAL
from core.study.figures.style import GRID, layout_of, log_ticks


def passed_figure(found: Sequence[Passed], objective: ObjectiveSpec, colours: Mapping[str, str]) -> go.Figure:
    """Draw one line per method and rank with its interval, and the margin shaded.

    Args:
        found: at least one.
        objective: what is learned, with the measure and the margin.
        colours: of each arm, by key.
    """
    measure, traces = objective.primary, list[dict[str, Any]]()
    for each in found:
        colour = colours.get(each.spec_key, NEUTRAL)
        half = np.nan_to_num(np.array([interval.half_width for interval in each.intervals]))
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": each.label,
                "x": each.epochs,
                "y": np.array([interval.mean for interval in each.intervals]),
                "error_y": {"array": half, "color": colour, "thickness": 1.5, "width": 3},
                "line": {"color": colour, "width": 2},
                "marker": {"color": colour, "size": 6},
                "hovertemplate": f"{each.label}, after %{{x}} epochs: %{{y:.2f}}<extra></extra>",
            }
        )
    layout = layout_of(
        f"{measure.title} on the validation part, minus full fine-tuning",
        "epochs that were passed, each method at its best rate then; 95 % interval over seeds",
        "Epochs",
        f"{measure.difference_unit or measure.noun}, minus full",
        height=360,
    )
    every = np.concatenate([each.epochs for each in found])
    layout["xaxis"] |= log_ticks(float(every.min()), float(every.max()))
    across = {"xref": "paper", "x0": 0, "x1": 1, "layer": "below"}
    layout["shapes"] = [
        {"type": "rect", "y0": -objective.margin, "y1": objective.margin, "fillcolor": GRID, "line": {"width": 0}}
        | across,
        {"type": "line", "y0": 0, "y1": 0, "line": {"color": NEUTRAL, "width": 1}} | across,
    ]
    return go.Figure(traces, layout)
