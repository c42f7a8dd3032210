"""Figures of predictions by class: the confusions of an arm, and the accuracy of several arms on each class."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from core.numbers import number_text, percent
from core.study.arms.examples import ClassResults
from core.study.figures.style import layout_of, scatter
from core.wording.tasks import class_name, noun, shortened

MAX_WRITTEN = 12
"""Maximum number of classes whose numbers are written into a confusion matrix; with more, they are in tooltips."""

MAX_NAMED = 30
"""Maximum number of classes that are all named on an axis."""

NAME_LENGTH = 16
"""Maximum number of characters of a name on an axis."""

DEEPEST = (0.2, 0.8)
"""Opacity of the most frequent confusion: low enough for text on it to be readable on light and dark pages; and where
no numbers are written."""


def highest_confusion(results: ClassResults, keys: Sequence[str]) -> float:
    """The largest share of a class that one of these arms predicts as one other label, in percent."""
    return max((float(np.nanmax(_errors(results, key), initial=0.0)) for key in keys), default=0.0)


def confusion_map(
    results: ClassResults, key: str, label: str, names: Sequence[str], colour: str, highest: float
) -> go.Figure:
    """Draw the confusion matrix of an arm: each class downwards, what it is predicted as to the right.

    Colour shows errors alone, as what is right would outshine them.

    Args:
        results: of the arm and of those that it is compared with.
        key: of the arm.
        label: of the arm.
        names: of the dataset's labels; may contain any text.
        colour: of the arm, ``#RRGGBB``.
        highest: percent at the end of the colour scale; see :func:`highest_confusion`.
    """
    nouns = noun(results.facts.kind)
    counts, shares, errors = results.confusions[key], _shares(results, key), _errors(results, key)
    rows, columns = (_on_axis(labels, names) for labels in (results.classes, results.outputs))
    hover = [
        [
            f"{of_class}, predicted as {as_class}: {percent(shares[i, j], 1)}, {number_text(counts[i, j], 1)} {nouns}"
            for j, as_class in enumerate(columns)
        ]
        for i, of_class in enumerate(rows)
    ]
    written = len(results.outputs) <= MAX_WRITTEN
    depth = DEEPEST[not written]
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    traces = [
        {
            "type": "heatmap",
            "z": np.nan_to_num(errors),
            "zmin": 0,
            "zmax": highest or 1.0,
            "colorscale": [[end, f"rgba({red}, {green}, {blue}, {end * depth})"] for end in (0, 1)],
            "showscale": False,
            "xgap": 1,
            "ygap": 1,
            "customdata": hover,
            "hovertemplate": "%{customdata}<extra></extra>",
        }
    ]
    if written:
        places = [(i, j) for i, j in np.ndindex(shares.shape) if shares[i, j] >= 0.05]
        traces.append(
            scatter(
                "text",
                None,
                [j for _, j in places],
                [i for i, _ in places],
                None,
                # Whole percent from 10 on, as there is no room for more on a phone.
                text=[number_text(float(shares[at]), 0 if shares[at] >= 9.95 else 1) for at in places],
                textfont={"size": 11},
                showlegend=False,
            )
        )
    layout = layout_of(
        f"Confusions of {label}",
        "% of each class, mean over seeds; coloured: errors",
        "Predicted class",
        "Class",
        height=420,
    )
    layout["xaxis"] |= _class_axis(columns)
    layout["yaxis"] |= _class_axis(rows) | {"autorange": "reversed"}
    return go.Figure(traces, layout)


def confusion_alt(results: ClassResults, key: str, label: str, names: Sequence[str]) -> str:
    """A text alternative of :func:`confusion_map`: the most frequent confusion."""
    errors = np.nan_to_num(_errors(results, key))
    if not errors.any():
        return f"Confusion matrix of {label}: every {noun(results.facts.kind, 1)} is predicted rightly."
    i, j = np.unravel_index(int(errors.argmax()), errors.shape)
    of_class, as_class = class_name(results.classes[i], names), class_name(results.outputs[j], names)
    return (
        f"Confusion matrix of {label}. Its most frequent confusion: {percent(float(errors[i, j]), 1)} of the "
        f"{noun(results.facts.kind)} of class {of_class} are predicted as {as_class}."
    )


def class_accuracy(
    results: ClassResults, labels: Mapping[str, str], names: Sequence[str], colours: Mapping[str, str]
) -> go.Figure:
    """Draw the accuracy of several arms on each class, as the mean over seeds with its 95 % interval.

    Args:
        results: of these arms.
        labels: label of each arm by its key, in the order of drawing.
        names: of the dataset's labels; may contain any text.
        colours: of each arm, by key.
    """
    traces = []
    shown = _on_axis(results.classes, names)
    for turn, (key, label) in enumerate(labels.items()):
        found = results.accuracies[key]
        mean = np.array([interval.mean for interval in found])
        spread = np.array([[interval.high, interval.low] for interval in found]).T - mean
        traces.append(
            scatter(
                "markers",
                label,
                np.arange(len(shown)) + 0.7 * ((turn + 0.5) / len(labels) - 0.5),
                mean,
                f"{label}, class %{{customdata}}<br>%{{y:.2f}} %",
                uid=key,
                marker={"color": colours[key], "size": 8},
                error_y={
                    "array": np.nan_to_num(spread[0]),
                    "arrayminus": np.nan_to_num(-spread[1]),
                    "color": colours[key],
                    "thickness": 1.5,
                    "width": 0,
                },
                customdata=shown,
            )
        )
    layout = layout_of(
        "Accuracy on each class", "test part, mean over seeds; bars: 95 % interval", "Class", "Accuracy (%)"
    )
    layout["xaxis"] |= _class_axis(shown) | {"range": [-0.5, len(shown) - 0.5]}
    return go.Figure(traces, layout)


def class_accuracy_alt(results: ClassResults, labels: Mapping[str, str], names: Sequence[str]) -> str:
    """A text alternative of :func:`class_accuracy`: the hardest class of each arm."""
    parts = []
    for key, label in labels.items():
        means = [interval.mean for interval in results.accuracies[key]]
        hardest = int(np.argmin(means))
        parts.append(f"{label} {percent(means[hardest])} on class {class_name(results.classes[hardest], names)}")
    return f"Accuracy on each class. The lowest of each setting: {'; '.join(parts)}."


def _shares(results: ClassResults, key: str) -> np.ndarray:
    """(R, C), percent of each class."""
    counts = results.confusions[key]
    return np.asarray(100 * counts / counts.sum(1, keepdims=True))


def _errors(results: ClassResults, key: str) -> np.ndarray:
    """(R, C), percent of each class, with NaN for what is right."""
    right = np.equal.outer(results.classes, results.outputs)
    return np.where(right, np.nan, _shares(results, key))


def _on_axis(labels: Sequence[int], names: Sequence[str]) -> list[str]:
    """Names of labels, short, and escaped, since Plotly interprets some HTML tags."""
    return [html.escape(shortened(class_name(label, names), NAME_LENGTH)) for label in labels]


def _class_axis(shown: Sequence[str]) -> dict[str, object]:
    step = -(-len(shown) // MAX_NAMED)
    places = list(range(0, len(shown), step))
    return {"showgrid": False, "tickvals": places, "ticktext": [shown[place] for place in places]}
