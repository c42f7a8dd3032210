"""How many images each class of a dataset has, as a figure."""

from __future__ import annotations

import html
from collections.abc import Sequence

import plotly.graph_objects as go

from core.study.figures.style import layout_of

COLOURS = ("rgb(0, 114, 178)", "rgba(0, 114, 178, 0.45)")
"""Of the images to train on and to test: one colour of the palette, as they are of one kind."""


def class_counts(names: Sequence[str], train: Sequence[int], test: Sequence[int]) -> go.Figure:
    """A bar a class: images to train on, and on top of them those to test.

    Args:
        names: of the classes; any text is safe here.
        train: images of each class to train on.
        test: images of each class to test.
    """
    places = list(range(len(names)))
    # Plotly reads a few tags in text; a name may have come from a stranger's file.
    shown = [html.escape(name if len(name) <= 24 else f"{name[:23]}…") for name in names]
    traces = [
        {
            "type": "bar",
            "x": places,
            "y": list(counts),
            "name": what,
            "customdata": shown,
            "marker": {"color": colour},
            "hovertemplate": f"%{{customdata}}: %{{y:,}} {what}<extra></extra>",
        }
        for what, counts, colour in (("to train on", train, COLOURS[0]), ("to test", test, COLOURS[1]))
    ]
    layout = layout_of("Images a class", None, "Class", "Images", height=300)
    layout |= {"barmode": "stack", "bargap": 0.25, "hovermode": "x"}
    layout["legend"] |= {"traceorder": "normal", "y": 1.02, "yref": "paper", "x": 1, "xanchor": "right"}
    few = len(names) <= 30
    layout["xaxis"] |= {"tickvals": places, "ticktext": shown} if few else {"nticks": 20}
    layout["xaxis"] |= {"showgrid": False, "fixedrange": few}
    return go.Figure(traces, layout)
