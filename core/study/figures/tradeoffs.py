"""What accuracy costs: forgetting, time, parameters and storage, as pure functions of arms and curves.

Colour tells the arm. A line joins the epochs of an arm's mean over its seeds; a lone point is an arm's mean with its
95 % interval on the test part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.store.record import EPOCH_COLUMNS, Curve
from core.study.arms.arm import Arm
from core.study.arms.cut import CutArm, Standing
from core.study.arms.storage import bytes_for_customers
from core.study.figures.palette import NEUTRAL
from core.study.figures.style import layout_of
from core.study.stats.measures import MEASURES, value_text
from core.wording.numbers import bytes_text, number_text, percent

Cost = Literal["seconds", "trainable_parameters", "storage"]

Curves = Mapping[str, Curve]
"""The curve of each run, by its id."""


def mean_epochs(curves: Sequence[Curve]) -> pd.DataFrame:
    """The mean of :attr:`Curve.epochs` over runs, a row an epoch that all of them have completed."""
    tables = [curve.epochs for curve in curves if len(curve.epochs)]
    if not tables or len(tables) < len(curves):
        return pd.DataFrame(columns=EPOCH_COLUMNS, dtype="float64")
    shared = min(len(table) for table in tables)
    return pd.concat(table.head(shared) for table in tables).groupby("epoch", as_index=False).mean()


def learning_and_forgetting(
    arms: Sequence[Arm],
    curves: Curves,
    colours: Mapping[str, str],
    masked: bool = False,
    start: Standing | None = None,
) -> go.Figure:
    """The plane of target against source accuracy: a point an epoch, a line an arm, up and to the right is better.

    Args:
        arms: what is drawn; an arm without curves, or without a source, is left out.
        curves: of all their runs.
        colours: of each arm, by key.
        masked: whether the source is judged among its own classes only.
        start: the base on the validation parts, where every line begins; None leaves it out.
    """
    column = "source_accuracy_masked" if masked else "source_accuracy"
    first = (start.source_masked if masked else start.source) if start else None
    traces: list[dict[str, Any]] = []
    for arm in arms:
        table = mean_epochs([curves[run.id] for run in arm.runs if run.id in curves])
        x, y = table[column].to_numpy(np.float64), table["validation_accuracy"].to_numpy(np.float64)
        if not np.isfinite(x).any():
            continue
        epochs = [f"after epoch {epoch:.0f}" for epoch in table["epoch"]]
        # Training from scratch does not begin at the base.
        if start is not None and first is not None and arm.spec.control != "scratch":
            x, y, epochs = np.r_[first, x], np.r_[start.target, y], ["the base", *epochs]
        sizes = np.full(len(x), 6.0)
        sizes[-1] = 11.0
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": arm.spec.label,
                "uid": arm.key,
                "x": x,
                "y": y,
                "line": {"color": colours[arm.key], "width": 2, "dash": "dot" if arm.spec.control else "solid"},
                "marker": {"size": sizes, "color": colours[arm.key]},
                "text": epochs,
                "hovertemplate": f"{arm.label}, %{{text}}<br>target %{{y:.2f}} %, source %{{x:.2f}} %<extra></extra>",
            }
        )
    if start is not None and first is not None:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "Base",
                "x": np.array([first]),
                "y": np.array([start.target]),
                "marker": {"symbol": "x", "size": 11, "color": NEUTRAL},
                "showlegend": True,
                "hovertemplate": "The base<br>target %{y:.2f} %, source %{x:.2f} %<extra></extra>",
            }
        )
    among = ", its classes only" if masked else ""
    layout = layout_of(
        "Learning and forgetting",
        "validation parts, mean of the seeds; a point an epoch, the large one is the end",
        f"Accuracy on the source{among} (%)",
        "Accuracy on the target (%)",
        height=460,
    )
    return go.Figure(traces, layout)


def learning_over_time(arms: Sequence[Arm], curves: Curves, colours: Mapping[str, str]) -> go.Figure:
    """Accuracy on the target's validation part over seconds of training: a point an epoch, a line an arm.

    Args: as of :func:`learning_and_forgetting`.
    """
    traces: list[dict[str, Any]] = []
    for arm in arms:
        table = mean_epochs([curves[run.id] for run in arm.runs if run.id in curves])
        if not len(table):
            continue
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": arm.spec.label,
                "uid": arm.key,
                "x": table["seconds"].to_numpy(np.float64),
                "y": table["validation_accuracy"].to_numpy(np.float64),
                "line": {"color": colours[arm.key], "width": 2, "dash": "dot" if arm.spec.control else "solid"},
                "marker": {"size": 6, "color": colours[arm.key]},
                "text": [f"{epoch:.0f}" for epoch in table["epoch"]],
                "hovertemplate": f"{arm.label}, epoch %{{text}}<br>%{{y:.2f}} % after %{{x:.3g}} s<extra></extra>",
            }
        )
    layout = layout_of(
        "Accuracy against time",
        "validation part, mean of the seeds; a point an epoch",
        "Training time (s), log scale",
        "Accuracy (%)",
    )
    layout["xaxis"] |= {"type": "log", "tickformat": "~g", "dtick": "D2"}
    return go.Figure(traces, layout)


def accuracy_against(
    cost: Cost,
    arms: Sequence[Arm],
    colours: Mapping[str, str],
    customers: int = 1,
    cuts: Sequence[CutArm] = (),
) -> go.Figure:
    """Accuracy on the test part against what an arm costs, on a logarithmic axis: a point an arm.

    Args:
        cost: training time, trainable parameters, or bytes to store for some customers.
        arms: what is drawn.
        colours: of each arm, by key.
        customers: each has a network of their own; for ``storage``.
        cuts: drawn at the storage of a LoRA arm of their rank, hollow; for ``storage``.
    """
    traces, places = [], []
    for arm in arms:
        x, interval = cost_of(arm, cost, customers), arm.interval("accuracy")
        if not (math.isfinite(x) and math.isfinite(interval.mean)):
            continue
        places.append(x)
        traces.append(_point(arm.spec.label, x, interval.mean, interval.half_width, colours[arm.key], _text(cost, x)))
    by_rank = {arm.lora.rank: arm for arm in arms if arm.lora}
    for cut in cuts if cost == "storage" else ():
        if cut.rank in by_rank:
            twin, interval = by_rank[cut.rank], cut.accuracy
            x = cost_of(twin, cost, customers)
            traces.append(
                _point(cut.label, x, interval.mean, interval.half_width, colours[twin.key], _text(cost, x), hollow=True)
            )
    titles = {
        "seconds": ("Accuracy against training time", "Training time of a run (s), log scale"),
        "trainable_parameters": ("Accuracy against trainable parameters", "Trainable parameters, log scale"),
        "storage": (
            f"Accuracy against storage for {customers:,} customer{'' if customers == 1 else 's'}",
            "Bytes to store, log scale",
        ),
    }
    reading = "test part; bars: 95 % interval" + ("; hollow: ΔW of full fine-tuning cut to a rank" if cuts else "")
    layout = layout_of(titles[cost][0], reading, titles[cost][1], "Accuracy (%)")
    if places:
        low, high = math.log10(min(places)), math.log10(max(places))
        room = 0.12 * (high - low) + 0.1
        layout["xaxis"] |= {"type": "log", "range": [low - room, high + room], "tickformat": "~s", "dtick": 1}
        if high - low < 1:
            layout["xaxis"] |= {"dtick": "D2"}
    return go.Figure(traces, layout)


def cost_of(arm: Arm, cost: Cost, customers: int) -> float:
    """Seconds, parameters or bytes; NaN where the arm has none."""
    return bytes_for_customers(arm, customers) if cost == "storage" else arm.interval(cost).mean


def _text(cost: Cost, value: float) -> str:
    return bytes_text(value) if cost == "storage" else value_text(MEASURES[cost], value)


def _point(
    name: str, x: float, mean: float, half: float, colour: str, text: str, hollow: bool = False
) -> dict[str, Any]:
    spread = f" ± {number_text(half)}" if math.isfinite(half) else ""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "uid": name,
        "x": np.array([x]),
        "y": np.array([mean]),
        "marker": {
            "color": colour,
            "size": 11,
            "symbol": "circle-open" if hollow else "circle",
            "line": {"width": 2, "color": colour},
        },
        "error_y": {"array": np.nan_to_num(np.array([half])), "color": colour, "thickness": 1.5, "width": 4},
        "hovertemplate": f"{name}<br>{percent(mean)}{spread}, {text}<extra></extra>",
    }
