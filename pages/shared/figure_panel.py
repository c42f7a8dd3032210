"""A figure on a page, with a button that downloads it."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st

from core.study.figures.curves import chart_config, export_html


def show(figure: go.Figure, owner: str, key: str, alt: str) -> None:
    """Draw a figure and a button that downloads it as HTML; the figure's own toolbar saves a PNG.

    Args:
        figure: what to draw.
        owner: id of the run or experiment that it shows; file names begin with it.
        key: name of the figure, unique on the page; file names end with it.
        alt: text alternative for screen readers.
    """
    name = f"{owner}-{key}"
    st.plotly_chart(figure, key=f"figure-{key}", alt=alt, config=chart_config(name))
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
