"""Figures of a sweep, for light and dark pages; pure functions of its cells.

Full fine-tuning and each rank have the same colour in all figures. Settings are chosen by accuracy on the validation
part; results of chosen settings are accuracies on the test part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from core.methods.method import MethodSpec, Role
from core.numbers import count_text
from core.spec import bounds
from core.study.arms.arm import arm_order
from core.study.arms.judged import judged_by
from core.study.arms.sweep import Cell, at_alpha, best_adapters, best_of, chosen, on_front
from core.study.figures.heat_map import SCALE, HeatMap, Tile, ink_on
from core.study.figures.palette import FULL, NEUTRAL, colour_of, dash_of
from core.study.figures.style import layout_of, log_ticks, whiskers
from core.study.stats.intervals import Interval
from core.study.stats.measures import Quantity, bare_text, bounded, quantity, spread_text, value_text


def columns_of(cells: Iterable[Cell]) -> dict[str, str]:
    """Return the columns of a heat map: labels of methods and ranks in order, and what is written above each."""
    specs = {cell.spec.label: cell.spec for cell in sorted(cells, key=lambda cell: arm_order(cell.spec))}
    several = len({spec.kind for spec in specs.values() if spec.role is Role.ADAPTER}) > 1
    ranks = {label: None if several else spec.method.inner_rank for label, spec in specs.items()}
    return {label: label if rank is None else f"r={rank}" for label, rank in ranks.items()}


def heat_map(cells: Sequence[Cell], alpha: float | None = None, marked: Iterable[Cell | None] = ()) -> HeatMap:
    """Return mean validation accuracy, over finished seeds, for each rank and learning rate.

    Args:
        cells: of a sweep.
        alpha: alpha of the adapters to show; None shows the best alpha for each tile.
        marked: cells to frame in the colour of their method and rank.
    """
    columns = columns_of(at_alpha(cells, alpha))
    places = {label: place for place, label in enumerate(columns)}
    shown = sorted(at_alpha(cells, alpha), key=lambda cell: (-cell.learning_rate, places[cell.spec.label]))
    rates = sorted({cell.learning_rate for cell in shown})
    what = _what(shown)
    # Times the sign, more is better in every measure: colors and the cut-off are the same for accuracies and losses.
    values = [what.sign * cell.validated.mean for cell in shown if cell.validation]
    low, high = lowest_of_interest(values), max(values, default=math.nan)
    beyond = ("≤ " if what.sign > 0 else "≥ ") if values and low > min(values) else ""
    framed = {cell.key: colour_of(cell.spec) for cell in marked if cell is not None}
    shares = np.clip([(value - low) / (high - low) if high > low else 1.0 for value in values], 0, 1)
    colours = dict(zip((cell.key for cell in shown if cell.validation), sample_colorscale(SCALE, shares), strict=True))
    tiles = tuple(_tile(cell, places, rates, colours.get(cell.key), framed.get(cell.key)) for cell in shown)
    return HeatMap(
        columns=tuple(columns.values()),
        rows=tuple(f"{rate:g}" for rate in rates),
        tiles=tiles,
        scale=tuple(sample_colorscale(SCALE, 9)),
        low=beyond + value_text(what, what.sign * low, 1) if values else "",
        high=value_text(what, what.sign * high, 1) if values else "",
    )


def _tile(cell: Cell, places: Mapping[str, int], rates: list[float], colour: str | None, frame: str | None) -> Tile:
    # The scale has the unit.
    words = [bare_text(cell.what, cell.validated.mean, 1) if colour else "", "✕" if cell.failed else ""]
    return Tile(
        places[cell.spec.label],
        rates.index(cell.learning_rate),
        cell.key,
        " ".join(filter(None, words)),
        ", ".join(_lines(cell)),
        colour,
        ink_on(colour) if colour else None,
        frame,
    )


def _lines(cell: Cell) -> list[str]:
    """Describe a cell for the tooltip of a tile or point."""
    lines = [cell.label]
    if cell.validation:
        seeds = len({run.spec.seed for run in cell.runs})
        lines.append(f"validation {spread_text(cell.validated, cell.what)}, {len(cell.validation)} of {seeds} seeds")
    if cell.failed:
        lines.append(f"{cell.failed} failed")
    if not cell.validation and not cell.failed:
        lines.append("no result yet" if any(run.is_live for run in cell.runs) else "no result")
    return lines


def rate_curves(cells: Sequence[Cell], alpha: float | None = None) -> go.Figure:
    """Draw validation accuracy over the learning rate: one line per rank, and one for full fine-tuning.

    Args: see :func:`heat_map`.
    """
    groups = dict[str, list[Cell]]()
    for cell in sorted(at_alpha(cells, alpha), key=lambda cell: arm_order(cell.spec)):
        if cell.validation:
            groups.setdefault(cell.spec.label, []).append(cell)
    traces = []
    for name, members in groups.items():
        members.sort(key=lambda cell: cell.learning_rate)
        best, spec = best_of(members), members[0].spec
        intervals = [cell.validated for cell in members]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "uid": name,
                "x": np.array([cell.learning_rate for cell in members]),
                "y": np.array([i.mean for i in intervals]),
                "line": {
                    "color": colour_of(spec),
                    "width": 2 if spec.role is Role.ADAPTER else 3,
                    "dash": dash_of(spec),
                },
                "error_y": _bars(intervals, members[0].what, colour_of(spec)),
                "marker": {
                    "size": [13 if cell is best else 6 for cell in members],
                    "symbol": ["star" if cell is best else "circle" for cell in members],
                },
                "hovertext": ["<br>".join(_lines(cell)) for cell in members],
                "hovertemplate": "%{hovertext}<extra></extra>",
            }
        )
    which = "best alpha for each point" if alpha is None else f"alpha {alpha:g}"
    measure = judged_by(cells).primary
    means = [measure.sign * cell.validated.mean for members in groups.values() for cell in members]
    low, high = lowest_of_interest(means), max(means, default=math.nan)
    cut = bool(means) and low > min(means)
    side = "lower" if measure.higher_is_better else "higher"
    reading = f"validation part; {which}; star: best" + f"; {side} values are cut off" * cut
    layout = layout_of(f"{measure.title} over the learning rate", reading, "Learning rate, log scale", measure.axis)
    layout["xaxis"] |= _rate_axis({cell.learning_rate for members in groups.values() for cell in members})
    if cut:
        ends = (low - 0.05 * (high - low), high + 0.15 * (high - low))
        layout["yaxis"]["range"] = sorted(measure.sign * end for end in ends)
    return go.Figure(traces, layout)


def size_titles(cells: Iterable[Cell]) -> list[str]:
    """What the sizes of the adapter methods are called, each once, as in ``Rank``."""
    return list(dict.fromkeys(filter(None, map(_size_title, cells))))


def _size_title(cell: Cell) -> str:
    method = cell.spec.method
    return bounds(type(method), method.size_field).title if method.size_field else ""


def size_curve(cells: Sequence[Cell], title: str = "Rank") -> go.Figure:
    """Draw test accuracy over a size, with settings chosen on validation, and full fine-tuning as reference.

    Args:
        cells: of a sweep.
        title: of the size, one of :func:`size_titles`; adapters with another size, or none, are left out.
    """
    (full, _), traces = chosen(cells), list[dict[str, Any]]()
    by_method: dict[type[MethodSpec], dict[int, Cell]] = {}
    for cell in best_adapters(cells).values():
        if _size_title(cell) == title:
            by_method.setdefault(type(cell.spec.method), {})[cell.size] = cell
    ranks = sorted({rank for best in by_method.values() for rank in best})
    if full is not None and ranks:
        traces += _reference(full, ranks[0] / 1.5, ranks[-1] * 1.5)
    for method, best in by_method.items():
        means = np.array([cell.tested.mean for cell in best.values()])
        traces.append(_line(method.short, np.array(list(best), dtype=np.float64), means))
        for rank, cell in best.items():
            traces += _dots_and_mean(cell, np.full(len(cell.test), rank * 0.96), rank * 1.04, colour_of(cell.spec))
    measure = judged_by(cells).primary
    layout = layout_of(
        f"{measure.title} over the {title.lower()}",
        "test part; settings chosen on validation; diamond: mean with 95 % interval",
        title,
        measure.axis,
    )
    layout["xaxis"] |= _log_axis(ranks) | {"tickvals": ranks, "ticktext": [str(rank) for rank in ranks]}
    return go.Figure(traces, layout)


def _reference(full: Cell, left: float, right: float) -> list[dict[str, Any]]:
    """Return full fine-tuning as a line from ``left`` to ``right``, with a band for its 95 % interval."""
    interval, ends = bounded(full.tested, full.what), np.array([left, right])
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "Full",
        "x": ends,
        "y": np.full(2, interval.mean),
        "line": {"color": FULL, "width": 2, "dash": "dash"},
        "legendgroup": "Full",
        "showlegend": True,
        "hovertemplate": f"{full.label}<br>test {spread_text(interval, full.what)}<extra></extra>",
    }
    if interval.n < 2:
        return [line]
    band = {
        "type": "scatter",
        "mode": "lines",
        "name": "Full, 95 % interval",
        "x": np.r_[ends, ends[::-1]],
        "y": np.r_[np.full(2, interval.low), np.full(2, interval.high)],
        "fill": "toself",
        "fillcolor": FULL,
        "opacity": 0.2,
        "line": {"width": 0},
        "hoverinfo": "skip",
        "legendgroup": "Full",
        "showlegend": False,
    }
    return [band, line]


def pareto(cells: Sequence[Cell]) -> go.Figure:
    """Draw test accuracy against trainable parameters for full fine-tuning and each rank, chosen on validation."""
    points = [cell for cell in (chosen(cells)[0], *best_adapters(cells).values()) if cell is not None]
    columns, front = columns_of(cells), front_of(points)
    traces = [
        _line(
            "Pareto front",
            np.array([float(cell.trainable_parameters or 0) for cell in front]),
            np.array([cell.tested.mean for cell in front]),
            shape="hv",
        )
    ]
    for cell in points:
        name, interval, colour = columns[cell.spec.label], cell.tested, colour_of(cell.spec)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": name,
                "uid": name,
                "showlegend": False,
                "x": np.array([cell.trainable_parameters]),
                "y": np.array([interval.mean]),
                "text": [name],
                "textposition": "top right",
                "error_y": _bars([interval], cell.what, colour),
                "cliponaxis": False,
                "marker": {
                    "color": colour,
                    "size": 12,
                    "line": {"width": 2, "color": colour},
                    "symbol": "circle" if cell in front else "circle-open",
                },
                "hovertemplate": f"{cell.label}<br>{count_text(cell.trainable_parameters)} trainable parameters"
                f"<br>test {spread_text(interval, cell.what)}<extra></extra>",
            }
        )
    measure = judged_by(cells).primary
    layout = layout_of(
        f"{measure.title} against trainable parameters",
        "test part; filled: on the Pareto front, with 95 % intervals",
        "Trainable parameters, log scale",
        measure.axis,
    )
    if places := [float(cell.trainable_parameters or 1) for cell in points]:
        layout["xaxis"] |= _log_axis(places) | log_ticks(min(places), max(places))
    return go.Figure(traces, layout)


def front_of(points: Sequence[Cell]) -> list[Cell]:
    """Return the Pareto front of trainable parameters and test accuracy, ordered by parameters."""
    marks = on_front([(float(cell.trainable_parameters or 0), cell.what.sign * cell.tested.mean) for cell in points])
    front = [cell for cell, mark in zip(points, marks, strict=True) if mark]
    return sorted(front, key=lambda cell: cell.trainable_parameters or 0)


def lowest_of_interest(values: Sequence[float]) -> float:
    """Return the lower end of a scale on which more is better, such that one bad setting does not make all others look
    alike.

    It lies below the median by three times the distance of the best value above it, but not below the lowest value.
    """
    if not values:
        return math.nan
    middle, high = float(np.median(values)), max(values)
    return max(min(values), middle - 3 * (high - middle)) if high > middle else min(values)


def _dots_and_mean(cell: Cell, x: Any, x_mean: float, colour: str) -> list[dict[str, Any]]:
    interval = cell.tested
    dots = {
        "type": "scatter",
        "mode": "markers",
        "showlegend": False,
        "x": x,
        "y": np.array(cell.test),
        "marker": {"color": colour, "size": 8, "opacity": 0.6},
        "text": [f"seed {run.spec.seed}: {run.score_text()}" for run in cell.finished if run.result],
        "hovertemplate": f"{cell.label}<br>%{{text}}<extra></extra>",
    }
    # The mean of one run is the run itself; drawing it would make one seed look like a result.
    if interval.n < 2:
        return [dots]
    mean = {
        "type": "scatter",
        "mode": "markers",
        "showlegend": False,
        "x": np.array([x_mean]),
        "y": np.array([interval.mean]),
        "error_y": _bars([interval], cell.what, colour),
        "marker": {"color": colour, "size": 11, "symbol": "diamond"},
        "hovertemplate": f"{cell.label}<br>test {spread_text(interval, cell.what)}, {interval.n} seeds<extra></extra>",
    }
    return [dots, mean]


def _line(name: str, x: Any, y: Any, shape: str = "linear") -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "hoverinfo": "skip",
        "showlegend": True,
        "line": {"color": NEUTRAL, "width": 2, "shape": shape},
    }


def _what(cells: Iterable[Cell]) -> Quantity:
    """The primary measure of the cells on the target."""
    objective = judged_by(cells)
    return quantity(objective.primary.name, objective)


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
