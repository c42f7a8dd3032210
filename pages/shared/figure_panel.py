"""A figure on a page, with a button that downloads it."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st

from core.study.figures.curves import export_html


def show(figure: go.Figure, owner: str, key: str, alt: str) -> None:
    """Draw a figure and a button that downloads it as HTML; the figure's own toolbar saves a PNG.

    Args:
        figure: what to draw.
        owner: id of the run or experiment that it shows; file names begin with it.
        key: name of the figure, unique on the page; file names end with it.
        alt: text alternative for screen readers.
    """
    name = f"{owner}-{key}"
    config = {"displaylogo": False, "toImageButtonOptions": {"filename": name, "scale": 2}}
    st.plotly_chart(figure, key=f"figure-{key}", alt=alt, config=config)
    st.download_button(
        "Download chart",
        lambda: export_html(figure),
        f"{name}.html",
        "text/html",
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
        key=f"figure-{key}-download",
        help="An interactive HTML file that works offline.",
    )
