"""Figures of an experiment while it trains: one line per arm, the mean of its seeds, loss beside accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.numbers import counted
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.store.record import Curve
from core.study.figures.style import layout_of, plain
from core.study.figures.thinning import smooth, thin

Values = NDArray[np.floating]

SMOOTHING = 0.9
"""Weight of the past in the line of the training loss."""

MAX_POINTS = 6_000
"""Maximum number of points of all lines of a live figure together, which is sent every second."""

HEIGHT = 300
"""Height of a live figure in pixels."""


@dataclass(frozen=True)
class LiveArm:
    """An arm whose runs are queued, in training or have ended."""

    key: str
    """Unique among the arms of a figure."""
    label: str
    """Name of the arm."""
    group: str
    """Name of its method and rank. The arms of a group share a legend entry; its best arm so far is drawn bold."""
    colour: str
    """``#RRGGBB``, the same for all arms of a group."""
    curves: tuple[Curve, ...]
    """One per run that has begun."""
    steps_per_epoch: float
    objective: ObjectiveSpec = CLASSIFICATION

    def loss(self) -> tuple[Values, Values]:
        """Epochs and mean training loss by step, both of shape (steps,); NaN where no run has a finite loss."""
        mean = _mean([(curve.step - 1, curve.loss) for curve in self.curves])
        return (np.arange(len(mean)) + 1) / self.steps_per_epoch, mean

    def primary(self) -> tuple[Values, Values]:
        """Epochs and mean of the primary measure on the validation part, both of shape (epochs,)."""
        columns = [(c.epochs["epoch"].to_numpy() - 1, c.measured(self.objective.validated)) for c in self.curves]
        mean = _mean(columns)
        return np.arange(len(mean)) + 1.0, mean

    @cached_property
    def latest(self) -> float:
        """Mean of the latest value of the primary measure on the validation part; NaN before the first."""
        recorded = [curve.measured(self.objective.validated) for curve in self.curves]
        values = [values[-1] for values in recorded if len(values)]
        return float(np.mean(values)) if values else float("nan")


def live_loss(arms: Sequence[LiveArm]) -> dict[str, Any]:
    """Return the figure of the training loss by epoch, as JSON values for ``Plotly.react``."""
    return _figure(arms, "Training loss", {arm.key: _smoothed(arm) for arm in arms}, "%{y:.4g}")


def live_measure(arms: Sequence[LiveArm]) -> dict[str, Any]:
    """Return the figure of the primary measure on the validation part by epoch, as JSON values for ``Plotly.react``."""
    measure = arms[0].objective.primary if arms else CLASSIFICATION.primary
    title = f"Validation {measure.noun}{measure.unit_suffix}"
    return _figure(arms, title, {arm.key: arm.primary() for arm in arms}, measure.hover_text())


def _smoothed(arm: LiveArm) -> tuple[Values, Values]:
    x, loss = arm.loss()
    return x, smooth(loss, SMOOTHING)


def _figure(
    arms: Sequence[LiveArm], title: str, lines: dict[str, tuple[Values, Values]], number: str
) -> dict[str, Any]:
    best = _best_of_groups(arms)
    several = any(len(arm.curves) > 1 for arm in arms)
    subtitle = "mean of the seeds" if several else None
    if len(best) < sum(bool(arm.curves) for arm in arms):  # an arm that has not begun is not drawn
        subtitle = ", ".join(filter(None, [subtitle, "bold: best setting so far"]))
    points = max(50, MAX_POINTS // max(1, len(arms)))
    # The best arms last, so that they are drawn above the others.
    traces = [
        _trace(arm, *lines[arm.key], bold=arm.key in best, number=number, max_points=points)
        for arm in sorted(arms, key=lambda arm: arm.key in best)
        if arm.curves
    ]
    layout = layout_of(title, subtitle, "Epoch", None, height=HEIGHT)
    layout["yaxis"] |= {"tickformat": "~g", "range": _range([lines[key][1] for key in best])}
    layout["xaxis"] |= {"rangemode": "tozero"}
    return {"data": plain(traces), "layout": plain(layout)}


def _trace(arm: LiveArm, x: Values, y: Values, bold: bool, number: str, max_points: int) -> dict[str, Any]:
    shown = thin(y, max_points)
    seeds = counted(len(arm.curves), "seed")
    return {
        "type": "scatter",
        # An accuracy that was measured once is a point, which a line does not show.
        "mode": "lines+markers" if len(y) < 3 else "lines",
        "name": arm.group,
        "legendgroup": arm.group,
        "showlegend": bold,
        "uid": arm.key,
        "x": x[shown],
        "y": y[shown],
        "opacity": 1.0 if bold else 0.35,
        "line": {"color": arm.colour, "width": 2.5 if bold else 1},
        "hovertemplate": f"{arm.label}, {seeds}<br>{number} at epoch %{{x:.3g}}<extra></extra>",
    }


def _best_of_groups(arms: Sequence[LiveArm]) -> set[str]:
    """Keys of the arm of each group that is best on the validation part so far; of its first arm before that."""
    best: dict[str, LiveArm] = {}
    for arm in (arm for arm in arms if arm.curves):
        leader = best.setdefault(arm.group, arm)
        sign = arm.objective.primary.sign
        if sign * arm.latest > sign * leader.latest or np.isnan(leader.latest) > np.isnan(arm.latest):
            best[arm.group] = arm
    return {arm.key for arm in best.values()}


def _range(lines: Sequence[Values]) -> list[float] | None:
    """Range of an axis that holds these lines: a diverging setting must not flatten those that matter.

    It begins at 0 or above, as losses and accuracies do.
    """
    values = np.concatenate([np.zeros(0), *lines])
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = float(known.min()), float(known.max())
    room = 0.05 * (high - low) or 1.0
    return [max(0.0, low - room), high + room]


def _mean(lines: Sequence[tuple[NDArray[np.integer], Values]]) -> Values:
    """Mean at each place of lines that were recorded at some places; NaN where none is finite.

    Args:
        lines: places from 0, ascending, and values, of the same length.
    """
    length = max((int(at[-1]) + 1 for at, _ in lines if len(at)), default=0)
    total, count = np.zeros(length), np.zeros(length)
    for at, values in lines:
        finite = np.isfinite(values)
        total[at[finite]] += values[finite]
        count[at[finite]] += 1
    mean: Values = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean
