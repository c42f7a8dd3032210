"""The charts of the Learn page; blue is full fine-tuning and vermillion LoRA, as everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from core.study.figures.palette import FULL, LORA, NEUTRAL
from core.study.figures.style import layout_of
from core.study.learn.counting import LayerCount, Network, storage
from core.study.learn.demonstration import Start
from core.wording.numbers import bytes_text

HEIGHT = 340
"""Pixels."""

MAX_CUSTOMERS = 100_000

_HERE = {"mode": "markers", "marker": {"size": 12, "symbol": "diamond", "color": NEUTRAL}}


def ranks_figure(count: LayerCount) -> go.Figure:
    """Trained numbers against rank, on logarithmic axes, up to the highest rank that this shape can have."""
    ranks = _powers_between(1, count.largest_rank)
    per_rank = count.in_features + count.out_features
    hover = {"hovertemplate": "rank %{x:,}: %{y:,} numbers<extra></extra>"}
    traces = [
        _line(ranks, np.full(len(ranks), count.full), "Full fine-tuning", FULL, **hover),
        _line(ranks, ranks * per_rank, "LoRA", LORA[0], **hover),
        go.Scatter(x=[count.used_rank], y=[count.lora], name="Your rank", **_HERE, **hover),
    ]
    layout = layout_of("Trained numbers of the layer", None, "Rank r", None, HEIGHT)
    return _still(go.Figure(traces, layout)).update_xaxes(_decades).update_yaxes(_decades)


def outputs_figure(start: Start, limit: float) -> go.Figure:
    """The layer's outputs without and with the adapter, side by side.

    Args:
        start: the outputs.
        limit: the largest absolute value that any position of B gives, so that the bars move and
            not the axis.
    """
    names = [f"y<sub>{i}</sub>" for i in range(1, len(start.base) + 1)]
    hover = {"hovertemplate": "%{y:.6f}<extra></extra>"}
    traces = [
        go.Bar(x=names, y=start.base, name="Base", marker={"color": NEUTRAL}, **hover),
        go.Bar(x=names, y=start.adapted, name="Base and adapter", marker={"color": LORA[0]}, **hover),
    ]
    layout = layout_of("Outputs of the layer", None, "", None, HEIGHT)
    return _still(go.Figure(traces, layout)).update_yaxes(range=[-1.1 * limit, 1.1 * limit])


def storage_figure(network: Network, rank: int, customers: int) -> go.Figure:
    """Disk space against customers, on logarithmic axes: a full copy each, or one base and an adapter each."""
    counts = _powers_between(1, MAX_CUSTOMERS)
    needs, now = [storage(network, rank, int(n)) for n in counts], storage(network, rank, customers)
    full, shared = [need.full_copies for need in needs], [need.shared for need in needs]
    traces = [
        _line(counts, full, "Full copies", FULL, **_sizes(full)),
        _line(counts, shared, "Base and adapters", LORA[0], **_sizes(shared)),
        go.Scatter(
            x=[customers, customers],
            y=[float(now.full_copies), float(now.shared)],
            name="Your customers",
            **_HERE,
            **_sizes([now.full_copies, now.shared]),
        ),
    ]
    ticks = [10**power for power in range(19) if shared[0] / 10 < 10**power < full[-1] * 10]
    layout = layout_of(f"Disk space, {network.name}", None, "Customers", None, HEIGHT)
    return (
        _still(go.Figure(traces, layout))
        .update_xaxes(_decades)
        .update_yaxes(type="log", tickvals=ticks, ticktext=[bytes_text(tick).replace(".0 ", " ") for tick in ticks])
    )


_decades: dict[str, Any] = {"type": "log", "dtick": 1, "tickformat": ",d"}
"""A logarithmic axis with a written-out number at each power of ten."""


def _powers_between(low: int, high: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Whole numbers from ``low`` to ``high``, evenly spread on a logarithmic axis."""
    return np.unique(np.geomspace(low, high, 80).round().astype(np.int64))


def _line(x: Any, y: Any, name: str, colour: str, **rest: Any) -> go.Scatter:
    # Floats: byte counts of many customers are beyond what 53-bit browser integers keep.
    return go.Scatter(
        x=x, y=np.asarray(y, dtype=np.float64), name=name, mode="lines", line={"color": colour, "width": 2.5}, **rest
    )


def _sizes(values: list[int]) -> dict[str, Any]:
    return {"text": [bytes_text(value) for value in values], "hovertemplate": "%{x:,}: %{text}<extra></extra>"}


def _still(figure: go.Figure) -> go.Figure:
    """Without dragging, which on a phone would get in the way of scrolling."""
    return figure.update_xaxes(fixedrange=True).update_yaxes(fixedrange=True)
