"""A figure on a page, with a button that downloads it."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import streamlit as st

from core.study.figures.curves import chart_config, export_html

START = '<span style="color: currentColor; stroke: Canvas; stroke-width: 3px; paint-order: stroke">'
END = "</span>"
"""Around text in the color of the page's text, with an edge in the color of a page: black and white in a file."""


def show(figure: go.Figure, owner: str, key: str, alt: str) -> None:
    """Draw a figure and a button that downloads it as HTML; the figure's own toolbar saves a PNG.

    Args:
        figure: what to draw.
        owner: id of the run or experiment that it shows; file names begin with it.
        key: name of the figure, unique on the page; file names end with it.
        alt: text alternative for screen readers.
    """
    name = f"{owner}-{key}"
    st.plotly_chart(readable(figure), key=f"figure-{key}", alt=alt, config=chart_config(name))
    st.download_button(
        "Download chart",
        lambda: export_html(figure, name),
        f"{name}.html",
        "text/html",
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
        key=f"figure-{key}-download",
        help="An interactive HTML file that works offline.",
    )


def readable(figure: go.Figure) -> go.Figure:
    """Return a copy for ``st.plotly_chart`` that can be read in both themes, on the page and in the PNG of its toolbar.

    Streamlit draws ticks, titles of axes and subtitles in a fixed grey whose contrast with white is 3.8:1, and no color
    has 4.5:1 in both themes. ``currentColor`` is the browser's name for the color of the surrounding text. In a file,
    which has no surroundings, it is black; the background of a PNG is transparent, and may be shown on any color.
    """
    shown = go.Figure(figure)
    for axis in (*shown.select_xaxes(), *shown.select_yaxes()):
        axis.update(tickprefix=START + (axis.tickprefix or ""), ticksuffix=(axis.ticksuffix or "") + END)
        if axis.ticktext is not None:  # prefixes are only put before numbers
            axis.ticktext = [START + text + END for text in axis.ticktext]
        if axis.title.text:
            axis.title.text = START + axis.title.text + END
    for bar in [trace.colorbar for trace in shown.data if "colorbar" in trace and trace.colorbar.title.text]:
        bar.update(tickprefix=START, ticksuffix=END)
        bar.title.text = START + bar.title.text + END
    for title in (shown.layout.title, shown.layout.legend.title):
        if title.text:
            title.text = START + title.text + END
    shown.for_each_trace(lambda trace: trace.update(name=START + trace.name + END), selector=_named)
    if shown.layout.title.subtitle.text:
        shown.layout.title.subtitle.text = START + shown.layout.title.subtitle.text + END
    shown.for_each_annotation(lambda note: note.update(text=START + note.text + END))
    shown.update_traces(texttemplate=f"{START}%{{text}}{END}", selector=_writes)
    return shown


def _named(trace: Any) -> bool:
    """Whether the legend names a trace."""
    return trace.name is not None and trace.showlegend is not False


def _writes(trace: Any) -> bool:
    """Whether a trace writes its text beside its marks."""
    if trace.type == "scatter":
        return "text" in (trace.mode or "")
    return bool(trace.type == "bar" and trace.textposition == "outside")
