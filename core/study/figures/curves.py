"""Figures of learning curves: the losses of runs, and the primary measure on target and source.

Colour encodes the setting and line style the data: solid for training, dashed with dots for validation, dotted with
squares for the source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from core.objectives.objective import ObjectiveSpec
from core.results.arm import Arm
from core.store.record import EPOCH_COLUMNS, Curve, Run
from core.study.figures.style import layout_of, plain, scatter

Axis = Literal["step", "epoch", "seconds"]
Values = NDArray[np.floating]

AXES: dict[Axis, str] = {"step": "Step", "epoch": "Epoch", "seconds": "Training time (s)"}
"""Possible horizontal axes of curves, with their titles."""

MAX_POINTS = 1_500
"""Maximum number of points of a drawn curve: about one per pixel of a wide screen."""

MAX_TOTAL_POINTS = 20_000
"""Maximum number of points of all lines of a figure together; with more, zooming gets slow."""

LIVE_POINTS = 400
"""Maximum number of points of a live line, which is sent every second: 200 peaks and 200 valleys."""

SMOOTHING = 0.9
"""Default weight of the past in lines of the training loss."""

FEW_EPOCHS = 12
"""Maximum number of epochs at which every epoch has a tick."""


@dataclass(frozen=True)
class NamedCurve:
    """The curve of a run, or the mean of several, with its label and colour."""

    key: str
    """Id of the run, or key of the arm."""
    label: str
    """Label of the arm; runs with the same label share a legend entry."""
    colour: str
    """Colour of the arm, ``#RRGGBB``."""
    curve: Curve
    name: str
    """What it is called where it is pointed at."""
    steps_per_epoch: float = np.nan
    """Converts steps to epochs before the first epoch has ended; later the curve itself is used."""

    @classmethod
    def of(cls, run: Run, label: str, colour: str, curve: Curve) -> NamedCurve:
        """That of a run."""
        return cls(run.id, label, colour, curve, f"{label}, run {run.id}", run.steps / run.spec.optim.epochs)

    def at_steps(self, axis: Axis) -> Values:
        """Where its steps are on an axis."""
        if axis == "seconds":
            return self.curve.seconds
        if axis == "step":
            return self.curve.step.astype(np.float64)
        last = self.curve.epochs[["step", "epoch"]].tail(1).to_numpy(np.float64)
        return self.curve.step / (last[0, 0] / last[0, 1] if len(last) and last[0, 1] else self.steps_per_epoch)

    def trace(self, part: str, mode: str, x: Values, y: Values, hover: str | None, **more: Any) -> dict[str, Any]:
        """A trace of a part of it. Infinities would spoil the range of the axis, and are gaps like NaN.

        Its legend group hides runs of a label together; its uid keeps them hidden when data changes.
        """
        text = None if hover is None else f"{self.name}<br>{hover}"
        y = np.where(np.isfinite(y), y, np.nan)
        more = {"legendgroup": self.label, "showlegend": False, "uid": f"{self.key}:{part}"} | more
        return scatter(mode, self.label, x, y, text, **more)


def loss_curves(
    curves: Sequence[NamedCurve], axis: Axis = "step", smoothing: float = SMOOTHING, log: bool = False
) -> go.Figure:
    """Draw training and validation loss of runs.

    Args:
        curves: one per run.
        axis: horizontal axis.
        smoothing: weight of the past in the training line, 0 to below 1; above 0, the raw line is drawn thin beneath.
        log: whether the loss axis is logarithmic.
    """
    return go.Figure(_losses(curves, axis, smoothing, log, MAX_POINTS))


def live_losses(curve: NamedCurve) -> dict[str, Any]:
    """Return the figure of :func:`loss_curves` of one run by step, as JSON values for ``Plotly.react``."""
    found: dict[str, Any] = plain(_losses([curve], "step", SMOOTHING, False, LIVE_POINTS))
    return found


def measure_curves(
    curves: Sequence[NamedCurve], axis: Axis, masked: bool, objective: ObjectiveSpec, subtitle: str = "validation parts"
) -> go.Figure:
    """Draw the primary measure on the target's validation part and, if it was measured, on the source below it.

    Args:
        curves: one per run, or means.
        axis: horizontal axis.
        masked: whether the source is judged among the outputs of its own classes.
        objective: of the runs.
        subtitle: how to read it.
    """
    measure = objective.primary
    number, on_source = measure.hover_text(), objective.on_source(masked)
    first = _first_of_each_label(curves)
    traces = [_by_epoch(each, axis, objective.validated, number, showlegend=each.key in first) for each in curves]
    source = [_by_epoch(each, axis, on_source, number, "dot", symbol="square", yaxis="y2") for each in curves]
    ends = zip(("clipmin", "clipmax"), measure.limits, strict=True)
    limits = {"autorangeoptions": {name: end for name, end in ends if np.isfinite(end)}}
    if not any(np.isfinite(trace["y"]).any() for trace in source):
        layout = layout_of(f"{measure.title} on the target", subtitle, AXES[axis], measure.axis)
        layout["yaxis"] |= limits
        return go.Figure(traces, layout)
    layout = layout_of(f"{measure.title} on target and source", subtitle, AXES[axis], None, height=520)
    shared = layout["yaxis"] | limits
    layout["yaxis"] = shared | {"domain": [0.54, 1], "title": {"text": f"Target{measure.unit_suffix}"}}
    layout["yaxis2"] = shared | {"domain": [0, 0.46], "title": {"text": f"Source{measure.unit_suffix}"}}
    layout["xaxis"]["anchor"] = "y2"
    return go.Figure([*traces, *source], layout)


def mean_epochs(curves: Sequence[Curve]) -> pd.DataFrame:
    """Return the mean of :attr:`Curve.epochs` over runs, with one row per epoch that all runs have completed."""
    shared = min((len(curve.epochs) for curve in curves), default=0)
    if not shared:
        return pd.DataFrame(columns=EPOCH_COLUMNS, dtype="float64")
    return pd.concat(curve.epochs.head(shared) for curve in curves).groupby("epoch", as_index=False).mean()


def mean_curves(
    arms: Sequence[Arm],
    curves: Mapping[str, Curve],
    colours: Mapping[str, str],
    masked: bool = False,
    axis: Axis = "epoch",
) -> go.Figure:
    """Draw the primary measure after each epoch, one line per arm: the mean of its seeds.

    Args:
        arms: those without curves are left out.
        curves: of their runs, by id.
        colours: of each arm, by key.
        masked: whether the source is judged among the outputs of its own classes.
        axis: horizontal axis.
    """
    found = [
        NamedCurve(arm.key, arm.label, colours[arm.key], Curve.of_epochs(table), arm.label)
        for arm in arms
        if len(table := mean_epochs([curves[run.id] for run in arm.runs if run.id in curves]))
    ]
    among = "; the source among its own classes" if masked else ""
    figure = measure_curves(found, axis, masked, arms[0].spec.objective, f"validation parts, mean of the seeds{among}")
    if axis == "epoch" and all(len(each.curve.epochs) <= FEW_EPOCHS for each in found):
        figure.update_xaxes(dtick=1)
    return figure


def _losses(curves: Sequence[NamedCurve], axis: Axis, smoothing: float, log: bool, most: int) -> dict[str, Any]:
    """Raw lines first, so that they are drawn beneath the smoothed ones, and validation last."""
    most = min(most, max(100, MAX_TOTAL_POINTS // max(1, len(curves))))
    raw, lines, crosses, first = [], [], [], _first_of_each_label(curves)
    for named in curves:
        x, loss, steps = named.at_steps(axis), named.curve.loss, named.curve.step
        if smoothing > 0:
            shown = thin(loss, most)
            style = {"line": {"color": named.colour, "width": 1}, "opacity": 0.25}
            raw.append(named.trace("raw", "lines", x[shown], loss[shown], None, **style))
        smoothed = smooth(loss, smoothing) if smoothing > 0 else loss
        shown = thin(smoothed, most)
        lines.append(
            named.trace(
                "training",
                "lines",
                x[shown],
                smoothed[shown],
                "training loss %{y:.4g}, step %{customdata}",
                customdata=steps[shown],
                showlegend=named.key in first,
                line={"color": named.colour, "width": 2},
            )
        )
        # A cross at the first step with a loss that is not finite, at the height of the last one that is.
        lost = np.flatnonzero(~np.isfinite(loss))[:1]
        if len(lost) and lost[0]:
            style = {"marker": {"color": named.colour, "symbol": "x", "size": 10}}
            said = f"loss not finite at step {steps[lost[0]]}"
            crosses.append(named.trace("diverged", "markers", x[lost], loss[lost - 1], said, **style))
    validated = [_by_epoch(named, axis, "validation_loss", "%{y:.4g}") for named in curves]
    title = "Loss, log scale" if log else "Loss"
    layout = layout_of("Loss", "solid: training, dashed: validation", AXES[axis], title)
    # A zoom in steps makes no sense in seconds, so changing the axis resets the zoom.
    layout["xaxis"]["uirevision"] = axis
    layout["yaxis"] |= {"tickformat": "~g", "uirevision": str(log)}
    layout["yaxis"] |= {"type": "log", "dtick": "D2"} if log else {"type": "linear"}
    return {"data": [*raw, *lines, *crosses, *validated], "layout": layout}


def _by_epoch(
    named: NamedCurve, axis: Axis, column: str, number: str, dash: str = "dash", symbol: str = "circle", **more: Any
) -> dict[str, Any]:
    """A line through a column of :attr:`Curve.epochs`, where it was measured."""
    epochs, measured = named.curve.epochs, named.curve.measured(column)
    known = np.flatnonzero(~np.isnan(measured))
    shown = known[thin(measured[known])]
    return named.trace(
        column,
        "lines+markers",
        epochs[axis].to_numpy(np.float64)[shown],
        measured[shown],
        f"{column.replace('_', ' ')} {number}, epoch %{{customdata}}",
        customdata=epochs["epoch"].to_numpy()[shown],
        line={"color": named.colour, "width": 1.5, "dash": dash},
        marker={"size": 6, "symbol": symbol},
        **more,
    )


def _first_of_each_label(curves: Sequence[NamedCurve]) -> set[str]:
    """Keys of the curves that stand for all of their label in the legend."""
    return set({named.label: named.key for named in reversed(curves)}.values())


def thin(y: Values, max_points: int = MAX_POINTS) -> NDArray[np.intp]:
    """Choose which points of a curve to draw, keeping spikes, gaps and both ends.

    Min–max thinning: the curve is split into segments with equally many points, and each segment keeps its lowest and
    highest finite value, so that the drawn line looks the same (Jugel et al., "M4", VLDB 2014). Where non-finite values
    lie between two kept points, one of them is kept too, so that no line crosses a gap.

    Args:
        y: (n,) values, in order.
        max_points: maximum number of points to keep, at least 7.

    Returns:
        Indices into ``y``, ascending; all of them if n ≤ ``max_points``.
    """
    n = len(y)
    if n <= max_points:
        return np.arange(n)
    finite = np.isfinite(y)
    # With gaps, each kept value may need another point for a gap.
    stretches = (max_points - 2) // 2 if finite.all() else (max_points - 3) // 4
    width = -(-n // stretches)
    kept = [np.array([0, n - 1])]
    for sign in (1, -1):
        segments = np.pad(np.where(finite, sign * y, np.inf), (0, -n % width), constant_values=np.inf)
        lowest = segments.reshape(-1, width).argmin(axis=1)
        kept.append(np.arange(len(lowest)) * width + lowest)
    chosen = np.unique(np.concatenate(kept))
    gaps = np.flatnonzero(~finite)
    # If a gap lies between two kept points, keep its first point.
    following = np.searchsorted(gaps, chosen[:-1], side="right")
    between = following[np.searchsorted(gaps, chosen[1:], side="left") > following]
    return np.unique(np.concatenate([chosen, gaps[between]]))


def smooth(y: Values, weight: float) -> NDArray[np.float64]:
    """Compute the exponential moving average with bias correction: s_t = w s_(t−1) + (1 − w) y_t, then s_t / (1 − w^t).

    The correction removes the bias of the first values towards zero (Kingma and Ba, "Adam", 2015, §3). Non-finite
    values are left unchanged, and the average restarts after them.

    Args:
        y: (n,) values, in order.
        weight: w, from 0 (no smoothing) to below 1.

    Returns:
        (n,) averages.
    """
    averaged = y.astype(np.float64)
    cuts = np.flatnonzero(np.diff(np.isfinite(averaged), prepend=False, append=False))
    for start, end in zip(cuts[::2], cuts[1::2], strict=True):
        # With adjust=True, pandas divides by the sum of the weights, which is the bias correction.
        averaged[start:end] = pd.Series(averaged[start:end]).ewm(alpha=1 - weight, adjust=True).mean()
    return averaged
