"""Figures of accuracy against forgetting, time, parameters and storage; pure functions of arms and curves.

Colour encodes the arm. A line connects the epochs of an arm, each the mean over seeds; a single point is the mean of
an arm on the test part, with its 95 % interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from core.methods.method import Role
from core.numbers import bytes_text, counted
from core.results.arm import Arm, judged_by
from core.results.intervals import Interval
from core.results.measures import COSTS, Quantity, quantity, spread_text, value_text
from core.store.record import EPOCH_COLUMNS, Curve
from core.study.arms.accuracies import Accuracies
from core.study.figures.curves import NamedCurve, measure_curves
from core.study.figures.palette import NEUTRAL, dash_of
from core.study.figures.style import layout_of, log_ticks, scatter, whiskers

Cost = Literal["trainable_parameters", "storage"]

Values = NDArray[np.float64]

FEW_EPOCHS = 12
"""Maximum number of epochs at which every epoch has a tick."""

Curves = Mapping[str, Curve]
"""The curve of each run, by its id."""


def mean_epochs(curves: Sequence[Curve]) -> pd.DataFrame:
    """Return the mean of :attr:`Curve.epochs` over runs, with one row per epoch that all runs have completed."""
    tables = [curve.epochs for curve in curves if len(curve.epochs)]
    if not tables or len(tables) < len(curves):
        return pd.DataFrame(columns=EPOCH_COLUMNS, dtype="float64")
    shared = min(len(table) for table in tables)
    return pd.concat(table.head(shared) for table in tables).groupby("epoch", as_index=False).mean()


def mean_curves(arms: Sequence[Arm], curves: Curves, colours: Mapping[str, str], masked: bool = False) -> go.Figure:
    """Draw the primary measure after each epoch, one line per arm: the mean of its seeds.

    Args: see :func:`learning_and_forgetting`.
    """
    means = [
        NamedCurve(arm.key, arm.label, colours[arm.key], Curve.of_epochs(table))
        for arm in arms
        if len(table := mean_epochs([curves[run.id] for run in arm.runs if run.id in curves]))
    ]
    objective = arms[0].spec.objective
    figure = measure_curves(means, "epoch", masked, objective)
    among = "; the source among its own classes" if masked else ""
    figure.update_layout(title_subtitle_text=f"validation parts, mean of the seeds{among}")
    if all(len(curve.curve.epochs) <= FEW_EPOCHS for curve in means):
        figure.update_xaxes(dtick=1)
    return figure


def learning_and_forgetting(
    arms: Sequence[Arm],
    curves: Curves,
    colours: Mapping[str, str],
    masked: bool = False,
    start: Accuracies | None = None,
) -> go.Figure:
    """Draw the primary measure on target against source: one point per epoch, one line per arm.

    Args:
        arms: arms without curves or without a source are left out.
        curves: of all their runs.
        colours: of each arm, by key.
        masked: whether source accuracy considers only the outputs of the source's own classes.
        start: the base on the validation parts, where every line begins; None to leave it out.
    """
    objective = judged_by(arms)
    measure, column = objective.primary, objective.on_source(masked)
    reached = f"target {measure.hover_text('y')}, source {measure.hover_text('x')}"
    first = (start.source_masked if masked else start.source) if start else None
    traces: list[dict[str, Any]] = []
    for arm in arms:
        table = mean_epochs([curves[run.id] for run in arm.runs if run.id in curves])
        if column not in table or not table[column].notna().any():
            continue
        table = table[table[column].notna()]
        x, y = table[column].to_numpy(np.float64), table[objective.validated].to_numpy(np.float64)
        epochs = [f"after epoch {epoch:.0f}" for epoch in table["epoch"]]
        # Training from scratch does not begin at the base.
        if start is not None and first is not None and arm.spec.method.starts_from_base:
            x, y, epochs = np.r_[first, x], np.r_[start.target, y], ["the base", *epochs]
        sizes = np.full(len(x), 6.0)
        sizes[-1] = 11.0
        traces.append(_epochs_line(arm, x, y, colours[arm.key], sizes, epochs, f"%{{text}}<br>{reached}"))
    if start is not None and first is not None:
        traces.append(
            scatter(
                "markers",
                "Base",
                np.array([first]),
                np.array([start.target]),
                f"The base<br>{reached}",
                marker={"symbol": "x", "size": 11, "color": NEUTRAL},
                showlegend=True,
            )
        )
    among = ", its own classes only" if masked else ""
    layout = layout_of(
        "Learning and forgetting",
        "validation parts, mean over seeds; large: last epoch",
        f"{measure.title} on the source{among}{measure.unit_suffix}",
        f"{measure.title} on the target{measure.unit_suffix}",
        height=460,
    )
    return go.Figure(traces, layout)


def learning_over_time(arms: Sequence[Arm], curves: Curves, colours: Mapping[str, str]) -> go.Figure:
    """Draw the primary measure on the validation part over training time: one point per epoch, one line per arm.

    Args: see :func:`learning_and_forgetting`.
    """
    objective = judged_by(arms)
    measure = objective.primary
    reached = measure.hover_text()
    traces: list[dict[str, Any]] = []
    for arm in arms:
        table = mean_epochs([curves[run.id] for run in arm.runs if run.id in curves])
        if objective.validated not in table:
            continue
        x, y = (table[column].to_numpy(np.float64) for column in ("seconds", objective.validated))
        epochs = [f"{epoch:.0f}" for epoch in table["epoch"]]
        hover = f"epoch %{{text}}<br>{reached} after %{{x:.3g}} s"
        traces.append(_epochs_line(arm, x, y, colours[arm.key], 6, epochs, hover))
    layout = layout_of(
        f"{measure.title} against time",
        "validation part, mean over seeds; one point per epoch",
        "Training time (s), log scale",
        measure.axis,
    )
    seconds = [x for trace in traces for x in trace["x"] if x > 0]
    layout["xaxis"] |= log_ticks(min(seconds), max(seconds)) if seconds else {"type": "log"}
    return go.Figure(traces, layout)


def _epochs_line(
    arm: Arm, x: Values, y: Values, colour: str, size: int | Values, text: Sequence[str], hover: str
) -> dict[str, Any]:
    return scatter(
        "lines+markers",
        arm.setting.label,
        x,
        y,
        f"{arm.label}, {hover}",
        uid=arm.key,
        line={"color": colour, "width": 2, "dash": dash_of(arm.setting)},
        marker={"size": size, "color": colour},
        text=text,
    )


def accuracy_against(
    cost: Cost,
    arms: Sequence[Arm],
    colours: Mapping[str, str],
    customers: int = 1,
) -> go.Figure:
    """Draw the primary measure on the test part against the cost of each arm, on a logarithmic axis.

    Args:
        cost: trainable parameters, or bytes to store.
        arms: what to draw.
        colours: of each arm, by key.
        customers: number of fine-tuned networks to store; only for ``storage``.
    """
    traces, places = [], []
    objective = judged_by(arms)
    title, what = objective.primary.title, quantity(objective.primary.name, objective)
    for arm in arms:
        x, interval = cost_of(arm, cost, customers), arm.interval(what.name)
        if not (math.isfinite(x) and math.isfinite(interval.mean)):
            continue
        places.append(x)
        symbol = "square" if arm.role is Role.CONTROL else "circle"
        traces.append(_point(arm.setting.label, x, interval, what, colours[arm.key], _text(cost, x), symbol))
    titles = {
        "trainable_parameters": (f"{title} against parameters", "Trainable parameters, log scale"),
        "storage": (
            f"{title} against storage",
            f"Bytes to store for {counted(customers, 'customer')}, log scale",
        ),
    }
    layout = layout_of(titles[cost][0], "test part; bars: 95 % interval", titles[cost][1], objective.primary.axis)
    if places:
        low, high = math.log10(min(places)), math.log10(max(places))
        room = 0.12 * (high - low) + 0.1
        layout["xaxis"] |= log_ticks(min(places), max(places)) | {"range": [low - room, high + room]}
    return go.Figure(traces, layout)


def cost_of(arm: Arm, cost: Cost, customers: int) -> float:
    """Return parameters or bytes of an arm; NaN if unknown."""
    return arm.bytes_for(customers) if cost == "storage" else arm.interval(cost).mean


def _text(cost: Cost, value: float) -> str:
    return bytes_text(value) if cost == "storage" else value_text(COSTS[cost], value)


def _point(
    name: str, x: float, interval: Interval, what: Quantity, colour: str, text: str, symbol: str
) -> dict[str, Any]:
    return scatter(
        "markers",
        name,
        np.array([x]),
        np.array([interval.mean]),
        f"{name}<br>{spread_text(interval, what)}, {text}",
        uid=name,
        marker={
            "color": colour,
            "size": 11,
            "symbol": symbol,
            "line": {"width": 2, "color": colour},
        },
        error_y=whiskers([interval], what) | {"color": colour, "thickness": 1.5, "width": 4},
    )
