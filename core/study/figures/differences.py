"""The decisive figure of a comparison: how far each setting is from full fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from core.methods.method import Role
from core.results.arm import Arm, judged_by
from core.results.measures import value_text
from core.rule.place import Place
from core.rule.tuning import reference_name
from core.study.arms.difference_tables import full_differences
from core.study.figures.palette import NEUTRAL
from core.study.figures.style import GRID, layout_of, markers

ROW_HEIGHT = 44
"""Height of a row, in pixels."""


def difference_rows(verdict: Place, arms: Sequence[Arm], colours: Mapping[str, str]) -> go.Figure:
    """Draw one row per setting: dots for the seeds, the mean with its 95 % interval, and the margin shaded.

    Args:
        verdict: has the differences of adapters, with intervals over seeds and test examples, and the margin.
        arms: full fine-tuning, and the settings to draw beside it, from top to bottom: adapters, then controls.
        colours: of each arm, by key.
    """
    measure = judged_by(arms).primary
    own = {arm.label: arm for arm in arms}
    rows = full_differences(arms, measure.name, verdict)
    traces: list[dict[str, Any]] = []
    for row, difference in enumerate(rows):
        interval, label = difference.interval, difference.a
        colour = colours.get(own[label].key, NEUTRAL)
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
    unit = f"{measure.difference_unit} of {measure.noun}" if measure.difference_unit else measure.noun
    reference = reference_name(verdict.full)
    full = " and ".join(_mean(arm) for arm in arms if arm.role is Role.REFERENCE)
    layout = layout_of(
        f"Difference from {reference}",
        "dots: seeds, diamond: mean with 95 % interval; shaded: within the margin, "
        f"{measure.margin_text(verdict.margin)}",
        f"{unit}, minus {reference} ({full})",
        None,
        height=ROW_HEIGHT * max(len(rows), 1) + 130,
    )
    layout["yaxis"] |= {
        "tickvals": list(range(len(rows))),
        "ticktext": [f"{difference.a}<br>{_mean(own[difference.a])}" for difference in rows],
        "range": [len(rows) - 0.5, -0.5],
        "showgrid": False,
    }
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


def _mean(arm: Arm) -> str:
    """What a setting reached on average, as in ``91.1 %``."""
    measure = arm.setting.objective.primary
    return measure.text(arm.interval(measure.name).mean, 1)
