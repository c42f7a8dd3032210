"""Figures of examples and their classes: confusions, accuracy per class, probabilities, and what a dataset has."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.colors import hex_to_rgb

from core.numbers import number_text, percent
from core.study.arms.examples import ACCURACIES, ClassResults
from core.study.figures.intervals import means
from core.study.figures.palette import FULL, NEUTRAL
from core.study.figures.style import layout_of
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

BARS = 40
"""Maximum number of bars of a histogram."""

MAX_CLASSES = 16
"""Maximum number of classes whose probabilities are shown: those that any network gives the highest ones."""

TOLD_FROM = 0.005
"""Lowest probability that is written as a number: less rounds to 0 percent."""


def highest_confusion(results: ClassResults, keys: Sequence[str]) -> float:
    """The largest share of a class that one of these arms predicts as one other label, in percent."""
    return max((float(_errors(results, key).max()) for key in keys), default=0.0)


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
    nouns, counts, shares = noun(results.facts.kind), results.confusions[key], _shares(results, key)
    rows, columns = (
        _short([class_name(each, names) for each in labels]) for labels in (results.classes, results.outputs)
    )
    hover = [
        [
            f"{of_class}, predicted as {as_class}: {percent(shares[i, j], 1)}, {number_text(counts[i, j], 1)} {nouns}"
            for j, as_class in enumerate(columns)
        ]
        for i, of_class in enumerate(rows)
    ]
    is_written = len(results.outputs) <= MAX_WRITTEN
    deepest, rgb = DEEPEST[not is_written], ", ".join(map(str, hex_to_rgb(colour)))
    cells = {
        "type": "heatmap",
        "z": _errors(results, key),
        "zmin": 0,
        "zmax": highest or 1.0,
        "colorscale": [[end, f"rgba({rgb}, {end * deepest})"] for end in (0, 1)],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "customdata": hover,
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    if is_written:  # whole percent from 10 on, as there is no room for more on a phone
        text = [
            [number_text(each, int(each < 9.95)) if each >= 0.05 else "" for each in row] for row in shares.tolist()
        ]
        cells |= {"text": text, "texttemplate": "%{text}", "textfont": {"size": 11}}
    reading = "% of each class, mean over seeds; coloured: errors"
    layout = layout_of(f"Confusions of {label}", reading, "Predicted class", "Class", height=420)
    layout["xaxis"] |= _class_axis(columns)
    layout["yaxis"] |= _class_axis(rows) | {"autorange": "reversed"}
    return go.Figure([cells], layout)


def confusion_alt(results: ClassResults, key: str, label: str, names: Sequence[str]) -> str:
    """A text alternative of :func:`confusion_map`: the most frequent confusion."""
    errors = _errors(results, key)
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
    traces, shown = [], _short([class_name(each, names) for each in results.classes])
    for turn, (key, label) in enumerate(labels.items()):
        found = results.accuracies[key]
        texts = [f"{label}, class {name}<br>{each.mean:.2f} %" for name, each in zip(shown, found, strict=True)]
        at = np.arange(len(shown)) + 0.7 * ((turn + 0.5) / len(labels) - 0.5)
        traces.append(means(label, colours[key], at, found, ACCURACIES, texts, uid=key, marker={"size": 8}))
    reading = "test part, mean over seeds; bars: 95 % interval"
    layout = layout_of("Accuracy on each class", reading, "Class", "Accuracy (%)")
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


def class_counts(names: Sequence[str], train: Sequence[int], test: Sequence[int], what: str = "images") -> go.Figure:
    """Draw one bar per class: training examples, with test examples stacked on top.

    Args:
        names: of the classes; may contain any text.
        train: number of training examples of each class.
        test: number of test examples of each class.
        what: the examples are, in the plural.
    """
    shown = _short(names)
    traces = [
        {
            "type": "bar",
            "y": list(counts),
            "name": part,
            "customdata": shown,
            "marker": {"color": FULL, "opacity": opacity},
            "hovertemplate": f"%{{customdata}}: %{{y:,}} {part} {what}<extra></extra>",
        }
        for part, counts, opacity in (("training", train, 1.0), ("test", test, 0.45))
    ]
    layout = layout_of(f"{what.capitalize()} per class", None, "Class", what.capitalize(), height=300)
    layout |= {"barmode": "stack", "hovermode": "x"}
    layout["legend"] |= {"traceorder": "normal", "y": 1.02, "yref": "paper", "x": 1, "xanchor": "right"}
    layout["xaxis"] |= _class_axis(shown)
    return go.Figure(traces, layout)


def length_histogram(lengths: NDArray[np.int64], kept: int) -> go.Figure:
    """Draw how many texts have how many tokens.

    Args:
        lengths: (n,) tokens of each text.
        kept: tokens that are kept; a line marks it where a text is longer.
    """
    longest = int(lengths.max(initial=1))
    width = -(-longest // BARS)
    counts, edges = np.histogram(lengths, bins=np.arange(0, longest + width + 1, width))
    bars = {
        "type": "bar",
        "x": edges[:-1] + width / 2,
        "y": counts,
        "marker": {"color": NEUTRAL},
        "hovertemplate": "%{y:,} texts of about %{x:.0f} tokens<extra></extra>",
    }
    figure = go.Figure([bars], layout_of("Length of the training texts", None, "Tokens", "Texts", height=260))
    if longest > kept:
        figure.add_vline(x=kept, line={"dash": "dot", "color": NEUTRAL}, annotation_text=f"cut at {kept}")
    return figure


def probabilities(
    found: Mapping[str, NDArray[np.floating]], names: Sequence[str], truth: int | None = None
) -> dict[str, Any]:
    """Make the table of the answers to one input, a row for each network and a column for each class, for JSON.

    Args:
        found: (outputs,) probabilities by label of the network, in the order of the rows; at least one.
        names: of the dataset's labels; may contain any text.
        truth: label of the input; None if it is not known.

    Returns:
        ``heading`` and ``classes`` of the columns, ``rows``, and ``alt``, a text alternative.
    """
    values = np.stack([np.asarray(row, float) for row in found.values()])
    shown = np.sort(np.argsort(-values.max(0), kind="stable")[:MAX_CLASSES]).tolist()
    classes = [shortened(class_name(label, names), 24) for label in shown]
    rows = []
    for network, own in zip(found, values.tolist(), strict=True):
        best = int(np.argmax(own))
        cells = [
            {
                "share": own[label],
                "text": f"{100 * own[label]:.0f}" if own[label] >= TOLD_FROM else "",
                "label": f"{network}: {name} {percent(100 * own[label], 1)}",
            }
            for label, name in zip(shown, classes, strict=True)
        ]
        answer, probability = shortened(class_name(best, names), 24), percent(100 * own[best], 1)
        right = None if truth is None else best == truth
        rows.append({"network": network, "answer": answer, "probability": probability, "right": right, "cells": cells})
    more = f", the {len(shown)} highest of {values.shape[1]} classes" if len(shown) < values.shape[1] else ""
    said = "; ".join(f"{row['network']}: {row['answer']}, {row['probability']}" for row in rows)
    alt = f"The most probable class for each network. {said}."
    return {"heading": f"Probability in percent{more}", "classes": classes, "rows": rows, "alt": alt}


def _shares(results: ClassResults, key: str) -> NDArray[np.float64]:
    """(R, C), percent of each class."""
    counts = results.confusions[key]
    return np.asarray(100 * counts / counts.sum(1, keepdims=True))


def _errors(results: ClassResults, key: str) -> NDArray[np.float64]:
    """(R, C), percent of each class that is predicted as another one; 0 for what is right."""
    right = np.equal.outer(results.classes, results.outputs)
    return np.where(right, 0.0, _shares(results, key))


def _short(names: Sequence[str]) -> list[str]:
    """Names for an axis, escaped, since Plotly interprets some HTML tags."""
    return [html.escape(shortened(name, NAME_LENGTH)) for name in names]


def _class_axis(shown: Sequence[str]) -> dict[str, Any]:
    places = range(0, len(shown), -(-len(shown) // MAX_NAMED) or 1)
    return {"showgrid": False, "tickvals": list(places), "ticktext": [shown[place] for place in places]}
