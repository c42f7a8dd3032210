"""Figures of weight changes, for light and dark pages.

Colours stand for arms. Lines of the target are solid, those of the source are dotted with squares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from core.study.figures.palette import NEUTRAL
from core.study.figures.style import SCALE, layout_of, scatter
from core.study.weights.curves import CutCurve, StrengthCurve
from core.study.weights.scores import On, Scores
from core.study.weights.spectrum import Array, Spectrum

_STYLES: dict[On, tuple[str, str]] = {"target": ("solid", "circle"), "source": ("dot", "square")}
"""Dash and symbol of the lines of a task."""


@dataclass(frozen=True)
class NamedSpectrum:
    """The spectrum of one layer of a run, with its label and colour."""

    label: str
    """Label of its arm, which appears in the legend once."""
    colour: str
    seed: int
    spectrum: Spectrum
    chosen: bool
    """Whether the run has the chosen seed; other seeds are drawn faintly."""


@dataclass(frozen=True)
class TrainedRank:
    """A LoRA run to compare with full fine-tuning cut to a rank."""

    label: str
    colour: str
    rank: int
    seed: int
    scores: Scores
    """Scores of one network."""


def singular_value_figure(spectra: Sequence[NamedSpectrum], weight: Array) -> go.Figure:
    """Singular values of ΔW of one layer on two logarithmic axes, without those that are zero.

    The other seeds of an arm are one faint line with gaps, and the chosen seeds are drawn above all others.

    Args:
        spectra: of runs.
        weight: (k,) singular values of W before training, as a reference.
    """
    name, sigma = "W before training", "σ<sub>%{x}</sub> = %{y:.3g}"
    line = {"color": NEUTRAL, "width": 1.5, "dash": "dot"}
    ranks = np.arange(1, len(weight) + 1)
    traces = [scatter("lines", name, ranks, _positive(weight), f"{name}<br>{sigma}", line=line)]
    groups: dict[tuple[bool, str], list[NamedSpectrum]] = {}
    for named in sorted(spectra, key=lambda named: named.chosen):
        groups.setdefault((named.chosen, named.label), []).append(named)
    for (chosen, label), members in groups.items():
        lines = [np.append(_positive(named.spectrum.values), np.nan) for named in members]
        few = max(np.isfinite(line).sum() for line in lines) <= 20
        traces.append(
            scatter(
                "lines+markers" if few and chosen else "lines",
                label,
                np.concatenate([np.arange(1, len(line) + 1) for line in lines])[:-1],
                np.concatenate(lines)[:-1],
                f"{label}, seed %{{customdata}}<br>{sigma}",
                customdata=np.repeat([named.seed for named in members], [len(line) for line in lines])[:-1],
                legendgroup=label,
                showlegend=chosen,
                line={"color": members[0].colour, "width": 2.5 if chosen else 1},
                marker={"size": 6},
                opacity=1.0 if chosen else 0.3,
            )
        )
    layout = layout_of(
        "Singular values of ΔW", "bold: the chosen seed; faint: other seeds", "Index i, log scale", "σᵢ, log scale"
    )
    layout["xaxis"] |= _rank_axis(len(weight))
    layout["yaxis"] |= {"type": "log", "dtick": 1, "exponentformat": "power"}
    return go.Figure(traces, layout)


def scores_of_cuts(curves: Sequence[CutCurve], colour: str, trained: Sequence[TrainedRank], chosen: int) -> go.Figure:
    """Scores of full fine-tuning with its ΔW cut to rank r, against r, and of LoRA runs at that rank.

    Args:
        curves: of full fine-tuning, one per seed.
        colour: of full fine-tuning.
        trained: LoRA runs.
        chosen: the suggested rank.
    """
    ranks, measure = curves[0].ranks, curves[0].scores.measure
    has_source = curves[0].scores.source is not None
    number, unit = measure.hover_text(), measure.unit_suffix
    traces: list[dict[str, Any]] = []
    shapes: list[dict[str, Any]] = []
    for axis, on in zip(("y", "y2"), curves[0].scores.lines, strict=False):
        lines = np.array([curve.scores.lines[on] for curve in curves])
        before = float(np.mean([curve.base.lines[on][0] for curve in curves]))
        dash, symbol = _STYLES[on]
        style = {"dash": dash, "color": colour}
        if len(lines) > 1:
            faint = {"yaxis": axis, "opacity": 0.3, "line": style | {"width": 1}, "showlegend": False}
            traces += [scatter("lines", None, np.array(ranks), line, None, **faint) for line in lines]
        traces.append(
            scatter(
                "lines+markers",
                "Full, cut to rank r",
                np.array(ranks),
                lines.mean(axis=0),
                f"Full, cut to rank %{{x}}<br>{on} {number}",
                legendgroup="cut",
                showlegend=on == "target",
                yaxis=axis,
                line=style | {"width": 2.5},
                marker={"size": 7, "color": colour, "symbol": symbol},
            )
        )
        for label in dict.fromkeys(run.label for run in trained):
            members = [run for run in trained if run.label == label]
            traces.append(
                scatter(
                    "markers",
                    label,
                    np.array([run.rank for run in members]),
                    np.array([run.scores.lines[on][0] for run in members]),
                    f"{label}, %{{text}}<br>{on} {number}",
                    legendgroup=label,
                    showlegend=on == "target",
                    yaxis=axis,
                    marker={"size": 9, "color": members[0].colour, "opacity": 0.75, "symbol": "diamond"},
                    text=[f"seed {run.seed}" for run in members],
                )
            )
        shapes += [
            _horizontal(float(lines.mean(axis=0)[-1]), colour, "dash", axis),
            _horizontal(before, NEUTRAL, "dot", axis),
        ]
    reading = "validation part; dashed: all of ΔW, dotted: base"
    layout = layout_of("Full fine-tuning's ΔW, cut to rank r", reading, "Rank r, log scale", f"Target{unit}", 520)
    layout["xaxis"] |= _rank_axis(max(ranks))
    if has_source:
        layout["yaxis"]["domain"] = [0.54, 1]
        layout["yaxis2"] = layout["yaxis"] | {"domain": [0, 0.46], "title": {"text": f"Source{unit}"}}
        layout["xaxis"]["anchor"] = "y2"
    else:
        layout["height"] = 400
    layout["shapes"] = [*shapes, _vertical(chosen, colour)]
    return go.Figure(traces, layout)


def similarity_map(values: Array, first: str, second: str) -> go.Figure:
    """φ(i, j) as a heat map, from 0 to 1.

    Args:
        values: (k₁, k₂).
        first: name of the rows.
        second: name of the columns.
    """
    rows, columns = (np.arange(1, size + 1) for size in values.shape)
    trace = {
        "type": "heatmap",
        "z": values,
        "x": columns,
        "y": rows,
        "zmin": 0,
        "zmax": 1,
        "colorscale": SCALE,
        "xgap": 1,
        "ygap": 1,
        "colorbar": {"title": {"text": "φ"}, "thickness": 12, "dtick": 0.25, "outlinewidth": 0},
        "hovertemplate": "first %{y} against first %{x}<br>φ = %{z:.3f}<extra></extra>",
    }
    layout = layout_of(
        "Overlap φ(i, j)", "1: one lies within the other", f"First j of {second}", f"First i of {first}", height=320
    )
    for axis, places in (("xaxis", columns), ("yaxis", rows)):
        layout[axis] |= {"showgrid": False, "tick0": 1, "dtick": 1 if len(places) <= 10 else 3}
    layout["yaxis"] |= {"autorange": "reversed"}
    return go.Figure([trace], layout)


def scores_over_strength(curve: StrengthCurve, strength: float, colour: str) -> go.Figure:
    """Scores of the base with t times the trained ΔW, against t, with the chosen t marked.

    Args:
        curve: measured.
        strength: the chosen t, among those measured.
        colour: of the run's arm.
    """
    place, measure, traces = curve.place(strength), curve.scores.measure, list[dict[str, Any]]()
    for on, values in curve.scores.lines.items():
        name, own = on.capitalize(), colour if on == "target" else NEUTRAL
        dash, symbol = _STYLES[on]
        hover = f"{name}: {measure.hover_text()} at %{{x:.1f}} ×"
        line = {"color": own, "width": 2, "dash": dash}
        marker = {"size": 11, "color": own, "symbol": symbol, "line": {"width": 2, "color": own}}
        here, there = curve.strengths[[place]], values[[place]]
        rest = {"legendgroup": name, "showlegend": False, "uid": f"{name}:chosen"}
        traces += [
            scatter("lines", name, curve.strengths, values, hover, legendgroup=name, uid=name, line=line),
            scatter("markers", name, here, there, hover, marker=marker, **rest),
        ]
    title = f"{measure.title} against the strength of ΔW"
    layout = layout_of(title, "test part", "Multiple of the trained ΔW", measure.axis)
    layout["xaxis"] |= {"range": [-0.05, float(curve.strengths[-1]) + 0.05], "dtick": 0.5}
    layout["yaxis"] |= {"range": [-2, 102]} if measure.unit == "%" else {}
    layout["shapes"] = [_vertical(1.0, NEUTRAL), _vertical(float(curve.strengths[place]), colour, "solid")]
    place_of_text = {"x": 1, "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False}
    layout["annotations"] = [place_of_text | {"text": "as trained", "font": {"size": 11}}]
    return go.Figure(traces, layout)


def _positive(values: Array) -> Array:
    return np.where(values > 0, values, np.nan)


def _rank_axis(limit: int) -> dict[str, Any]:
    ticks = [2**power for power in range(limit.bit_length()) if 2**power <= limit]
    if limit > 1.2 * ticks[-1]:  # else its label would overlap the one before
        ticks.append(limit)
    span = [math.log10(0.9), math.log10(max(limit, 2) * 1.1)]
    return {"type": "log", "range": span, "tickvals": ticks, "ticktext": [str(tick) for tick in ticks]}


def _horizontal(y: float, colour: str, dash: str, axis: str = "y") -> dict[str, Any]:
    line = {"color": colour, "width": 1.2, "dash": dash}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": axis, "y0": y, "y1": y, "line": line}


def _vertical(x: float, colour: str, dash: str = "dash") -> dict[str, Any]:
    line = {"color": colour, "width": 1.2, "dash": dash}
    return {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": x, "x1": x, "line": line}
