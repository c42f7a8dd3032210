"""Plotly figures of curves and arms: pure functions of what is drawn, at home in a light and in a dark page.

Colour tells the arm, line style what is drawn: solid for training, dashed with dots for validation,
dotted with squares for the source. Text has no colour of its own, so that the page's theme gives it one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from core.store.record import Curve
from core.study.arms.arm import Arm
from core.study.figures.palette import colours_of
from core.study.figures.style import layout_of, plain
from core.study.figures.thinning import MAX_POINTS, smooth, thin
from core.study.stats.measures import MEASURES, MeasureName, value_text

Axis = Literal["step", "epoch", "seconds"]
Values = NDArray[np.floating]

AXES: dict[Axis, str] = {"step": "Step", "epoch": "Epoch", "seconds": "Training time (s)"}
"""What curves can be drawn over, with the title of that axis."""

MAX_TOTAL_POINTS = 20_000
"""Points of all raw lines of a figure together; beyond it a browser no longer zooms smoothly."""

LIVE_POINTS = 400
"""Points of a line that is sent anew every second, while it trains: two hundred peaks and as many valleys."""


@dataclass(frozen=True)
class NamedCurve:
    """A run's curve as it is drawn."""

    run: str
    """Its id."""
    label: str
    """Its arm's label; runs of one label share an entry in the legend."""
    colour: str
    """Its arm's colour, ``#RRGGBB``."""
    curve: Curve
    steps_per_epoch: float | None = None
    """Places the first epoch on an axis of epochs before it has ended; later the curve itself knows."""


def loss_curves(
    curves: Sequence[NamedCurve], axis: Axis = "step", smoothing: float = 0.9, log: bool = False
) -> go.Figure:
    """Training and validation loss of runs.

    Args:
        curves: one a run.
        axis: what they are drawn over.
        smoothing: weight of the past in the training line, 0 to below 1; above 0 the raw line stays, thin, beneath.
        log: whether the loss axis is logarithmic.
    """
    return go.Figure(_loss_traces(curves, axis, smoothing), _loss_layout(axis, log))


def live_figure_data(
    curves: Sequence[NamedCurve], axis: Axis = "step", smoothing: float = 0.9, log: bool = False
) -> dict[str, Any]:
    """What :func:`loss_curves` draws, as plain JSON values for ``Plotly.react``.

    Args: as of :func:`loss_curves`.

    Returns:
        ``data`` and ``layout``, as Plotly names them; values that are not finite are None, which Plotly draws as gaps.
    """
    traces = _loss_traces(curves, axis, smoothing, LIVE_POINTS)
    return {"data": plain(traces), "layout": plain(_loss_layout(axis, log))}


def accuracy_curves(curves: Sequence[NamedCurve], axis: Axis = "epoch", masked: bool = False) -> go.Figure:
    """Accuracy on the target's validation part and, where it was measured, on the source, one above the other.

    Args:
        curves: one a run.
        axis: what they are drawn over.
        masked: whether the source is judged among its own classes only.
    """
    column = "source_accuracy_masked" if masked else "source_accuracy"
    traces = _epoch_traces(curves, axis, "validation_accuracy", "validation", legend=True)
    source = _epoch_traces(curves, axis, column, "source", legend=False)
    if not source:
        layout = layout_of("Accuracy on the target", "validation part", AXES[axis], "Accuracy (%)")
        return go.Figure(traces, layout)
    layout = layout_of("Accuracy on target and source", "target: validation part", AXES[axis], "Target (%)", height=520)
    layout["yaxis"]["domain"] = [0.54, 1]
    layout["yaxis2"] = layout["yaxis"] | {"domain": [0, 0.46], "title": {"text": "Source (%)"}}
    layout["xaxis"]["anchor"] = "y2"
    return go.Figure([*traces, *(trace | {"yaxis": "y2"} for trace in source)], layout)


def arm_dots(arms: Sequence[Arm], measure: MeasureName, colours: Mapping[str, str] | None = None) -> go.Figure:
    """A row an arm: a dot a run, and above them the mean with its 95 % interval.

    Args:
        arms: from top to bottom.
        measure: what is drawn.
        colours: of each arm, by key; those of a larger experiment where only some of its arms are drawn.
    """
    colours, what = colours or colours_of(arms), MEASURES[measure]
    traces: list[dict[str, Any]] = []
    for row, arm in enumerate(arms):
        by_seed, interval, colour = arm.by_seed(measure), arm.interval(measure), colours[arm.key]
        values = np.array(list(by_seed.values()))
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": arm.label,
                "uid": arm.key,
                "showlegend": False,
                "x": values,
                "y": np.full(len(values), row + 0.14),
                "marker": {"color": colour, "size": 9, "opacity": 0.65},
                "text": [f"seed {seed}: {value_text(what, value)}" for seed, value in by_seed.items()],
                "hovertemplate": f"{arm.label}, %{{text}}<extra></extra>",
            }
        )
        # The mean of one run is that run: drawing it as more would sell one seed as a result.
        if interval.n > 1:
            low, high = value_text(what, interval.low), value_text(what, interval.high)
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": arm.label,
                    "uid": f"{arm.key}:mean",
                    "showlegend": False,
                    "x": np.array([interval.mean]),
                    "y": np.array([row - 0.14]),
                    "marker": {"color": colour, "size": 11, "symbol": "diamond"},
                    "error_x": {"array": np.array([interval.half_width]), "color": colour, "thickness": 2, "width": 5},
                    "hovertemplate": f"{arm.label}, mean of {interval.n} seeds: {value_text(what, interval.mean)}"
                    f"<br>95 % interval {low} to {high}<extra></extra>",
                }
            )
    layout = _rows_layout(arms, measure, "dots: runs, diamond: mean with 95 % interval")
    return go.Figure(traces, layout)


def bars(arms: Sequence[Arm], measure: MeasureName, colours: Mapping[str, str] | None = None) -> go.Figure:
    """A bar an arm, as long as its mean, with the value beside it; for counts and sizes.

    Where the largest is ten times the smallest or more, the axis is logarithmic and says so.

    Args: as of :func:`arm_dots`.
    """
    colours, what = colours or colours_of(arms), MEASURES[measure]
    means = np.array([arm.interval(measure).mean for arm in arms])
    known = means[np.isfinite(means)]
    log = bool(len(known)) and known.min() > 0 and known.max() >= 10 * known.min()
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "showlegend": False,
            "width": 0.55,
            "cliponaxis": False,
            "x": means,
            "y": np.arange(len(arms)),
            "textposition": "outside",
            "text": [value_text(what, mean) for mean in means],
            "marker": {"color": [colours[arm.key] for arm in arms]},
            "customdata": [arm.label for arm in arms],
            "hovertemplate": "%{customdata}: %{text}<extra></extra>",
        }
    ]
    layout = _rows_layout(arms, measure, None)
    axis = layout["xaxis"]
    if log:
        # A logarithmic bar has no zero to start from: it starts a third of a decade below the smallest.
        low, high = np.log10(known.min()) - 0.35, np.log10(known.max())
        axis |= {"type": "log", "range": [low, high + 0.35 * (high - low)], "dtick": 1}
        axis["title"]["text"] += ", log scale"
    elif len(known):
        axis["range"] = [min(0.0, 1.35 * known.min()), 1.35 * known.max()]
    return go.Figure(traces, layout)


def export_html(figure: go.Figure) -> bytes:
    """A page that shows the figure anywhere, with no network: plotly.js is inside."""
    page = go.Figure(figure)
    page.update_layout(template="plotly_white", paper_bgcolor="white", plot_bgcolor="white")
    config = {"displaylogo": False, "responsive": True}
    html: str = page.to_html(full_html=True, include_plotlyjs=True, config=config, div_id="figure")
    return html.encode()


def _loss_traces(
    curves: Sequence[NamedCurve], axis: Axis, smoothing: float, most: int = MAX_POINTS
) -> list[dict[str, Any]]:
    """Raw lines first, so that they lie beneath every smoothed one; validation on top."""
    most = min(most, max(100, MAX_TOTAL_POINTS // max(1, len(curves))))
    raw, lines, crosses = [], [], []
    for named, first in _with_first_of_label(curves):
        loss: Values = named.curve.loss
        if smoothing > 0:
            faint = {"opacity": 0.25, "hoverinfo": "skip", "hovertemplate": None, "customdata": None}
            raw.append(_loss_line(named, axis, "raw", loss, most, width=1, legend=False) | faint)
            loss = smooth(loss, smoothing)
        lines.append(_loss_line(named, axis, "training", loss, most, width=2 if smoothing > 0 else 1.5, legend=first))
        crosses += _diverged_trace(named, axis)
    return [*raw, *lines, *crosses, *_epoch_traces(curves, axis, "validation_loss", "validation", legend=False)]


def _loss_line(
    named: NamedCurve, axis: Axis, what: str, loss: Values, most: int, width: float, legend: bool
) -> dict[str, Any]:
    shown = thin(loss, most)
    trace = _trace(named, what, _x_of_steps(named, axis)[shown], _gapped(loss)[shown], legend)
    step, steps = ("x:d", None) if axis == "step" else ("customdata", named.curve.step[shown])
    return trace | {
        "mode": "lines",
        "line": {"color": named.colour, "width": width},
        "customdata": steps,
        "hovertemplate": _hover(named, f"training loss %{{y:.4g}}, step %{{{step}}}"),
    }


def _epoch_traces(
    curves: Sequence[NamedCurve], axis: Axis, column: str, what: str, legend: bool
) -> list[dict[str, Any]]:
    """One dashed line a run through the values of a column of :attr:`Curve.epochs`; none where no run has it."""
    traces = []
    for named, first in _with_first_of_label(curves):
        epochs = named.curve.epochs
        y = _gapped(epochs[column].to_numpy(np.float64, na_value=np.nan))
        shown = thin(y)
        trace = _trace(named, what, _x_of_epochs(named, axis)[shown], y[shown], first and legend)
        dash, symbol = ("dot", "square") if what == "source" else ("dash", "circle")
        number = "%{y:.2f} %" if "accuracy" in column else "%{y:.4g}"
        traces.append(
            trace
            | {
                "mode": "lines+markers",
                "customdata": epochs["epoch"].to_numpy()[shown],
                "line": {"color": named.colour, "width": 1.5, "dash": dash},
                "marker": {"size": 6, "symbol": symbol},
                "hovertemplate": _hover(named, f"{column.replace('_', ' ')} {number}, epoch %{{customdata}}"),
            }
        )
    return traces if what != "source" or any(np.isfinite(trace["y"]).any() for trace in traces) else []


def _diverged_trace(named: NamedCurve, axis: Axis) -> list[dict[str, Any]]:
    """A cross where the loss stops being a finite number, at the height where it was last seen."""
    loss = named.curve.loss
    lost = np.flatnonzero(~np.isfinite(loss))[:1]
    if not len(lost) or not lost[0]:
        return []
    trace = _trace(named, "diverged", _x_of_steps(named, axis)[lost], loss[lost - 1], False)
    text = _hover(named, f"loss not finite at step {named.curve.step[lost[0]]}")
    return [
        trace | {"mode": "markers", "marker": {"color": named.colour, "symbol": "x", "size": 10}, "hovertemplate": text}
    ]


def _trace(named: NamedCurve, what: str, x: Values, y: Values, legend: bool) -> dict[str, Any]:
    # Runs of a label go on and off together; the uid keeps what was switched off that way when data changes.
    return {
        "type": "scatter",
        "name": named.label,
        "legendgroup": named.label,
        "showlegend": legend,
        "uid": f"{named.run}:{what}",
        "x": x,
        "y": y,
    }


def _with_first_of_label(curves: Sequence[NamedCurve]) -> Iterable[tuple[NamedCurve, bool]]:
    """Each curve, and whether it is the first of its label, which stands in the legend for all."""
    seen: set[str] = set()
    for named in curves:
        yield named, named.label not in seen
        seen.add(named.label)


def _hover(named: NamedCurve, text: str) -> str:
    return f"{named.label}, run {named.run}<br>{text}<extra></extra>"


def _gapped(y: Values) -> Values:
    """``y`` with NaN for infinities: both are drawn as gaps, but an infinity would spoil the axis range."""
    return np.where(np.isfinite(y), y, np.nan)


def _x_of_steps(named: NamedCurve, axis: Axis) -> Values:
    if axis == "seconds":
        return named.curve.seconds
    return named.curve.step / (_steps_per_epoch(named) if axis == "epoch" else 1)


def _x_of_epochs(named: NamedCurve, axis: Axis) -> Values:
    return named.curve.epochs[axis].to_numpy(np.float64)


def _steps_per_epoch(named: NamedCurve) -> float:
    """From the last epoch that ended, else as given; NaN where neither is known, which draws nothing."""
    last = named.curve.epochs[["step", "epoch"]].tail(1).to_numpy(np.float64)
    if len(last) and last[0, 1] > 0:
        return float(last[0, 0] / last[0, 1])
    return named.steps_per_epoch or np.nan


def _loss_layout(axis: Axis, log: bool) -> dict[str, Any]:
    title = "Loss, log scale" if log else "Loss"
    layout = layout_of("Loss", "solid: training, dashed: validation", AXES[axis], title)
    # A zoom in steps means nothing in seconds, so each axis forgets its own.
    layout["xaxis"]["uirevision"] = axis
    layout["yaxis"] |= {
        "type": "log" if log else "linear",
        "dtick": "D2" if log else None,
        "tickformat": "~g",
        "uirevision": str(log),
    }
    return layout


def _rows_layout(arms: Sequence[Arm], name: MeasureName, subtitle: str | None) -> dict[str, Any]:
    """Rows of arms from top to bottom, their labels broken at commas to leave room on a phone."""
    measure = MEASURES[name]
    units = {"%": "percent", "s": "seconds", "images/s": "images per second", "": "number"}
    title = units.get(measure.unit, measure.unit)
    layout = layout_of(measure.title, subtitle, title, None, height=(150 if subtitle else 126) + 52 * len(arms))
    ticks = {"tickvals": list(range(len(arms))), "ticktext": [arm.label.replace(", ", "<br>") for arm in arms]}
    layout["yaxis"] |= {"range": [len(arms) - 0.5, -0.5], "showgrid": False, "fixedrange": True, **ticks}
    layout["xaxis"] |= {"nticks": 6, "showgrid": True, "tickformat": "~s" if measure.unit in ("bytes", "") else ""}
    # A row without a dot or bar would leave open whether the value is missing or off the page.
    layout["annotations"] = [
        {"x": 0, "xref": "paper", "xanchor": "left", "y": row, "showarrow": False, "text": text}
        for row, arm in enumerate(arms)
        if not np.isfinite(values := arm.values(name)).any()
        for text in ["not a number" if values else "none"]
    ]
    return layout
