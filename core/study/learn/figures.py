"""Figures of the Learn page, with the colours of all pages."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from core.numbers import bytes_text
from core.study.figures.palette import FULL, LORA, NEUTRAL, rank_colour
from core.study.figures.style import layout_of
from core.study.learn.counting import LayerCount, Network, storage
from core.study.learn.demonstration import Start

HEIGHT = 340
"""Height of the figures in pixels."""

MAX_CUSTOMERS = 100_000

_HERE = {"mode": "markers", "marker": {"size": 12, "symbol": "diamond", "color": NEUTRAL}}


def ranks_figure(count: LayerCount) -> go.Figure:
    """Draw the number of trained parameters against rank, on logarithmic axes, up to the maximum rank of the shape."""
    ranks = _powers_between(1, count.largest_rank)
    per_rank = count.in_features + count.out_features
    hover = {"hovertemplate": "rank %{x:,}: %{y:,} numbers<extra></extra>"}
    traces = [
        _line(ranks, np.full(len(ranks), count.full), "Full fine-tuning", FULL, **hover),
        _line(ranks, ranks * per_rank, "LoRA", LORA, **hover),
        go.Scatter(x=[count.used_rank], y=[count.lora], name="Your rank", **_HERE, **hover),
    ]
    layout = layout_of("Trained numbers in the layer", None, "Rank r", None, HEIGHT)
    return _still(go.Figure(traces, layout)).update_xaxes(_decades).update_yaxes(_decades)


def outputs_figure(start: Start, limit: float) -> go.Figure:
    """Draw the layer's outputs without and with the adapter, side by side.

    Args:
        start: the outputs.
        limit: largest absolute value for any position of B, so that the axis stays fixed while the bars move.
    """
    names = [f"y<sub>{i}</sub>" for i in range(1, len(start.base) + 1)]
    hover = {"hovertemplate": "%{y:.6f}<extra></extra>"}
    traces = [
        go.Bar(x=names, y=start.base, name="Base", marker={"color": NEUTRAL}, **hover),
        go.Bar(x=names, y=start.adapted, name="Base and adapter", marker={"color": rank_colour(2)}, **hover),
    ]
    layout = layout_of("Outputs of the layer", None, "", None, HEIGHT)
    return _still(go.Figure(traces, layout)).update_yaxes(range=[-1.1 * limit, 1.1 * limit])


def storage_figure(network: Network, rank: int, customers: int) -> go.Figure:
    """Draw disk space against number of customers: full copies, or one base with an adapter per customer."""
    counts = _powers_between(1, MAX_CUSTOMERS)
    needs, now = [storage(network, rank, int(n)) for n in counts], storage(network, rank, customers)
    full, shared = [need.full_copies for need in needs], [need.shared for need in needs]
    traces = [
        _line(counts, full, "Full copies", FULL, **_sizes(full)),
        _line(counts, shared, "Base and adapters", rank_colour(rank), **_sizes(shared)),
        go.Scatter(
            x=[customers, customers],
            y=[float(now.full_copies), float(now.shared)],
            name="Your customers",
            **_HERE,
            **_sizes([now.full_copies, now.shared]),
        ),
    ]
    ticks = [10**power for power in range(19) if shared[0] / 10 < 10**power < full[-1] * 10]
    layout = layout_of(f"Disk space for {network.name}", None, "Customers", None, HEIGHT)
    return (
        _still(go.Figure(traces, layout))
        .update_xaxes(_decades)
        .update_yaxes(type="log", tickvals=ticks, ticktext=[bytes_text(tick).replace(".0 ", " ") for tick in ticks])
    )


_decades: dict[str, Any] = {"type": "log", "dtick": 1, "tickformat": ",d"}
"""A logarithmic axis with a number at each power of ten."""


def _powers_between(low: int, high: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return whole numbers from ``low`` to ``high``, evenly spaced on a logarithmic axis."""
    return np.unique(np.geomspace(low, high, 80).round().astype(np.int64))


def _line(x: Any, y: Any, name: str, colour: str, **rest: Any) -> go.Scatter:
    # As floats, because byte counts for many customers exceed 53-bit browser integers.
    return go.Scatter(
        x=x, y=np.asarray(y, dtype=np.float64), name=name, mode="lines", line={"color": colour, "width": 2.5}, **rest
    )


def _sizes(values: list[int]) -> dict[str, Any]:
    return {"text": [bytes_text(value) for value in values], "hovertemplate": "%{x:,}: %{text}<extra></extra>"}


def _still(figure: go.Figure) -> go.Figure:
    """Disable zooming, because dragging on a phone should scroll the page."""
    return figure.update_xaxes(fixedrange=True).update_yaxes(fixedrange=True)
