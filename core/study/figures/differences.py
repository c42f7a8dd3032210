"""The decisive figure of a comparison: how far each setting is from full fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from core.study.arms.arm import judged_by
from core.study.arms.candidate import Candidate
from core.study.arms.verdict import Verdict
from core.study.figures.palette import NEUTRAL
from core.study.figures.style import GRID, layout_of, markers
from core.study.stats.measures import value_text

ROW_HEIGHT = 44
"""Height of a row, in pixels."""


def difference_rows(
    verdict: Verdict, colours: Mapping[str, str], candidates: Sequence[Candidate] | None = None, title: str = ""
) -> go.Figure:
    """Draw one row per adapter setting: dots for the seeds, the mean with its 95 % interval, and the margin shaded.

    Args:
        verdict: has the settings and the margin.
        colours: of each arm, by key.
        candidates: the settings to draw, from top to bottom; all of the verdict's by default.
        title: of the figure; a figure without one is as low as its rows.
    """
    rows = list(verdict.candidates if candidates is None else candidates)
    traces: list[dict[str, Any]] = []
    for row, candidate in enumerate(rows):
        difference, colour = candidate.difference, colours.get(candidate.arm.key, NEUTRAL)
        interval, label = difference.interval, candidate.arm.label
        what = difference.what.change
        by_seed = zip(difference.seeds, difference.values, strict=True)
        traces.append(
            markers(
                label,
                difference.values,
                np.full(len(difference.values), row + 0.18),
                marker={"color": colour, "size": 7, "opacity": 0.6},
                text=[f"seed {seed}: {value_text(what, value)}" for seed, value in by_seed],
                hovertemplate=f"{label}, %{{text}}<extra></extra>",
            )
        )
        if math.isfinite(interval.half_width):
            span = f"{value_text(what, interval.low)} to {value_text(what, interval.high)}"
            traces.append(
                markers(
                    label,
                    [interval.mean],
                    [row - 0.16],
                    marker={"color": colour, "size": 12, "symbol": "diamond"},
                    error_x={"array": np.array([interval.half_width]), "color": colour, "thickness": 3, "width": 6},
                    hovertemplate=f"{label}: {value_text(what, interval.mean)}<br>95 % interval {span}<extra></extra>",
                )
            )
    layout = layout_of(
        title,
        "dots: seeds, diamond: mean with 95 % interval, shaded: margin" if title else None,
        f"{_axis(rows)}, minus full fine-tuning",
        None,
        height=ROW_HEIGHT * max(len(rows), 1) + (130 if title else 76),
    )
    layout["yaxis"] |= {
        "tickvals": list(range(len(rows))),
        "ticktext": [candidate.arm.spec.label for candidate in rows],
        "range": [len(rows) - 0.5, -0.5],
        "showgrid": False,
    }
    layout["margin"] |= {} if title else {"t": 8}
    layout["xaxis"]["title"] |= {"standoff": 8}
    layout["shapes"] = [
        {
            "type": "rect",
            "x0": -verdict.margin,
            "x1": verdict.margin,
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "fillcolor": GRID,
            "line": {"width": 0},
            "layer": "below",
        },
        {"type": "line", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "yref": "paper", "line": {"color": NEUTRAL, "width": 1}},
    ]
    return go.Figure(traces, layout)


def _axis(rows: Sequence[Candidate]) -> str:
    """What differs, in its unit, as in ``points of accuracy``."""
    measure = judged_by(row.arm for row in rows).primary
    unit = measure.difference_unit
    return f"{unit} of {measure.noun}" if unit else measure.noun
