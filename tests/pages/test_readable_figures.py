"""Figures on pages: all that is written in them has the color of the page's text, and nothing else changes."""

from __future__ import annotations

import json

import plotly.graph_objects as go

from pages.shared.ui.figure_panel import END, START, readable

FIGURE = {
    "data": [
        {"type": "scatter", "mode": "lines+text", "x": [1, 2], "y": [3.0, 4.0], "text": ["a", "b"], "name": "seen"},
        {"type": "scatter", "mode": "lines", "x": [1, 2], "y": [3, 4], "name": "hidden", "showlegend": False},
        {"type": "heatmap", "z": [[1, 2]], "colorbar": {"title": {"text": "bar"}}},
        {"type": "heatmap", "z": [[1]], "text": [["25"]], "texttemplate": "%{text}"},
        {"type": "bar", "x": ["p"], "y": [1], "text": ["one"], "textposition": "outside"},
    ],
    "layout": {
        "title": {"text": "title", "subtitle": {"text": "how to read it"}},
        "xaxis": {"title": {"text": "x"}, "tickvals": [1, 2], "ticktext": ["low", "high"]},
        "yaxis": {"title": {"text": "y"}, "tickprefix": "≥ ", "ticksuffix": " %"},
        "yaxis2": {"overlaying": "y"},
        "annotations": [{"text": "note", "x": 1, "y": 3}],
        "legend": {"title": {"text": "legend"}},
    },
}


def test_every_text_has_the_color_of_the_page_and_the_figure_itself_is_not_changed() -> None:
    figure = go.Figure(FIGURE)
    before = figure.to_json()
    written = json.dumps(readable(figure), ensure_ascii=False)
    texts = ["seen", "bar", "title", "how to read it", "x", "y", "low", "high", "note", "legend", "%{text}"]
    assert [text for text in texts if json.dumps(START + text + END, ensure_ascii=False) not in written] == []
    assert json.dumps("hidden") in written
    shown = go.Figure(readable(figure))  # which checks it
    assert (shown.layout.yaxis.tickprefix, shown.layout.yaxis.ticksuffix) == (START + "≥ ", " %" + END)
    assert (shown.layout.yaxis2.tickprefix, shown.layout.yaxis2.ticksuffix) == (START, END)
    assert [trace.texttemplate is not None for trace in shown.data] == [True, False, False, True, True]
    assert figure.to_json() == before
