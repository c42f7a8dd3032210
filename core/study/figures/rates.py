"""Figures over ranks and learning rates, for light and dark pages; pure functions of all settings that were tried.

Full fine-tuning and each rank have the same colour in all figures. Settings are chosen by accuracy on the validation
part; results of chosen settings are accuracies on the test part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from core.methods.method import MethodSpec, Role
from core.results.arm import Arm, grouped, judged_by
from core.results.choice import best, is_adapter
from core.results.intervals import Interval
from core.results.measures import Quantity, bare_text, bounded, quantity, spread_text
from core.results.setting import order
from core.spec import bounds
from core.study.arms.rates import at_alpha, best_adapters, chosen
from core.study.figures.palette import FULL, NEUTRAL, colour_of, dash_of
from core.study.figures.style import SCALE, layout_of, markers, scatter, whiskers


def columns_of(arms: Iterable[Arm]) -> dict[str, str]:
    """Return the columns of a heat map: labels of methods and ranks in order, and what is written above each."""
    settings = {arm.setting.label: arm.setting for arm in sorted(arms, key=lambda arm: order(arm.setting))}
    several = len({each.method for each in settings.values() if each.role is Role.ADAPTER}) > 1
    ranks = {label: None if several else each.rank for label, each in settings.items()}
    return {label: label if rank is None else f"r={rank}" for label, rank in ranks.items()}


def has_map(arms: Sequence[Arm]) -> bool:
    """Whether several ranks were tried, each at several learning rates, so that a map says more than a curve."""
    tried = [arm for arm in at_alpha(arms, None) if arm.validation and is_adapter(arm)]
    sizes = {arm.setting.size for arm in tried if sum(arm.setting.label == other.setting.label for other in tried) > 1}
    return len(sizes) > 1


def rate_map(arms: Sequence[Arm], marked: Iterable[Arm | None] = ()) -> go.Figure:
    """Draw mean validation accuracy for each rank and learning rate as a heat map, each at its best alpha.

    Args:
        arms: all that were tried.
        marked: arms to frame.
    """
    shown = sorted(at_alpha(arms, None), key=lambda arm: order(arm.setting))
    columns = columns_of(shown)
    labels, rates = list(columns), sorted({arm.learning_rate for arm in shown})
    objective = judged_by(shown)
    what = quantity(objective.primary.name, objective)
    values = np.full((len(rates), len(labels)), np.nan)
    words, hovers = np.full(values.shape, "", dtype=object), np.full(values.shape, "", dtype=object)
    for arm in shown:
        place = rates.index(arm.learning_rate), labels.index(arm.setting.label)
        hovers[place] = "<br>".join(_lines(arm))
        words[place] = "✕" if arm.failed else ""
        if arm.validation:
            values[place] = arm.validated.mean
            words[place] = f"{bare_text(what, arm.validated.mean, 1)} {words[place]}".strip()
    # Times the sign, more is better in every measure, so that the cut-off is one for accuracies and losses.
    known = [what.sign * value for value in values[~np.isnan(values)]]
    ends = sorted(what.sign * end for end in (lowest_of_interest(known), max(known, default=math.nan)))
    heat = go.Heatmap(
        z=values,
        x=list(columns.values()),
        y=[f"{rate:g}" for rate in rates],
        text=words,
        texttemplate="%{text}",
        hovertext=hovers,
        hovertemplate="%{hovertext}<extra></extra>",
        colorscale=SCALE,
        reversescale=what.sign < 0,
        zmin=ends[0],
        zmax=ends[1],
        xgap=3,
        ygap=3,
        colorbar={"title": {"text": objective.primary.axis, "side": "right"}, "thickness": 12},
    )
    title = f"{objective.primary.title} by rank and learning rate"
    layout = layout_of(title, "validation part; framed: chosen", "", "Learning rate")
    layout["xaxis"] |= {"type": "category", "side": "bottom"}
    layout["yaxis"] |= {"type": "category"}
    layout["shapes"] = [_frame(arm, labels, rates) for arm in marked if arm is not None]
    return go.Figure([heat], layout)


def _frame(arm: Arm, labels: Sequence[str], rates: Sequence[float]) -> dict[str, Any]:
    """A frame around the tile of a setting, in the color of its method and rank."""
    column, row = labels.index(arm.setting.label), rates.index(arm.learning_rate)
    line = {"color": colour_of(arm.setting), "width": 4}
    span = {"x0": column - 0.5, "x1": column + 0.5, "y0": row - 0.5, "y1": row + 0.5}
    return {"type": "rect", "line": line, **span}


def _lines(arm: Arm) -> list[str]:
    """Describe an arm for the tooltip of a tile or point."""
    lines = [arm.label]
    if arm.validation:
        seeds = len({row.seed for row in arm.rows})
        lines.append(f"validation {spread_text(arm.validated, arm.what())}, {len(arm.validation)} of {seeds} seeds")
    if arm.failed:
        lines.append(f"{len(arm.failed)} failed")
    if not arm.validation and not arm.failed:
        lines.append("no result yet" if any(row.is_live for row in arm.rows) else "no result")
    return lines


def rate_curves(arms: Sequence[Arm]) -> go.Figure:
    """Draw validation accuracy over the learning rate: one line per rank, and one for full fine-tuning.

    Args:
        arms: all that were tried, of which each point shows the best alpha.
    """
    known = sorted((arm for arm in at_alpha(arms, None) if arm.validation), key=lambda arm: order(arm.setting))
    traces = []
    for name, members in grouped(known, lambda arm: arm.setting.label).items():
        members.sort(key=lambda arm: arm.learning_rate)
        first, setting = best(members), members[0].setting
        intervals = [arm.validated for arm in members]
        traces.append(
            scatter(
                "lines+markers",
                name,
                np.array([arm.learning_rate for arm in members]),
                np.array([i.mean for i in intervals]),
                "%{hovertext}",
                uid=name,
                line={
                    "color": colour_of(setting),
                    "width": 2 if setting.role is Role.ADAPTER else 3,
                    "dash": dash_of(setting),
                },
                error_y=_bars(intervals, members[0].what(), colour_of(setting)),
                marker={
                    "size": [13 if arm is first else 6 for arm in members],
                    "symbol": ["star" if arm is first else "circle" for arm in members],
                },
                hovertext=["<br>".join(_lines(arm)) for arm in members],
            )
        )
    measure = judged_by(arms).primary
    means = [measure.sign * arm.validated.mean for arm in known]
    low, high = lowest_of_interest(means), max(means, default=math.nan)
    cut = bool(means) and low > min(means)
    side = "lower" if measure.higher_is_better else "higher"
    reading = "validation part; best alpha for each point; star: best" + f"; {side} values are cut off" * cut
    layout = layout_of(f"{measure.title} over the learning rate", reading, "Learning rate, log scale", measure.axis)
    layout["xaxis"] |= _rate_axis({arm.learning_rate for arm in known})
    if cut:
        ends = (low - 0.05 * (high - low), high + 0.15 * (high - low))
        layout["yaxis"]["range"] = sorted(measure.sign * end for end in ends)
    return go.Figure(traces, layout)


def size_titles(arms: Iterable[Arm]) -> list[str]:
    """What the sizes of the adapter methods are called, each once, as in ``Rank``."""
    return list(dict.fromkeys(filter(None, map(_size_title, arms))))


def _size_title(arm: Arm) -> str:
    method = arm.spec.method
    return bounds(type(method), method.size_field).title if method.size_field else ""


def size_curve(arms: Sequence[Arm], title: str = "Rank") -> go.Figure:
    """Draw test accuracy over a size, with settings chosen on validation, and full fine-tuning as reference.

    Args:
        arms: all that were tried.
        title: of the size, one of :func:`size_titles`; adapters with another size, or none, are left out.
    """
    (full, _), traces = chosen(arms), list[dict[str, Any]]()
    by_method: dict[type[MethodSpec], dict[int, Arm]] = {}
    for arm in best_adapters(arms).values():
        if _size_title(arm) == title:
            by_method.setdefault(type(arm.spec.method), {})[arm.spec.method.size] = arm
    ranks = sorted({rank for own in by_method.values() for rank in own})
    if full is not None and ranks:
        traces += _reference(full, ranks[0] / 1.5, ranks[-1] * 1.5)
    for method, own in by_method.items():
        means = np.array([arm.tested.mean for arm in own.values()])
        traces.append(_line(method.short, np.array(list(own), dtype=np.float64), means))
        for rank, arm in own.items():
            traces += _dots_and_mean(arm, rank)
    measure = judged_by(arms).primary
    layout = layout_of(
        f"{measure.title} over the {title.lower()}",
        "test part; settings chosen on validation; diamond: mean with 95 % interval",
        title,
        measure.axis,
    )
    layout["xaxis"] |= _log_axis(ranks) | {"tickvals": ranks, "ticktext": [str(rank) for rank in ranks]}
    return go.Figure(traces, layout)


def _reference(full: Arm, left: float, right: float) -> list[dict[str, Any]]:
    """Return full fine-tuning as a line from ``left`` to ``right``, with a band for its 95 % interval."""
    interval, ends = bounded(full.tested, full.what()), np.array([left, right])
    line = scatter(
        "lines",
        "Full",
        ends,
        np.full(2, interval.mean),
        f"{full.label}<br>test {spread_text(interval, full.what())}",
        line={"color": FULL, "width": 2, "dash": "dash"},
        legendgroup="Full",
        showlegend=True,
    )
    if interval.n < 2:
        return [line]
    band = scatter(
        "lines",
        "Full, 95 % interval",
        np.r_[ends, ends[::-1]],
        np.r_[np.full(2, interval.low), np.full(2, interval.high)],
        None,
        fill="toself",
        fillcolor=FULL,
        opacity=0.2,
        line={"width": 0},
        legendgroup="Full",
        showlegend=False,
    )
    return [band, line]


def lowest_of_interest(values: Sequence[float]) -> float:
    """Return the lower end of a scale on which more is better, such that one bad setting does not make all others look
    alike.

    It lies below the median by three times the distance of the best value above it, but not below the lowest value.
    """
    if not values:
        return math.nan
    middle, high = float(np.median(values)), max(values)
    return max(min(values), middle - 3 * (high - middle)) if high > middle else min(values)


def _dots_and_mean(arm: Arm, rank: int) -> list[dict[str, Any]]:
    """The runs of an arm a little to the left of its rank, and their mean to the right."""
    interval, values, colour = arm.tested, arm.finished_only.values(arm.primary), colour_of(arm.setting)
    dots = markers(
        None,
        np.full(len(values), rank * 0.96),
        values,
        marker={"color": colour, "size": 8, "opacity": 0.6},
        text=[f"seed {seed}: {arm.setting.objective.primary.text(row.value)}" for seed, row in arm.finished.items()],
        hovertemplate=f"{arm.label}<br>%{{text}}<extra></extra>",
    )
    # The mean of one run is the run itself; drawing it would make one seed look like a result.
    if interval.n < 2:
        return [dots]
    span = f"{spread_text(interval, arm.what())}, {interval.n} seeds"
    mean = markers(
        None,
        [rank * 1.04],
        [interval.mean],
        error_y=_bars([interval], arm.what(), colour),
        marker={"color": colour, "size": 11, "symbol": "diamond"},
        hovertemplate=f"{arm.label}<br>test {span}<extra></extra>",
    )
    return [dots, mean]


def _line(name: str, x: Any, y: Any, shape: str = "linear") -> dict[str, Any]:
    return scatter("lines", name, x, y, None, showlegend=True, line={"color": NEUTRAL, "width": 2, "shape": shape})


def _bars(intervals: Sequence[Interval], what: Quantity, colour: str) -> dict[str, Any]:
    return whiskers(intervals, what) | {"color": colour, "thickness": 1.2, "width": 3}


def _rate_axis(rates: Iterable[float]) -> dict[str, Any]:
    """Return a logarithmic axis with ticks at powers of ten, or at the rates if fewer than two powers fit."""
    values = sorted(rates)
    powers = [10.0**power for power in range(-9, 1) if values and values[0] <= 10.0**power * 1.001 <= values[-1] * 1.01]
    ticks = powers if len(powers) > 1 else values
    return _log_axis(values) | {"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def _log_axis(values: Sequence[float]) -> dict[str, Any]:
    """Return a logarithmic axis with a margin around the values, even if there is only one."""
    if not values:
        return {}
    return {"type": "log", "range": [math.log10(min(values) / 1.6), math.log10(max(values) * 1.6)]}
