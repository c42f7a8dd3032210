"""Figure of the probabilities that several networks give to the classes of one input."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.study.figures.style import layout_of
from core.wording.examples import class_name
from core.wording.numbers import percent

MAX_CLASSES = 16
"""Maximum number of classes shown: those that any network gives the highest probabilities."""

NAME_LENGTH = 24
"""Maximum number of characters of a class."""

INK = "rgba(66, 120, 200, {})"
"""Colour of a tile, by its opacity; text on it is readable on light and dark pages up to 0.5."""


def probabilities(found: Mapping[str, NDArray[np.floating]], names: Sequence[str]) -> dict[str, Any]:
    """Draw the probability of each class, networks downwards, as JSON values for ``Plotly.react``.

    It is a dictionary: of a figure, Plotly checks every value, which takes longer than all networks take to answer.

    Args:
        found: (outputs,) probabilities by label of the network, in the order of drawing; at least one.
        names: of the dataset's labels; may contain any text.

    Returns:
        Plotly's ``data`` and ``layout``.
    """
    values = np.stack([np.asarray(row, float) for row in found.values()])
    shown = np.sort(np.argsort(-values.max(0), kind="stable")[:MAX_CLASSES])
    classes = [_short(class_name(int(label), names)) for label in shown]
    labels = [html.escape(label) for label in found]
    hover = [
        [f"{label}: {name} {percent(100 * values[i, j], 1)}" for j, name in zip(shown, classes, strict=True)]
        for i, label in enumerate(labels)
    ]
    part = values[:, shown]
    tiles = {
        "type": "heatmap",
        "z": part.tolist(),
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, INK.format(0)], [1, INK.format(0.5)]],
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "customdata": hover,
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    places = [(i, j) for i, j in np.ndindex(part.shape) if part[i, j] >= 0.005]
    numbers = {
        "type": "scatter",
        "mode": "text",
        "x": [j for _, j in places],
        "y": [i for i, _ in places],
        "text": [f"{100 * part[at]:.0f}" for at in places],
        "textfont": {"size": 11},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    more = f"the {len(shown)} highest of {values.shape[1]} classes; " if len(shown) < values.shape[1] else ""
    layout = layout_of("Probabilities", f"{more}in percent", "Class", None, height=120 + 34 * len(labels))
    layout["xaxis"] |= {"showgrid": False, "tickvals": list(range(len(classes))), "ticktext": classes}
    layout["yaxis"] |= {
        "showgrid": False,
        "tickvals": list(range(len(labels))),
        "ticktext": labels,
        "autorange": "reversed",
    }
    return {"data": [tiles, numbers], "layout": layout}


def probabilities_alt(found: Mapping[str, NDArray[np.floating]], names: Sequence[str]) -> str:
    """A text alternative of :func:`probabilities`: what each network finds most probable."""
    said = [
        f"{label}: {class_name(int(np.argmax(row)), names)}, {percent(100 * float(np.max(row)), 1)}"
        for label, row in found.items()
    ]
    return f"The most probable class for each network. {'; '.join(said)}."


def _short(name: str) -> str:
    return html.escape(name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…")
