"""Charts that are updated in place, so that zoom and legend choices survive new data.

``st.plotly_chart`` creates a new chart whenever its data changes. This component keeps its charts and passes new data
to ``Plotly.react``. Call it inside ``@st.fragment(run_every=…)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly
import plotly.graph_objects as go
import streamlit as st
from plotly.io.json import to_json_plotly

from pages.shared.ui.links import address

MIN_WIDTH = 270
"""Minimum width of a chart beside another one, in pixels; where there is less room, they stand below each other."""

_HTML = """
<div class="live-charts"></div>
<template class="live-chart-parts">
  <div class="live-chart-frame">
    <div class="live-chart" role="figure"></div>
    <p class="live-chart-message" role="alert" hidden>
      The chart could not be loaded. If this message stays, reload the page.
    </p>
  </div>
</template>
"""

_CSS = f"""
.live-charts {{
  display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min({MIN_WIDTH}px, 100%), 1fr));
}}
.live-chart-frame {{ position: relative; overflow: hidden; min-width: 0; }}
.live-chart-message {{ position: absolute; inset: 0 0 auto; margin: 0; }}
"""

Figure = go.Figure | dict[str, Any]

_element = st.components.v2.component(
    "live_chart",
    html=_HTML,
    css=_CSS,
    js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"),
    isolate_styles=False,  # plotly.js adds the styles of its modebar and hover labels to the document
)


def live_chart(figure: Figure, key: str, height: int, alt: str) -> None:
    """Draw a chart, or update it with new data.

    Width and background are those of the page. Font, text and grid follow the page's theme instead of the figure's
    template, unless the figure's layout sets them. If a change should reset the zoom (such as another x-axis), change
    the layout's ``uirevision``.

    Args:
        figure: traces and layout.
        key: name of the chart, unique on the page; also the file name of the downloaded PNG.
        height: in pixels.
        alt: text alternative for screen readers.
    """
    live_charts({key: (figure, alt)}, key, height)


def live_charts(charts: Mapping[str, tuple[Figure, str]], key: str, height: int) -> None:
    """Draw charts beside each other, as :func:`live_chart` draws one; their number and names must stay.

    Args:
        charts: figure and text alternative of each, by its name.
        key: unique on the page.
        height: of each, in pixels.
    """
    library = address(f"/assets/plotly.min.js?v={plotly.__version__}")
    parts = [
        {"name": name, "figure": to_json_plotly(figure), "alt": alt, "height": height, "library": library}
        for name, (figure, alt) in charts.items()
    ]
    _element(key=key, data={"charts": parts})
