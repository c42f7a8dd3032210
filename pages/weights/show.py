"""How the Weights page shows a figure."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st

from core.study.figures.curves import export_html
from pages.weights.focus import Focus


def show(focus: Focus, figure: go.Figure, key: str, alt: str) -> None:
    """Show a figure and its download; the toolbar over the figure saves a PNG."""
    name = f"{focus.run.id}-{key}"
    config = {"displaylogo": False, "toImageButtonOptions": {"filename": name, "scale": 2}}
    st.plotly_chart(figure, key=f"{key}-figure", alt=alt, config=config)
    st.download_button(
        "HTML",
        lambda: export_html(figure),
        f"{name}.html",
        "text/html",
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
        key=f"{key}-html",
        help="This figure as a page of its own.",
    )
