"""Figures of a dataset: the number of examples per class, and the lengths of texts in tokens."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from core.study.figures.palette import NEUTRAL
from core.study.figures.style import layout_of
from core.wording.tasks import shortened

COLOURS = ("rgb(0, 114, 178)", "rgba(0, 114, 178, 0.45)")
"""Colours of training and test examples: two shades of one colour of the palette."""


def class_counts(names: Sequence[str], train: Sequence[int], test: Sequence[int], what: str = "images") -> go.Figure:
    """Draw one bar per class: training examples, with test examples stacked on top.

    Args:
        names: of the classes; may contain any text.
        train: number of training examples of each class.
        test: number of test examples of each class.
        what: the examples are, in the plural.
    """
    places = list(range(len(names)))
    # Plotly interprets some HTML tags in text, and names come from uploaded files.
    shown = [html.escape(shortened(name, 24)) for name in names]
    traces = [
        {
            "type": "bar",
            "x": places,
            "y": list(counts),
            "name": part,
            "customdata": shown,
            "marker": {"color": colour},
            "hovertemplate": f"%{{customdata}}: %{{y:,}} {part} {what}<extra></extra>",
        }
        for part, counts, colour in (("training", train, COLOURS[0]), ("test", test, COLOURS[1]))
    ]
    layout = layout_of(f"{what.capitalize()} per class", None, "Class", what.capitalize(), height=300)
    layout |= {"barmode": "stack", "bargap": 0.25, "hovermode": "x"}
    layout["legend"] |= {"traceorder": "normal", "y": 1.02, "yref": "paper", "x": 1, "xanchor": "right"}
    few = len(names) <= 30
    layout["xaxis"] |= {"tickvals": places, "ticktext": shown} if few else {"nticks": 20}
    layout["xaxis"] |= {"showgrid": False, "fixedrange": few}
    return go.Figure(traces, layout)


BARS = 40
"""Maximum number of bars."""


def length_histogram(lengths: NDArray[np.int64], kept: int) -> go.Figure:
    """Draw how many texts have how many tokens.

    Args:
        lengths: (n,) tokens of each text.
        kept: tokens that are kept; a line marks it where a text is longer.
    """
    longest = int(lengths.max()) if len(lengths) else 1
    width = max(1, -(-longest // BARS))
    counts, edges = np.histogram(lengths, bins=np.arange(0, longest + width + 1, width))
    bars = {
        "type": "bar",
        "x": (edges[:-1] + width / 2).tolist(),
        "y": counts.tolist(),
        "marker": {"color": NEUTRAL},
        "hovertemplate": "%{y:,} texts of about %{x:.0f} tokens<extra></extra>",
    }
    figure = go.Figure([bars], layout_of("Length of the training texts", None, "Tokens", "Texts", height=260))
    figure.update_layout(bargap=0.05)
    if longest > kept:
        figure.add_vline(x=kept, line={"dash": "dot", "color": NEUTRAL}, annotation_text=f"cut at {kept}")
    return figure
