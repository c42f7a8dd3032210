"""Figures of an experiment while it trains: one line per arm, the mean of its seeds, loss beside accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.numbers import NOTHING, counted
from core.results.arm import Arm, judged_by
from core.results.choice import compared_among, winners
from core.store.record import UNFINISHED, Curve, Run, is_under_way
from core.study.figures.curves import SMOOTHING, smooth, thin
from core.study.figures.palette import colour_of
from core.study.figures.style import layout_of, plain, scatter

Values = NDArray[np.floating]
Curves = Mapping[str, Curve]
"""The curve of each run that has begun, by its id."""

MAX_POINTS = 6_000
"""Maximum number of points of all lines of a live figure together, which is sent every second."""

MAX_OF_LINE = 1_000
"""Maximum number of points of one line: two per pixel of a chart beside another one, its lowest and its highest."""


def live_loss(arms: Sequence[Arm], curves: Curves) -> dict[str, Any]:
    """Return the figure of the training loss by epoch, as JSON values for ``Plotly.react``.

    Args:
        arms: with runs in any state.
        curves: of the runs that have begun, by run id.
    """
    lines = {arm.key: mean_loss(arm, curves) for arm in arms}
    smoothed = {key: (x, smooth(loss, SMOOTHING)) for key, (x, loss) in lines.items()}
    return _figure(arms, curves, "Training loss", smoothed, "%{y:.4g}", (0.0, math.inf))


def live_measure(arms: Sequence[Arm], curves: Curves) -> dict[str, Any]:
    """Return the figure of the primary measure on the validation part by epoch. Args: see :func:`live_loss`."""
    measure = judged_by(arms).primary
    title = f"Validation {measure.noun}{measure.unit_suffix}"
    lines = {arm.key: mean_measure(arm, curves) for arm in arms}
    return _figure(arms, curves, title, lines, measure.hover_text(), measure.limits)


def mean_loss(arm: Arm, curves: Curves) -> tuple[Values, Values]:
    """Epochs and mean training loss by step, both of shape (steps,); NaN where no run has a finite loss."""
    own = [curves[run.id] for run in _counted(arm, curves)]
    losses = np.full((len(own), max((int(each.step[-1]) for each in own if len(each.step)), default=0)), np.nan)
    for row, each in zip(losses, own, strict=True):
        row[each.step - 1] = np.where(np.isfinite(each.loss), each.loss, np.nan)
    with np.errstate(invalid="ignore"):
        mean: Values = np.nansum(losses, axis=0) / np.isfinite(losses).sum(axis=0)
    steps = next((run.steps for run in arm.runs if run.steps), 1)
    return (np.arange(len(mean)) + 1) / (steps / arm.setting.epochs), mean


def mean_measure(arm: Arm, curves: Curves) -> tuple[Values, Values]:
    """Epochs and mean of the primary measure on the validation part, both of shape (evaluated epochs,)."""
    name = arm.setting.objective.validated
    own = [curves[run.id] for run in _counted(arm, curves)]
    values = [pd.Series(each.measured(name), each.epochs["epoch"], dtype="float64") for each in own]
    known = [each[np.isfinite(each)] for each in values]
    mean = pd.concat(known).groupby(level=0).mean() if known else pd.Series(dtype="float64")
    return mean.index.to_numpy(np.float64), mean.to_numpy()


def latest(arm: Arm, curves: Curves) -> list[float]:
    """Latest value of the primary measure on the validation part of each seed that has finished, before that of each
    one in its line.
    """
    runs = _counted(arm, curves)
    ended = [run for run in runs if run.state == "finished"]
    recorded = [curves[run.id].measured(arm.setting.objective.validated) for run in ended or runs]
    return [float(known[-1]) for values in recorded if len(known := values[~np.isnan(values)])]


def latest_text(arm: Arm, curves: Curves) -> str:
    """The mean of :func:`latest` and its number of seeds, as in ``89.10 % (2 seeds)``; a dash before the first."""
    values, runs = latest(arm, curves), _counted(arm, curves)
    if not values:
        return NOTHING
    stage = "" if any(run.state == "finished" for run in runs) else " so far" if _is_going([arm]) else ", broken off"
    return f"{arm.setting.objective.primary.text(float(np.mean(values)))} ({counted(len(values), 'seed')}{stage})"


def _counted(arm: Arm, curves: Curves) -> list[Run]:
    """The runs of a mean that have begun: one that broke off learned less than the others, and counts only where no
    other one has begun.
    """
    begun = [run for run in arm.runs if run.id in curves]
    return [run for run in begun if run.state not in UNFINISHED] or begun


def _figure(
    arms: Sequence[Arm],
    curves: Curves,
    title: str,
    lines: Mapping[str, tuple[Values, Values]],
    number: str,
    limits: tuple[float, float],
) -> dict[str, Any]:
    drawn = [arm for arm in arms if _counted(arm, curves)]
    seeds = {arm.key: len(_counted(arm, curves)) for arm in drawn}
    best = _best_of_groups(drawn, curves)
    left_out = sum(run.id in curves for arm in arms for run in arm.runs) > sum(seeds.values())
    words = ["mean of the seeds"] if left_out or max(seeds.values(), default=0) > 1 else []
    words += ["without runs that broke off"] if left_out else []
    words += [f"bold: best on validation{' so far' * _is_going(arms)}"] if len(best) < len(drawn) else []
    layout = layout_of(title, "; ".join(words) or None, "Epoch", None, height=300)
    layout["yaxis"] |= {"tickformat": "~g"}
    layout["xaxis"] |= {"rangemode": "tozero"}
    # A diverging setting must not flatten those that matter.
    values = np.concatenate([np.zeros(0), *(lines[key][1] for key in best)])
    if len(known := values[np.isfinite(values)]):
        low, high = float(known.min()), float(known.max())
        room = 0.05 * (high - low) or 1.0
        layout["yaxis"] |= {"range": [max(limits[0], low - room), min(limits[1], high + room)]}
    else:  # before the first point Plotly would number its axes from -1
        layout["yaxis"] |= {"range": [0.0, 1.0], "showticklabels": False}
        layout["xaxis"] |= {"range": [0, max((arm.setting.epochs for arm in arms), default=1)]}
    most, traces = max(50, min(MAX_OF_LINE, MAX_POINTS // max(1, len(arms)))), []
    for arm in sorted(drawn, key=lambda arm: arm.key in best):  # the best ones last, and above the others
        (x, y), bold = lines[arm.key], arm.key in best
        shown = thin(y, most)
        traces.append(
            scatter(
                # An accuracy that was measured once is a point, which a line does not show.
                "lines+markers" if len(y) < 3 else "lines",
                arm.setting.label,
                x[shown],
                y[shown],
                f"{arm.label}, {counted(seeds[arm.key], 'seed')}<br>{number} at epoch %{{x:.3g}}",
                legendgroup=arm.setting.label,
                # A legend of one entry says nothing, and takes a third of the time of drawing.
                showlegend=bold and len(best) > 1,
                uid=arm.key,
                opacity=1.0 if bold else 0.35,
                line={"color": colour_of(arm.setting), "width": 2.5 if bold else 1},
            )
        )
    return {"data": plain(traces), "layout": plain(layout)}


def _is_going(arms: Sequence[Arm]) -> bool:
    return is_under_way(run for arm in arms for run in arm.runs)


def _best_of_groups(arms: Sequence[Arm], curves: Curves) -> set[str]:
    """Keys of the arm of each method and rank that is best on the validation part so far; of its first arm before that.

    The arms of a method and rank share a legend entry; the best one is drawn bold. It is one of those that an answer
    would compare now, of one number of epochs for all, and once all runs have ended the one that was chosen.
    """
    compared = compared_among(arms)
    usable = {arm.key for group in compared for arm in (group if _is_going(arms) else winners(group))}
    best: dict[str, tuple[tuple[bool, float], str]] = {}
    for arm in arms:
        values = latest(arm, curves)
        worth = arm.setting.objective.primary.sign * float(np.mean(values)) if values else -math.inf
        rank = arm.key in usable, worth
        if arm.setting.label not in best or rank > best[arm.setting.label][0]:
            best[arm.setting.label] = rank, arm.key
    return {key for _, key in best.values()}
