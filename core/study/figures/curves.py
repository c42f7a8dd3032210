"""Plotly figures of curves and arms, for light and dark pages; pure functions of the data.

Colour encodes the arm and line style the data: solid for training, dashed with dots for validation, dotted with
squares for the source. Text has no colour, so that it takes the colour of the page's theme.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.results.arm import Arm
from core.results.measures import Quantity, quantity, spread_text, value_text
from core.results.row import Row
from core.store.record import Curve, Run
from core.study.figures.palette import colours_of
from core.study.figures.style import layout_of, markers, plain, whiskers, within
from core.study.figures.thinning import MAX_POINTS, smooth, thin

Axis = Literal["step", "epoch", "seconds"]
Values = NDArray[np.floating]

AXES: dict[Axis, str] = {"step": "Step", "epoch": "Epoch", "seconds": "Training time (s)"}
"""Possible horizontal axes of curves, with their titles."""

MAX_TOTAL_POINTS = 20_000
"""Maximum number of points of all lines of a figure together; with more, zooming gets slow."""

LIVE_POINTS = 400
"""Maximum number of points of a live line, which is sent every second: 200 peaks and 200 valleys."""


@dataclass(frozen=True)
class NamedCurve:
    """The curve of a run, with its label and colour."""

    run: str
    """Id of the run."""
    label: str
    """Label of the arm; runs with the same label share a legend entry."""
    colour: str
    """Colour of the arm, ``#RRGGBB``."""
    curve: Curve
    steps_per_epoch: float | None = None
    """Converts steps to epochs before the first epoch has ended; later the curve itself is used."""

    @classmethod
    def of(cls, run: Run, label: str, colour: str, curve: Curve) -> NamedCurve:
        """That of a run."""
        return cls(run.id, label, colour, curve, run.steps / run.spec.optim.epochs)


def loss_curves(
    curves: Sequence[NamedCurve], axis: Axis = "step", smoothing: float = 0.9, log: bool = False
) -> go.Figure:
    """Draw training and validation loss of runs.

    Args:
        curves: one per run.
        axis: horizontal axis.
        smoothing: weight of the past in the training line, 0 to below 1; above 0, the raw line is drawn thin beneath.
        log: whether the loss axis is logarithmic.
    """
    return go.Figure(_loss_traces(curves, axis, smoothing), _loss_layout(axis, log))


def live_figure_data(
    curves: Sequence[NamedCurve], axis: Axis = "step", smoothing: float = 0.9, log: bool = False
) -> dict[str, Any]:
    """Return the figure of :func:`loss_curves` as JSON values for ``Plotly.react``.

    Args: see :func:`loss_curves`.

    Returns:
        Plotly's ``data`` and ``layout``; non-finite values are None, which Plotly draws as gaps.
    """
    traces = _loss_traces(curves, axis, smoothing, LIVE_POINTS)
    return {"data": plain(traces), "layout": plain(_loss_layout(axis, log))}


def measure_curves(
    curves: Sequence[NamedCurve],
    axis: Axis = "epoch",
    masked: bool = False,
    objective: ObjectiveSpec = CLASSIFICATION,
) -> go.Figure:
    """Draw the primary measure on the target's validation part and, if it was measured, on the source below it.

    Args:
        curves: one per run.
        axis: horizontal axis.
        masked: whether the source is judged among the outputs of its own classes.
        objective: of the runs.
    """
    measure = objective.primary
    unit, number = measure.unit_suffix, measure.hover_text()
    traces = _epoch_traces(curves, axis, objective.validated, "validation", legend=True, number=number)
    source = _epoch_traces(curves, axis, objective.on_source(masked), "source", legend=False, number=number)
    if not source:
        layout = layout_of(f"{measure.title} on the target", "validation part", AXES[axis], measure.axis)
        layout["yaxis"] |= within(measure.limits)
        return go.Figure(traces, layout)
    title = f"{measure.title} on target and source"
    layout = layout_of(title, "validation parts", AXES[axis], f"Target{unit}", height=520)
    layout["yaxis"] |= {"domain": [0.54, 1]} | within(measure.limits)
    layout["yaxis2"] = layout["yaxis"] | {"domain": [0, 0.46], "title": {"text": f"Source{unit}"}}
    layout["xaxis"]["anchor"] = "y2"
    return go.Figure([*traces, *(trace | {"yaxis": "y2"} for trace in source)], layout)


def arm_dots(
    arms: Sequence[Arm],
    name: str,
    colours: Mapping[str, str] | None = None,
    stopped: Iterable[Row] = (),
) -> go.Figure:
    """Draw one row per arm: one dot per run, and above them the mean with its 95 % interval.

    Args:
        arms: from top to bottom.
        name: of the quantity to draw; see :func:`core.results.measures.quantity`.
        colours: of each arm, by key; needed if only some arms of an experiment are drawn, to keep their colours.
        stopped: further rows of these arms, drawn as hollow dots; means are without them.
    """
    colours, what = colours or colours_of(arms), arms[0].what(name) if arms else quantity(name)
    traces: list[dict[str, Any]] = []
    has_stopped = False
    further = list(stopped)
    for line, arm in enumerate(arms):
        interval, colour = arm.interval(name), colours[arm.key]
        ended = tuple(row for row in further if row.setting.key == arm.key)
        early = replace(arm, rows=ended).by_seed(name) if ended else {}
        has_stopped = has_stopped or bool(early)
        circle: dict[str, Any] = {"symbol": "circle-open", "line": {"width": 2}}
        for by_seed, key, how, look in (
            (arm.by_seed(name), arm.key, "", {"opacity": 0.65}),
            (early, f"{arm.key}:stopped", ", stopped early", circle),
        ):
            if by_seed or not how:
                traces.append(
                    markers(
                        arm.label,
                        list(by_seed.values()),
                        np.full(len(by_seed), line + 0.14),
                        uid=key,
                        marker={"color": colour, "size": 9, **look},
                        text=[f"seed {seed}{how}: {value_text(what, value)}" for seed, value in by_seed.items()],
                        hovertemplate=f"{arm.label}, %{{text}}<extra></extra>",
                    )
                )
        # The mean of one run is the run itself; drawing it would make one seed look like a result.
        if interval.n > 1:
            traces.append(
                markers(
                    arm.label,
                    [interval.mean],
                    [line - 0.14],
                    uid=f"{arm.key}:mean",
                    marker={"color": colour, "size": 11, "symbol": "diamond"},
                    error_x=whiskers([interval], what) | {"color": colour, "thickness": 2, "width": 5},
                    hovertemplate=f"{arm.label}, mean of {interval.n} seeds, 95 % interval in brackets:"
                    f"<br>{spread_text(interval, what)}<extra></extra>",
                )
            )
    hollow = "; hollow: stopped early, not in the mean" if has_stopped else ""
    layout = _rows_layout(arms, what, f"dots: runs, diamond: mean with 95 % interval over seeds{hollow}")
    return go.Figure(traces, layout)


def chart_config(name: str) -> dict[str, Any]:
    """Return Plotly's options for a chart whose toolbar saves it as ``name.png``.

    The toolbar has few buttons, so that on a phone it does not cover the title: a chart is zoomed by dragging.
    """
    return {
        "displaylogo": False,
        "modeBarButtonsToRemove": ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "autoScale2d"],
        "toImageButtonOptions": {"filename": name, "scale": 2},
    }


def export_html(figure: go.Figure, name: str) -> bytes:
    """Return a self-contained HTML page with the figure; it includes plotly.js and works offline.

    Args:
        figure: what to draw.
        name: of the file, without its ending; the page's own toolbar saves ``name.png``.
    """
    page = go.Figure(figure)
    page.update_layout(template="plotly_white", paper_bgcolor="white", plot_bgcolor="white")
    config = chart_config(name) | {"responsive": True}
    html: str = page.to_html(full_html=True, include_plotlyjs=True, config=config, div_id="figure")
    return html.encode()


def _loss_traces(
    curves: Sequence[NamedCurve], axis: Axis, smoothing: float, max_points: int = MAX_POINTS
) -> list[dict[str, Any]]:
    """Return raw lines first, so that they are drawn beneath the smoothed ones, and validation last."""
    max_points = min(max_points, max(100, MAX_TOTAL_POINTS // max(1, len(curves))))
    raw, lines, crosses = [], [], []
    for named, first in _with_first_of_label(curves):
        loss: Values = named.curve.loss
        if smoothing > 0:
            faint = {"opacity": 0.25, "hoverinfo": "skip", "hovertemplate": None, "customdata": None}
            raw.append(_loss_line(named, axis, "raw", loss, max_points, width=1, legend=False) | faint)
            loss = smooth(loss, smoothing)
        lines.append(
            _loss_line(named, axis, "training", loss, max_points, width=2 if smoothing > 0 else 1.5, legend=first)
        )
        crosses += _diverged_trace(named, axis)
    return [*raw, *lines, *crosses, *_epoch_traces(curves, axis, "validation_loss", "validation", legend=False)]


def _loss_line(
    named: NamedCurve, axis: Axis, what: str, loss: Values, max_points: int, width: float, legend: bool
) -> dict[str, Any]:
    shown = thin(loss, max_points)
    trace = _trace(named, what, _x_of_steps(named, axis)[shown], _gapped(loss)[shown], legend)
    step, steps = ("x:d", None) if axis == "step" else ("customdata", named.curve.step[shown])
    return trace | {
        "mode": "lines",
        "line": {"color": named.colour, "width": width},
        "customdata": steps,
        "hovertemplate": _hover(named, f"training loss %{{y:.4g}}, step %{{{step}}}"),
    }


def _epoch_traces(
    curves: Sequence[NamedCurve], axis: Axis, column: str, what: str, legend: bool, number: str = "%{y:.4g}"
) -> list[dict[str, Any]]:
    """Return one dashed line per run through a column of :attr:`Curve.epochs`; nothing if no run has the column."""
    traces = []
    for named, first in _with_first_of_label(curves):
        epochs = named.curve.epochs
        measured = named.curve.measured(column)
        evaluated = np.flatnonzero(~np.isnan(measured))
        shown = evaluated[thin(measured[evaluated])]
        y = _gapped(measured)
        trace = _trace(named, what, epochs[axis].to_numpy(np.float64)[shown], y[shown], first and legend)
        dash, symbol = ("dot", "square") if what == "source" else ("dash", "circle")
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
    """Return a cross at the first step with a non-finite loss, at the height of the last finite one."""
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
    # The legend group hides runs of a label together; the uid keeps them hidden when data changes.
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
    """Yield each curve, and whether it is the first with its label, which represents all in the legend."""
    seen: set[str] = set()
    for named in curves:
        yield named, named.label not in seen
        seen.add(named.label)


def _hover(named: NamedCurve, text: str) -> str:
    return f"{named.label}, run {named.run}<br>{text}<extra></extra>"


def _gapped(y: Values) -> Values:
    """Replace infinities by NaN: both are drawn as gaps, but infinities would spoil the range of the axis."""
    return np.where(np.isfinite(y), y, np.nan)


def _x_of_steps(named: NamedCurve, axis: Axis) -> Values:
    if axis == "seconds":
        return named.curve.seconds
    return named.curve.step / (_steps_per_epoch(named) if axis == "epoch" else 1)


def _steps_per_epoch(named: NamedCurve) -> float:
    """Return steps per epoch from the last complete epoch, or as given; NaN, which draws nothing, if unknown."""
    last = named.curve.epochs[["step", "epoch"]].tail(1).to_numpy(np.float64)
    if len(last) and last[0, 1] > 0:
        return float(last[0, 0] / last[0, 1])
    return named.steps_per_epoch or np.nan


def _loss_layout(axis: Axis, log: bool) -> dict[str, Any]:
    title = "Loss, log scale" if log else "Loss"
    layout = layout_of("Loss", "solid: training, dashed: validation", AXES[axis], title)
    # A zoom in steps makes no sense in seconds, so changing the axis resets the zoom.
    layout["xaxis"]["uirevision"] = axis
    layout["yaxis"] |= {
        "type": "log" if log else "linear",
        "dtick": "D2" if log else None,
        "tickformat": "~g",
        "uirevision": str(log),
    }
    return layout


def _rows_layout(arms: Sequence[Arm], what: Quantity, subtitle: str | None) -> dict[str, Any]:
    """Return a layout with one row per arm; labels are wrapped at commas to save space on phones."""
    units = {"%": "percent", "s": "seconds", "examples/s": "examples per second"}
    title = units.get(what.unit, what.unit) or ("number" if what.measure is None else what.measure.noun)
    layout = layout_of(what.title, subtitle, title, None, height=(150 if subtitle else 126) + 52 * len(arms))
    ticks = {"tickvals": list(range(len(arms))), "ticktext": [arm.label.replace(", ", "<br>") for arm in arms]}
    layout["yaxis"] |= {"range": [len(arms) - 0.5, -0.5], "showgrid": False, "fixedrange": True, **ticks}
    layout["xaxis"] |= {
        "nticks": 6,
        "showgrid": True,
        "tickformat": "~s" if what.unit == "bytes" or (what.exact and not what.unit) else "",
    }
    # An empty row could be missing data or a value outside the axis, so say which.
    layout["annotations"] = [
        {"x": 0, "xref": "paper", "xanchor": "left", "y": row, "showarrow": False, "text": text}
        for row, arm in enumerate(arms)
        if not np.isfinite(values := arm.values(what.name)).any()
        for text in ["not a number" if values else "none"]
    ]
    return layout
