"""A figure on a page, with the file of it."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st

from core.study.figures.curves import export_html


def show(figure: go.Figure, experiment: str, key: str, alt: str) -> None:
    """A figure, and the file of it; the toolbar over the figure saves a PNG.

    Args:
        figure: what is shown.
        experiment: its id, for the names of files.
        key: the figure's own, unique on the page.
        alt: what it shows, in words.
    """
    config = {"displaylogo": False, "toImageButtonOptions": {"filename": f"{experiment}-{key}", "scale": 2}}
    st.plotly_chart(figure, key=key, alt=alt, config=config)
    st.download_button(
        "HTML",
        lambda: export_html(figure),
        f"{experiment}-{key}.html",
        "text/html",
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
        key=f"{key}-html",
        help="This figure as a page of its own.",
    )
