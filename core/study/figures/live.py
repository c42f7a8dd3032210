"""Figures of an experiment while it trains: one line per arm, the mean of its seeds, loss beside accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.numbers import NOTHING, counted, listed
from core.results.arm import Arm, judged_by
from core.results.choice import compared_among, winners
from core.store.record import UNFINISHED, Curve, Run, is_under_way
from core.study.figures.palette import colour_of
from core.study.figures.style import layout_of, plain, scatter
from core.study.figures.thinning import smooth, thin

Values = NDArray[np.floating]

SMOOTHING = 0.9
"""Weight of the past in the line of the training loss."""

MAX_POINTS = 6_000
"""Maximum number of points of all lines of a live figure together, which is sent every second."""

MAX_OF_LINE = 1_000
"""Maximum number of points of one line: two per pixel of a chart beside another one, its lowest and its highest."""

DIFFERING = {"lr": "learning rates", "epochs": "numbers of epochs"}
"""What the subtitle calls values of what settings usually differ in, by :attr:`core.results.arm.Arm.differing`."""

HEIGHT = 300
"""Height of a live figure in pixels."""


def live_loss(arms: Sequence[Arm], curves: Mapping[str, Curve]) -> dict[str, Any]:
    """Return the figure of the training loss by epoch, as JSON values for ``Plotly.react``.

    Args:
        arms: with runs in any state.
        curves: of the runs that have begun, by run id.
    """
    lines = {arm.key: mean_loss(arm, curves) for arm in arms}
    smoothed = {key: (x, smooth(loss, SMOOTHING)) for key, (x, loss) in lines.items()}
    return _figure(arms, curves, "Training loss", smoothed, "%{y:.4g}", (0.0, math.inf))


def live_measure(arms: Sequence[Arm], curves: Mapping[str, Curve]) -> dict[str, Any]:
    """Return the figure of the primary measure on the validation part by epoch. Args: see :func:`live_loss`."""
    measure = judged_by(arms).primary
    title = f"Validation {measure.noun}{measure.unit_suffix}"
    lines = {arm.key: mean_measure(arm, curves) for arm in arms}
    return _figure(arms, curves, title, lines, measure.hover_text(), measure.limits)


def mean_loss(arm: Arm, curves: Mapping[str, Curve]) -> tuple[Values, Values]:
    """Epochs and mean training loss by step, both of shape (steps,); NaN where no run has a finite loss."""
    mean = _mean([(curve.step - 1, curve.loss) for curve in _curves(arm, curves)])
    steps = next((run.steps for run in arm.runs if run.steps), 1)
    return (np.arange(len(mean)) + 1) / (steps / arm.setting.epochs), mean


def mean_measure(arm: Arm, curves: Mapping[str, Curve]) -> tuple[Values, Values]:
    """Epochs and mean of the primary measure on the validation part, both of shape (evaluated epochs,)."""
    name = arm.setting.objective.validated
    mean = _mean([(curve.epochs["epoch"].to_numpy() - 1, curve.measured(name)) for curve in _curves(arm, curves)])
    known = ~np.isnan(mean)
    return np.flatnonzero(known) + 1.0, mean[known]


def latest(arm: Arm, curves: Mapping[str, Curve]) -> float:
    """Mean of the latest value of the primary measure on the validation part, over the seeds that have finished, before
    that over those of its line; NaN before the first.
    """
    values = _latest(arm, curves)
    return float(np.mean(values)) if values else float("nan")


def latest_text(arm: Arm, curves: Mapping[str, Curve]) -> str:
    """The same with the number of seeds that are in it, as in ``89.10 % (2 seeds)``; a dash before the first."""
    values, runs = _latest(arm, curves), _counted(arm, curves)
    if not values:
        return NOTHING
    stage = "" if any(run.state == "finished" for run in runs) else " so far" if _is_going([arm]) else ", broken off"
    return f"{arm.setting.objective.primary.text(latest(arm, curves))} ({counted(len(values), 'seed')}{stage})"


def _latest(arm: Arm, curves: Mapping[str, Curve]) -> list[float]:
    runs = _counted(arm, curves)
    ended = [run for run in runs if run.state == "finished"]
    recorded = [curves[run.id].measured(arm.setting.objective.validated) for run in ended or runs]
    return [float(known[-1]) for values in recorded if len(known := values[~np.isnan(values)])]


def _counted(arm: Arm, curves: Mapping[str, Curve]) -> list[Run]:
    """The runs of a mean that have begun: one that broke off learned less than the others, and counts only where no
    other one has begun.
    """
    begun = [run for run in arm.runs if run.id in curves]
    return [run for run in begun if run.state not in UNFINISHED] or begun


def _curves(arm: Arm, curves: Mapping[str, Curve]) -> list[Curve]:
    return [curves[run.id] for run in _counted(arm, curves)]


def _figure(
    arms: Sequence[Arm],
    curves: Mapping[str, Curve],
    title: str,
    lines: Mapping[str, tuple[Values, Values]],
    number: str,
    limits: tuple[float, float],
) -> dict[str, Any]:
    seeds = {arm.key: len(own) for arm in arms if (own := _counted(arm, curves))}  # others are not drawn
    best = _best_of_groups([arm for arm in arms if arm.key in seeds], curves)
    left_out = sum(run.id in curves for arm in arms for run in arm.runs) > sum(seeds.values())
    subtitle = "mean of the seeds" if left_out or max(seeds.values(), default=0) > 1 else None
    if left_out:
        subtitle = f"{subtitle}, without runs that broke off"
    if len(best) < len(seeds):
        so_far = " so far" if _is_going(arms) else ""
        subtitle = "; ".join(filter(None, [subtitle, f"bold: best on validation{so_far}", f"thin: {_thin(arms)}"]))
    points = max(50, min(MAX_OF_LINE, MAX_POINTS // max(1, len(arms))))
    # The best arms last, so that they are drawn above the others.
    traces = [
        _trace(arm, *lines[arm.key], seeds[arm.key], best, number=number, max_points=points)
        for arm in sorted(arms, key=lambda arm: arm.key in best)
        if arm.key in seeds
    ]
    layout = layout_of(title, subtitle, "Epoch", None, height=HEIGHT)
    # Thinning keeps the lowest and the highest value of a line.
    drawn = [trace["y"] for trace in traces if trace["uid"] in best]
    layout["yaxis"] |= {"tickformat": "~g", "range": _range(drawn, limits)}
    layout["xaxis"] |= {"rangemode": "tozero"}
    if layout["yaxis"]["range"] is None:  # before the first point Plotly would number its axes from -1
        layout["yaxis"] |= {"range": [0.0, 1.0], "showticklabels": False}
        layout["xaxis"] |= {"range": [0, max((arm.setting.epochs for arm in arms), default=1)]}
    return {"data": plain(traces), "layout": plain(layout)}


def _trace(arm: Arm, x: Values, y: Values, seeds: int, best: set[str], number: str, max_points: int) -> dict[str, Any]:
    shown, bold = thin(y, max_points), arm.key in best
    # A legend of one entry says nothing, and takes a third of the time of drawing.
    in_legend = bold and len(best) > 1
    return scatter(
        # An accuracy that was measured once is a point, which a line does not show.
        "lines+markers" if len(y) < 3 else "lines",
        arm.setting.label,
        x[shown],
        y[shown],
        f"{arm.label}, {counted(seeds, 'seed')}<br>{number} at epoch %{{x:.3g}}",
        legendgroup=arm.setting.label,
        showlegend=in_legend,
        uid=arm.key,
        opacity=1.0 if bold else 0.35,
        line={"color": colour_of(arm.setting), "width": 2.5 if bold else 1},
    )


def _thin(arms: Sequence[Arm]) -> str:
    """In what settings differ from the best one of their method and rank."""
    names = {name for arm in arms for name in arm.differing}
    known = [words for name, words in DIFFERING.items() if name in names]
    return f"other {listed(known if len(known) == len(names) else ['settings'])}"


def _is_going(arms: Sequence[Arm]) -> bool:
    return is_under_way(run for arm in arms for run in arm.runs)


def _best_of_groups(arms: Sequence[Arm], curves: Mapping[str, Curve]) -> set[str]:
    """Keys of the arm of each method and rank that is best on the validation part so far; of its first arm before that.

    The arms of a method and rank share a legend entry; the best one is drawn bold. It is one of those that an answer
    would compare now, of one number of epochs for all, and once all runs have ended the one that was chosen.
    """
    compared = compared_among(arms)
    usable = {arm.key for group in compared for arm in (group if _is_going(arms) else winners(group))}
    best: dict[str, tuple[tuple[bool, bool, float], str]] = {}
    for arm in arms:
        worth = arm.setting.objective.primary.sign * latest(arm, curves)
        rank = arm.key in usable, not math.isnan(worth), 0.0 if math.isnan(worth) else worth
        leader, _ = best.setdefault(arm.setting.label, (rank, arm.key))
        if rank > leader:
            best[arm.setting.label] = rank, arm.key
    return {key for _, key in best.values()}


def _range(lines: Sequence[Values], limits: tuple[float, float]) -> list[float] | None:
    """Range of an axis that holds these lines: a diverging setting must not flatten those that matter."""
    values = np.concatenate([np.zeros(0), *lines])
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = float(known.min()), float(known.max())
    room = 0.05 * (high - low) or 1.0
    return [max(limits[0], low - room), min(limits[1], high + room)]


def _mean(lines: Sequence[tuple[NDArray[np.integer], Values]]) -> Values:
    """Mean at each place of lines that were recorded at some places, ascending from 0; NaN where none is finite."""
    length = max((int(at[-1]) + 1 for at, _ in lines if len(at)), default=0)
    total, count = np.zeros(length), np.zeros(length)
    for at, values in lines:
        finite = np.isfinite(values)
        # As a slice where no place is left out: a line of 300,000 steps is read with each update.
        whole = len(at) and at[-1] - at[0] + 1 == len(at)
        places: Any = slice(at[0], at[-1] + 1) if whole else at
        total[places] += np.where(finite, values, 0.0)
        count[places] += finite
    mean: Values = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean
