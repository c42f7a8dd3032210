"""A chart that is redrawn in place, so that zoom and legend choices survive every new point.

``st.plotly_chart`` mounts a new chart at each change of data. This element keeps one, and hands new data to
``Plotly.react``. Call it inside ``@st.fragment(run_every=…)``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plotly
import plotly.graph_objects as go
import streamlit as st
from plotly.io.json import to_json_plotly

_HTML = """
<div class="live-chart-frame">
  <div class="live-chart" role="img"></div>
  <p class="live-chart-message" role="alert" hidden>The chart cannot be drawn yet; if this stays, reload the page.</p>
</div>
"""

_CSS = """
.live-chart-frame { position: relative; overflow: hidden; }
.live-chart-message { position: absolute; inset: 0 0 auto; margin: 0; }
"""

_element = st.components.v2.component(
    "live_chart",
    html=_HTML,
    css=_CSS,
    js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"),
    isolate_styles=False,  # plotly.js puts the styles of its modebar and hover labels into the document
)


def live_chart(figure: go.Figure | dict[str, Any], key: str, height: int, alt: str) -> None:
    """Draw a chart, or put new data into the one that is there.

    Size and background are the page's. Font, text and grid follow its theme in place of the figure's template, unless
    the figure's own layout sets them. Where a change should reset the zoom (another x-axis, say), give the layout
    another ``uirevision``.

    Args:
        figure: traces and layout.
        key: the chart's name, unique on the page; also that of the downloaded PNG.
        height: in pixels.
        alt: what the chart shows, in a sentence, for people who do not see it.
    """
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    library = f"{'/' + base if base else ''}/assets/plotly.min.js?v={plotly.__version__}"
    _element(
        key=key,
        height=height,
        data={"figure": to_json_plotly(figure), "height": height, "alt": alt, "name": key, "library": library},
    )
