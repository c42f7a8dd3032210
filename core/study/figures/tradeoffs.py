"""Figures of the primary measure against forgetting, parameters and storage. Colour encodes the arm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from core.methods.method import Role
from core.numbers import bytes_text, counted
from core.results.arm import Arm, judged_by
from core.results.measures import COSTS, spread_text, value_text
from core.rule.frontier import Frontier
from core.store.record import Curve
from core.study.arms.accuracies import Accuracies
from core.study.figures.curves import mean_epochs
from core.study.figures.intervals import means
from core.study.figures.palette import NEUTRAL, dash_of
from core.study.figures.style import layout_of, log_axis, scatter

Cost = Literal["trainable_parameters", "storage"]


def learning_and_forgetting(
    arms: Sequence[Arm],
    curves: Mapping[str, Curve],
    colours: Mapping[str, str],
    masked: bool = False,
    start: Accuracies | None = None,
) -> go.Figure:
    """Draw the primary measure on target against source: one point per epoch, one line per arm, the mean of its seeds.

    Args:
        arms: arms without curves or without a source are left out.
        curves: of all their runs.
        colours: of each arm, by key.
        masked: whether source accuracy considers only the outputs of the source's own classes.
        start: the base on the validation parts, where every line begins; None to leave it out.
    """
    objective = judged_by(arms)
    measure, column = objective.primary, objective.on_source(masked)
    reached = f"%{{text}}<br>target {measure.hover_text('y')}, source {measure.hover_text('x')}"
    first = (start.source_masked if masked else start.source) if start else None
    traces: list[dict[str, Any]] = []
    for arm in arms:
        table = mean_epochs([curves[run.id] for run in arm.runs if run.id in curves])
        if column not in table or not table[column].notna().any():
            continue
        table = table[table[column].notna()]
        x, y = table[column].to_numpy(np.float64), table[objective.validated].to_numpy(np.float64)
        texts = [f"after epoch {epoch:.0f}" for epoch in table["epoch"]]
        # Training from scratch does not begin at the base.
        if start is not None and first is not None and arm.spec.method.starts_from_base:
            x, y, texts = np.r_[first, x], np.r_[start.target, y], ["the base", *texts]
        sizes = np.append(np.full(len(x) - 1, 6.0), 11.0)
        hover = f"{arm.label}, {reached}"
        path = _path(arm.setting.label, arm.key, "epochs", x, y, colours[arm.key], sizes, hover, texts)
        path["line"]["dash"] = dash_of(arm.setting)
        traces.append(path)
    if start is not None and first is not None:
        mark = {"symbol": "x", "size": 11, "color": NEUTRAL}
        base = np.array([first]), np.array([start.target])
        traces.append(scatter("markers", "Base", *base, reached, text=["The base"], marker=mark, showlegend=True))
    among = ", its own classes only" if masked else ""
    layout = layout_of(
        "Learning and forgetting",
        "validation parts, mean over seeds; large: last epoch",
        f"{measure.title} on the source{among}{measure.unit_suffix}",
        f"{measure.title} on the target{measure.unit_suffix}",
        height=460,
    )
    return go.Figure(traces, layout)


def frontier_figure(found: Sequence[Frontier], colours: Mapping[str, str], masked: bool = False) -> go.Figure:
    """Draw one line per method through its frontier, over faint points for everything that it was seen to reach.

    Args:
        found: of one experiment.
        colours: of each, by key.
        masked: whether forgetting considers only the outputs of the source's own classes.
    """
    traces = []
    for each in found:
        hover = f"{each.label}, %{{text}}<br>target %{{y:.2f}} %, forgot %{{x:.2f}} points"
        for part, points in (("all", each.points), ("frontier", each.best)):
            x, y = (np.array([getattr(point, name) for point in points]) for name in ("forgetting", "target"))
            texts = [f"rate {point.learning_rate:g}, epoch {point.epoch}" for point in points]
            path = _path(each.label, each.key, part, x, y, colours[each.key], 8, hover, texts)
            faint = {"mode": "markers", "opacity": 0.3, "showlegend": False}
            traces.append(path | faint if part == "all" else path)
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


def _path(
    label: str, key: str, part: str, x: Any, y: Any, colour: str, size: Any, hover: str, text: Sequence[str]
) -> dict[str, Any]:
    """Points that a line connects; the parts of a key are shown and hidden together."""
    style = {"marker": {"color": colour, "size": size}, "line": {"color": colour, "width": 2}}
    return scatter("lines+markers", label, x, y, hover, uid=f"{key}:{part}", legendgroup=key, text=text, **style)


def accuracy_against(
    cost: Cost,
    arms: Sequence[Arm],
    colours: Mapping[str, str],
    customers: int = 1,
) -> go.Figure:
    """Draw the primary measure on the test part against the cost of each arm, on a logarithmic axis.

    Args:
        cost: trainable parameters, or bytes to store.
        arms: those that lack one of both are left out.
        colours: of each arm, by key.
        customers: number of fine-tuned networks to store; only for ``storage``.
    """
    is_storage, measure, traces = cost == "storage", judged_by(arms).primary, []
    for arm in arms:
        x = arm.bytes_for(customers) if is_storage else arm.interval(cost).mean
        interval, name = arm.interval(measure.name), arm.setting.label
        if not (math.isfinite(x) and math.isfinite(interval.mean)):
            continue
        costs = bytes_text(x) if is_storage else value_text(COSTS[cost], x)
        text = f"{name}<br>{spread_text(interval, arm.what())}, {costs}"
        marker: dict[str, Any] = {"size": 11, "symbol": "square" if arm.role is Role.CONTROL else "circle"}
        traces.append(means(name, colours[arm.key], [x], [interval], arm.what(), [text], uid=name, marker=marker))
    against = "storage" if is_storage else "parameters"
    axis = f"Bytes to store for {counted(customers, 'customer')}" if is_storage else "Trainable parameters"
    title = f"{measure.title} against {against}"
    layout = layout_of(title, "test part; bars: 95 % interval", f"{axis}, log scale", measure.axis)
    layout["xaxis"] |= log_axis([trace["x"][0] for trace in traces])
    return go.Figure(traces, layout)
