"""Figures of means with their 95 % intervals: in rows, one for each setting, and along an axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from core.methods.method import Role
from core.objectives.objective import ObjectiveSpec
from core.results.arm import Arm, judged_by
from core.results.intervals import Interval
from core.results.measures import Quantity, quantity, spread_text, value_text
from core.results.row import Row
from core.results.setting import setting_of
from core.rule.answer import Answer
from core.rule.budgets import Passed
from core.rule.candidate import Rule
from core.rule.place import Place
from core.rule.settled import Course, course_of
from core.rule.tuning import reference_name
from core.study.arms.difference_tables import full_differences
from core.study.figures.palette import FULL, NEUTRAL, colour_of, dash_of
from core.study.figures.style import GRID, layout_of, log_axis, scatter, whiskers

ASIDE = 0.16
"""Distance of the mean and of the single runs of a row from its middle, as a share of its height."""

UPPER, LOWER = (0.53, 1.0), (0.0, 0.45)
"""Share of the height that each of the two parts of a study takes, from the bottom."""

BAR = {"thickness": 2, "width": 4}
"""Size of the bar of an interval, in pixels."""

APART = 0.012
"""Distance of the points of two methods at one place, as a share of the axis, so that no interval hides another."""


def means(
    name: str, colour: str, at: Any, intervals: Sequence[Interval], what: Quantity, texts: Sequence[str], **more: Any
) -> dict[str, Any]:
    """Return a trace of means with their intervals.

    Args:
        name: in the legend.
        colour: of points and intervals.
        at: (n,) places on the horizontal axis.
        intervals: (n,), of which a mean without one has no bar.
        what: is averaged, which bounds the intervals.
        texts: (n,), what is read where a mean is pointed at.
        more: attributes of the trace, such as a ``mode`` other than markers; ``marker`` is added to its style.
    """
    marker = {"color": colour, "size": 10} | more.pop("marker", {})
    mode, bars = more.pop("mode", "markers"), whiskers(intervals, what) | {"color": colour, **BAR}
    values = np.array([interval.mean for interval in intervals])
    return scatter(mode, name, at, values, "%{text}", text=texts, marker=marker, error_y=bars, **more)


def no_difference(margin: float, across: str) -> list[dict[str, Any]]:
    """Return the shapes of the margin and of no difference, below everything else.

    Args:
        margin: within which a setting is good enough.
        across: axis of the differences, as in ``y2``; the shapes span the other one.
    """
    own, other = across[0], "y" if across[0] == "x" else "x"
    span = {f"{own}ref": across, f"{other}ref": "paper", f"{other}0": 0, f"{other}1": 1, "layer": "below"}
    return [
        {"type": "rect", f"{own}0": -margin, f"{own}1": margin, "fillcolor": GRID, "line": {"width": 0}, **span},
        {"type": "line", f"{own}0": 0, f"{own}1": 0, "line": {"color": NEUTRAL, "width": 1}, **span},
    ]


@dataclass(frozen=True)
class Line:
    """One row: a mean with its interval, and the values that it is the mean of."""

    label: str
    below: str
    """What stands below the label beside the row."""
    colour: str
    what: Quantity
    interval: Interval
    reading: str
    """The interval in words."""
    values: Mapping[int, float]
    """By seed."""
    stopped: Mapping[int, float] = field(default_factory=dict)
    """Further values that are not in the mean."""


def rows(lines: Sequence[Line], title: str, subtitle: str, axis: str) -> go.Figure:
    """Draw a row for each line: dots for its values, and above them the mean with its interval.

    The mean of one value is the value itself; drawing it would make one seed look like a result.
    """
    traces, notes = [], []
    for row, line in enumerate(lines):
        label, values = line.label, [*line.values.values(), *line.stopped.values()]
        texts = [f"seed {seed}: {value_text(line.what, value)}" for seed, value in line.values.items()]
        texts += [f"seed {seed}, stopped early: {value_text(line.what, value)}" for seed, value in line.stopped.items()]
        symbols = ["circle"] * len(line.values) + ["circle-open"] * len(line.stopped)
        place = np.array(values), np.full(len(values), row + ASIDE)
        style = {"color": line.colour, "size": 8, "opacity": 0.65, "symbol": symbols}
        dots = {"text": texts, "marker": style, "showlegend": False}
        traces.append(scatter("markers", label, *place, f"{label}, %{{text}}", **dots))
        if math.isfinite(line.interval.half_width):
            bar = whiskers([line.interval], line.what) | {"color": line.colour, **BAR}
            style = {"color": line.colour, "size": 12, "symbol": "diamond"}
            mean = {"text": [line.reading], "marker": style, "showlegend": False, "error_x": bar}
            at = np.array([line.interval.mean]), np.array([row - ASIDE])
            hover = f"{label}, mean of {len(line.values)} seeds:<br>%{{text}}"
            traces.append(scatter("markers", label, *at, hover, **mean))
        # An empty row could be missing data or a value outside the axis, so say which.
        if not np.isfinite(list(line.values.values())).any():
            said = "not a number" if line.values else "none"
            notes.append({"x": 0, "xref": "paper", "xanchor": "left", "y": row, "showarrow": False, "text": said})
    hollow = "; hollow: stopped early, not in the mean" if any(line.stopped for line in lines) else ""
    subtitle = f"dots: seeds, diamond: mean with 95 % interval{hollow}{subtitle}"
    layout = layout_of(title, subtitle, axis, None, height=46 * len(lines) + 130)
    # Labels are wrapped to save space on phones.
    names = [f"{line.label.replace(', ', '<br>')}<br>{line.below}".removesuffix("<br>") for line in lines]
    layout["yaxis"] |= {"tickvals": list(range(len(lines))), "ticktext": names, "range": [len(lines) - 0.5, -0.5]}
    layout["yaxis"] |= {"showgrid": False, "fixedrange": True}
    layout["xaxis"] |= {"nticks": 6, "showgrid": True}
    layout["xaxis"]["title"] |= {"standoff": 8}
    return go.Figure(traces, layout | {"annotations": notes})


def arm_dots(arms: Sequence[Arm], colours: Mapping[str, str], stopped: Iterable[Row] = ()) -> go.Figure:
    """Draw what each setting reached in the primary measure.

    Args:
        arms: from top to bottom, at least one.
        colours: of each arm, by key.
        stopped: further rows of these arms, drawn as hollow dots; means are without them.
    """
    measure, further, lines = judged_by(arms).primary, list(stopped), []
    for arm in arms:
        what, interval, by_seed = arm.what(), arm.interval(measure.name), arm.by_seed(measure.name)
        early = {
            row.seed: value for row in further if row.setting.key == arm.key and (value := what.of(row)) is not None
        }
        text = spread_text(interval, what)
        lines.append(Line(arm.label, "", colours[arm.key], what, interval, text, by_seed, early))
    return rows(lines, arms[0].what().title, "", measure.axis)


def difference_rows(verdict: Place, arms: Sequence[Arm], colours: Mapping[str, str]) -> go.Figure:
    """Draw how far each setting is from full fine-tuning, with the margin shaded.

    Args:
        verdict: has the differences of adapters, with intervals over seeds and test examples, and the margin.
        arms: full fine-tuning, and the settings to draw beside it, from top to bottom: adapters, then controls.
        colours: of each arm, by key.
    """
    measure = judged_by(arms).primary
    own = {arm.label: arm for arm in arms}
    lines = [
        Line(
            each.a,
            _mean(own[each.a]),
            colours.get(own[each.a].key, NEUTRAL),
            each.what.change,
            each.interval,
            _span(each.interval, each.what.change),
            dict(zip(each.seeds, each.values, strict=True)),
        )
        for each in full_differences(arms, measure.name, verdict)
    ]
    unit = f"{measure.difference_unit} of {measure.noun}" if measure.difference_unit else measure.noun
    reference = reference_name(verdict.full)
    full = " and ".join(_mean(arm) for arm in arms if arm.role is Role.REFERENCE)
    shaded = f"; shaded: within the margin, {measure.margin_text(verdict.margin)}"
    figure = rows(lines, f"Difference from {reference}", shaded, f"{unit}, minus {reference} ({full})")
    return figure.update_layout(shapes=no_difference(verdict.margin, "x"))


def _mean(arm: Arm) -> str:
    """What a setting reached on average, as in ``91.1 %``."""
    measure = arm.setting.objective.primary
    return measure.text(arm.interval(measure.name).mean, 1)


def _span(interval: Interval, what: Quantity) -> str:
    """A difference with the ends of its interval, as in ``−0.31 points (−0.55 points to −0.07 points)``."""
    mean, low, high = (value_text(what, each) for each in (interval.mean, interval.low, interval.high))
    return f"{mean} ({low} to {high})" if math.isfinite(interval.half_width) else mean


def study_figure(found: Answer, unread: bool = False) -> go.Figure:
    """Draw the primary measure along an axis, and below it the difference from full fine-tuning.

    Filled points are settled, open ones are not.

    Args:
        found: with at least one point that has results.
        unread: whether the test part is not to be read yet, so that the validation part is drawn, and no difference.
    """
    measure = judged_by([arm for at in found.places for arm in (*filter(None, [at.full]), *at.arms)]).primary
    part = "validation" if unread else "test"
    reading = "validation chose the rates" if unread else "open: not settled; shaded: within the margin"
    if not unread and any(found.turns(line) for line in found.lines):
        reading += "; dotted: where they meet or part"
    layout = layout_of(
        f"{measure.title} by {found.axis.title[:1].lower()}{found.axis.title[1:]}",
        f"{part} part, mean with 95 % interval; {reading}",
        found.axis.title,
        measure.axis,
        height=320 if unread else 640,
    )
    layout["xaxis"] |= {
        "type": "log" if found.axis.is_scale else "linear",
        "tickvals": _places(found),
        "ticktext": [found.axis.tick(at.point) for at in found.places],
    }
    if not found.axis.is_scale:
        layout["xaxis"] |= {"range": [-0.5, len(found.places) - 0.5]}
    if not unread:
        layout["xaxis"] |= {"anchor": "y2"}
        layout["yaxis"] |= {"domain": UPPER}
        title = f"Minus full ({measure.difference_unit or measure.noun})"
        layout["yaxis2"] = layout["yaxis"] | {"domain": LOWER, "title": {"text": title}}
        layout["shapes"] = [*no_difference(found.margin, "y2"), *_turns(found)]
    return go.Figure([*_methods(found, unread)], layout)


def _methods(found: Answer, unread: bool) -> Iterator[dict[str, Any]]:
    """Of full fine-tuning and each method and rank the primary measure, and its difference from full fine-tuning."""
    by_name: dict[str, dict[int, Arm]] = {}
    for place, at in enumerate(found.places):
        named = {line: candidate.arm for line, candidate in at.by_line.items()}
        named = named or {arm.setting.label: arm for arm in at.arms}
        for name, arm in {**({"Full": at.full} if at.full is not None else {}), **named}.items():
            by_name.setdefault(name, {})[place] = arm
    for number, (name, arms) in enumerate(by_name.items()):
        x, (colour, dash) = _places(found, number - len(found.lines) / 2), _style(found, name)
        style: dict[str, Any] = {
            "mode": "lines+markers" if found.axis.is_scale else "markers",
            "legendgroup": name,
            "line": {"color": colour, "dash": dash, "width": 2},
        }
        what = next(iter(arms.values())).what()
        intervals = [arm.validated if unread else arm.tested for arm in arms.values()]
        texts = [
            f"{arm.name} at learning rate {arm.learning_rate:g}: {spread_text(interval, what)}"
            for arm, interval in zip(arms.values(), intervals, strict=True)
        ]
        marker = _symbols(colour, [course_of(arm) is Course.SETTLED for arm in arms.values()])
        yield means(name, colour, x[list(arms)], intervals, what, texts, marker=marker, **style)
        own = {place: at.by_line[name] for place, at in enumerate(found.places) if name in at.by_line}
        if unread or not own:
            continue
        what = next(iter(own.values())).difference.what.change
        intervals = [candidate.difference.interval for candidate in own.values()]
        shown = [candidate.standing for candidate in own.values()]
        texts = [
            f"{name} minus full{'' if said is Rule.NONE else f', shown to be {said}'}: {_span(interval, what)}"
            for said, interval in zip(shown, intervals, strict=True)
        ]
        style |= {"marker": _symbols(colour, [found.places[place].settled(name) for place in own])}
        yield means(name, colour, x[list(own)], intervals, what, texts, yaxis="y2", showlegend=False, **style)


def _symbols(colour: str, settled: Sequence[bool]) -> dict[str, Any]:
    symbols = ["circle" if each else "circle-open" for each in settled]
    return {"line": {"color": colour, "width": 2}, "symbol": symbols}


def _style(found: Answer, name: str) -> tuple[str, str]:
    """Colour and dash of a method: of an adapter those of the rank that was asked for."""
    arm = next((arm for at in found.places for arm in at.arms), None)
    if name not in found.lines or arm is None:
        return FULL, "solid"
    setting = setting_of(arm.spec.but(method=found.lines[name]))
    return colour_of(setting), dash_of(setting)


def _places(found: Answer, aside: float = 0.0) -> NDArray[np.float64]:
    """Where the places are on the horizontal axis. Args: aside: moved by so many times APART."""
    off, points = APART * aside, np.arange(len(found.places), dtype=np.float64)
    if not found.axis.is_scale:
        return points + off * len(points)
    points = np.array([float(at.point) for at in found.places])
    return np.asarray(points * (points[-1] / points[0]) ** off)


def _turns(found: Answer) -> list[dict[str, Any]]:
    """The stretches of the axis in which a method meets full fine-tuning or parts from it, as dotted frames."""
    x = dict(zip([at.point for at in found.places], _places(found).tolist(), strict=True))
    frame = {"type": "rect", "yref": "paper", "y0": LOWER[0], "y1": LOWER[1], "layer": "below"}
    return [
        {**frame, "x0": x[one], "x1": x[two], "line": {"color": _style(found, line)[0], "width": 2, "dash": "dot"}}
        for line in found.lines
        for one, two, _, _ in found.turns(line)
    ]


def passed_figure(found: Sequence[Passed], objective: ObjectiveSpec, colours: Mapping[str, str]) -> go.Figure:
    """Draw the difference of each method and rank from full fine-tuning after epochs that were passed.

    Args:
        found: at least one.
        objective: what is learned, with the measure and the margin.
        colours: of each arm, by key.
    """
    measure = objective.primary
    what = quantity(measure.name, objective).change
    traces = []
    for each in found:
        colour = colours.get(each.spec_key, NEUTRAL)
        texts = [f"{each.label}, after {epoch} epochs: {value_text(what, mean)}" for epoch, mean in each.means]
        line, marker = {"color": colour, "width": 2}, {"size": 6}
        drawn = means(each.label, colour, each.epochs, each.intervals, what, texts, line=line, marker=marker)
        traces.append(drawn | {"mode": "lines+markers"})
    layout = layout_of(
        "Difference from full fine-tuning",
        "validation part, epochs that were passed; at the best of the rates tried; 95 % interval over seeds",
        "Epochs",
        f"{measure.difference_unit or measure.noun}, minus full",
        height=360,
    )
    layout["xaxis"] |= log_axis(np.concatenate([each.epochs for each in found]).tolist())
    layout["shapes"] = no_difference(objective.margin, "y")
    return go.Figure(traces, layout)
