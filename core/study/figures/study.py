"""The figure of a study: the primary measure along the axis, and below it the difference from full fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from core.objectives.objective import ObjectiveSpec
from core.results.arm import Arm, judged_by
from core.results.intervals import Interval
from core.results.measures import spread_text, value_text
from core.results.setting import setting_of
from core.rule.answer import Answer
from core.rule.budgets import Passed
from core.rule.candidate import Rule
from core.rule.settled import Course, course_of
from core.study.figures.palette import FULL, NEUTRAL, colour_of, dash_of
from core.study.figures.style import GRID, layout_of, log_ticks, scatter, whiskers

HEIGHT = 640
"""Height of the figure, in pixels."""

UPPER, LOWER = (0.53, 1.0), (0.0, 0.45)
"""Share of the height that each of the two parts takes, from the bottom."""

APART = 0.012
"""Distance of the points of two methods at one place, as a share of the axis, so that no interval hides another."""


def study_figure(found: Answer, unread: bool = False) -> go.Figure:
    """Draw a study: filled points are settled, open ones are not.

    Args:
        found: with at least one point that has results.
        unread: whether the test part is not to be read yet, so that the validation part is drawn, and no difference.
    """
    arms = [arm for at in found.places for arm in (*filter(None, [at.full]), *at.arms)]
    measure = judged_by(arms).primary
    traces = [*_measured(found, unread), *([] if unread else _differences(found))]
    part = "validation" if unread else "test"
    reading = "validation chose the rates" if unread else "open: not settled; shaded: within the margin"
    if not unread and any(found.turns(line) for line in found.lines):
        reading += "; dotted: where they meet or part"
    layout = layout_of(
        f"{measure.title} by {found.axis.title[:1].lower()}{found.axis.title[1:]}",
        f"{part} part, mean with 95 % interval; {reading}",
        found.axis.title,
        measure.axis,
        height=HEIGHT if not unread else HEIGHT // 2,
    )
    layout["xaxis"] |= _ticks(found)
    if not unread:
        unit = measure.difference_unit or measure.noun
        layout["xaxis"] |= {"anchor": "y2"}
        layout["yaxis"] |= {"domain": UPPER}
        layout["yaxis2"] = layout["yaxis"] | {"domain": LOWER, "title": {"text": f"Minus full ({unit})"}}
        layout["shapes"] = [*_margin(found.margin, "y2"), *_turns(found)]
    return go.Figure(traces, layout)


def _measured(found: Answer, unread: bool) -> list[dict[str, Any]]:
    """The primary measure of full fine-tuning, and of each method and rank."""
    by_name: dict[str, dict[int, Arm]] = {}
    for place, at in enumerate(found.places):
        if at.full is not None:
            by_name.setdefault("Full", {})[place] = at.full
        for line, candidate in at.by_line.items():
            by_name.setdefault(line, {})[place] = candidate.arm
        for arm in at.arms if not at.by_line else ():
            by_name.setdefault(arm.setting.label, {})[place] = arm
    traces = []
    for number, (name, arms) in enumerate(by_name.items()):
        intervals = {place: arm.validated if unread else arm.tested for place, arm in arms.items()}
        solid = [place for place, arm in arms.items() if course_of(arm) is Course.SETTLED]
        what = next(iter(arms.values())).what()
        texts = [spread_text(interval, what) for interval in intervals.values()]
        labels = [f"{arm.name} at learning rate {arm.learning_rate:g}: " for arm in arms.values()]
        style = _style(found, name)
        traces.append(
            _line(found, name, number, intervals, whiskers(list(intervals.values()), what), style, solid, labels, texts)
        )
    return traces


def _differences(found: Answer) -> list[dict[str, Any]]:
    """The difference of each method and rank from full fine-tuning."""
    traces = []
    for number, line in enumerate(found.lines, start=1):
        own = {place: at.by_line[line] for place, at in enumerate(found.places) if line in at.by_line}
        if not own:
            continue
        intervals = {place: candidate.difference.interval for place, candidate in own.items()}
        what = next(iter(own.values())).difference.what.change
        bars = {
            "symmetric": False,
            "array": np.nan_to_num(np.array([each.high - each.mean for each in intervals.values()])),
            "arrayminus": np.nan_to_num(np.array([each.mean - each.low for each in intervals.values()])),
        }
        solid = [place for place in own if found.places[place].settled(line)]
        texts = [
            f"{value_text(what, interval.mean)} ({value_text(what, interval.low)} to {value_text(what, interval.high)})"
            for interval in intervals.values()
        ]
        shown = [candidate.standing for candidate in own.values()]
        labels = [f"{line} minus full{'' if each is Rule.NONE else f', shown to be {each}'}: " for each in shown]
        trace = _line(found, line, number, intervals, bars, _style(found, line), solid, labels, texts)
        traces.append(trace | {"yaxis": "y2", "showlegend": False})
    return traces


def _line(
    found: Answer,
    name: str,
    number: int,
    intervals: Mapping[int, Interval],
    bars: Mapping[str, Any],
    style: tuple[str, str],
    solid: Sequence[int],
    labels: Sequence[str],
    texts: Sequence[str],
) -> dict[str, Any]:
    """One method along the axis, moved aside by its number among all; ``solid`` has the points that are settled."""
    colour, dash = style
    middle = len(found.lines) / 2
    return scatter(
        "lines+markers" if found.axis.is_scale else "markers",
        name,
        _places(found, intervals, number - middle),
        np.array([interval.mean for interval in intervals.values()]),
        "%{text}",
        legendgroup=name,
        error_y={**bars, "color": colour, "thickness": 2, "width": 4},
        line={"color": colour, "dash": dash, "width": 2},
        marker={
            "color": colour,
            "size": 10,
            "line": {"color": colour, "width": 2},
            "symbol": ["circle" if place in solid else "circle-open" for place in intervals],
        },
        text=[f"{label}{text}" for label, text in zip(labels, texts, strict=True)],
    )


def _style(found: Answer, name: str) -> tuple[str, str]:
    """Colour and dash of a method: of an adapter those of the rank that was asked for."""
    if name not in found.lines:
        return FULL, "solid"
    arm = next((arm for at in found.places for arm in at.arms), None)
    if arm is None:
        return NEUTRAL, "solid"
    setting = setting_of(arm.spec.but(method=found.lines[name]))
    return colour_of(setting), dash_of(setting)


def _places(found: Answer, numbers: Iterable[int], aside: float = 0.0) -> NDArray[np.float64]:
    """Where points are on the horizontal axis. Args: numbers: of the points; aside: in multiples of APART."""
    places = [float(number) for number in numbers]
    low, high = _range(found)
    off = APART * aside * (high - low)
    if found.axis.is_scale:
        return np.array([float(found.places[int(place)].point) for place in places]) * 10**off
    return np.array(places) + off


def _range(found: Answer) -> tuple[float, float]:
    """Ends of the horizontal axis: decimal logarithms on a scale, else numbers of choices."""
    if not found.axis.is_scale:
        return -0.5, len(found.places) - 0.5
    low, high = (math.log10(float(at.point)) for at in (found.places[0], found.places[-1]))
    room = 0.08 * max(0.5, high - low)
    return low - room, high + room


def _ticks(found: Answer) -> dict[str, Any]:
    return {
        "type": "log" if found.axis.is_scale else "linear",
        "tickvals": _places(found, range(len(found.places))),
        "ticktext": [found.axis.tick(at.point) for at in found.places],
        "range": list(_range(found)),
    }


def _margin(margin: float, axis: str) -> list[dict[str, Any]]:
    """The margin, and the line of no difference."""
    across = {"xref": "paper", "x0": 0, "x1": 1, "yref": axis, "layer": "below"}
    return [
        {"type": "rect", "y0": -margin, "y1": margin, "fillcolor": GRID, "line": {"width": 0}, **across},
        {"type": "line", "y0": 0, "y1": 0, "line": {"color": NEUTRAL, "width": 1}, **across},
    ]


def _turns(found: Answer) -> list[dict[str, Any]]:
    """The intervals of the axis in which a method meets full fine-tuning or parts from it, as dotted frames."""
    shapes = []
    numbers = {at.point: number for number, at in enumerate(found.places)}
    for line in found.lines:
        for one, two, _, _ in found.turns(line):
            x0, x1 = _places(found, [numbers[one], numbers[two]])
            frame = {"color": _style(found, line)[0], "width": 2, "dash": "dot"}
            low, high = LOWER
            place = {"x0": float(x0), "x1": float(x1), "yref": "paper", "y0": low, "y1": high, "layer": "below"}
            shapes.append({"type": "rect", "line": frame, **place})
    return shapes


def passed_figure(found: Sequence[Passed], objective: ObjectiveSpec, colours: Mapping[str, str]) -> go.Figure:
    """Draw one line per method and rank with its interval, and the margin shaded.

    Args:
        found: at least one.
        objective: what is learned, with the measure and the margin.
        colours: of each arm, by key.
    """
    measure, traces = objective.primary, list[dict[str, Any]]()
    for each in found:
        colour = colours.get(each.spec_key, NEUTRAL)
        half = np.nan_to_num(np.array([interval.half_width for interval in each.intervals]))
        traces.append(
            scatter(
                "lines+markers",
                each.label,
                each.epochs,
                np.array([interval.mean for interval in each.intervals]),
                f"{each.label}, after %{{x}} epochs: %{{y:.2f}}",
                error_y={"array": half, "color": colour, "thickness": 1.5, "width": 3},
                line={"color": colour, "width": 2},
                marker={"color": colour, "size": 6},
            )
        )
    layout = layout_of(
        "Difference from full fine-tuning",
        "validation part, epochs that were passed; at the best of the rates tried; 95 % interval over seeds",
        "Epochs",
        f"{measure.difference_unit or measure.noun}, minus full",
        height=360,
    )
    every = np.concatenate([each.epochs for each in found])
    layout["xaxis"] |= log_ticks(float(every.min()), float(every.max()))
    layout["shapes"] = _margin(objective.margin, "y")
    return go.Figure(traces, layout)
