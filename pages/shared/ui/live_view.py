"""Parts of a page that are updated in place: a bar, charts and a table, which fetch their own news.

A script of Streamlit that runs every second costs a browser more than what it shows, since the whole page is drawn
anew. A live view asks the server for its content instead, and for a run of the script only where the page must change.
``st.plotly_chart`` creates a new chart whenever its data change; a view keeps its charts and passes new data to
``Plotly.react``, so that zoom and legend choices survive.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import plotly
import plotly.graph_objects as go
import streamlit as st
from plotly.io.json import to_json_plotly

from pages.shared.ui.download import offered
from pages.shared.ui.links import address

MIN_WIDTH = 270
"""Minimum width of a chart beside another one, in pixels; where there is less room, they stand below each other."""

MAX_TABLE = 300
"""Maximum height of a table in pixels; a longer one scrolls."""

_HTML = """
<div class="live-view">
  <div class="live-bar" hidden>
    <p></p>
    <div class="live-bar-track" role="progressbar" aria-valuemin="0" aria-valuemax="100"><div></div></div>
  </div>
  <div class="live-charts"></div>
  <div class="live-table" tabindex="0" hidden><table><thead><tr></tr></thead><tbody></tbody></table></div>
</div>
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
.live-view {{ display: grid; gap: 1rem; }}
.live-view > [hidden] {{ display: none; }}
.live-bar > p {{ margin: 0 0 0.25rem; font-size: 0.875rem; }}
.live-bar-track {{ height: 0.5rem; border-radius: 0.25rem; background: var(--st-secondary-background-color); }}
.live-bar-track > div {{ height: 100%; border-radius: inherit; background: var(--st-primary-color); }}
.live-charts {{
  display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min({MIN_WIDTH}px, 100%), 1fr));
}}
.live-charts:empty {{ display: none; }}
.live-chart-frame {{ position: relative; overflow: hidden; min-width: 0; }}
.live-chart-message {{ position: absolute; inset: 0 0 auto; margin: 0; }}
.live-table {{
  max-height: {MAX_TABLE}px; overflow: auto; font-size: 0.875rem;
  border: 1px solid var(--st-border-color); border-radius: var(--st-base-radius);
}}
.live-table table {{ width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }}
.live-table :is(th, td) {{
  padding: 0.375rem 0.625rem; text-align: start; white-space: nowrap; border-bottom: 1px solid var(--st-border-color);
}}
.live-table tr:last-child > td {{ border-bottom: 0; }}
.live-table th {{ position: sticky; top: 0; font-weight: 400; background: var(--st-secondary-background-color); }}
"""

Figure = go.Figure | dict[str, Any]

_element = st.components.v2.component(
    "live_view",
    html=_HTML,
    css=_CSS,
    js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"),
    isolate_styles=False,  # plotly.js adds the styles of its modebar and hover labels to the document
)


@dataclass(frozen=True, kw_only=True)
class View:
    """What a live view shows at one moment. Nothing in it is read as Markdown or HTML."""

    words: str = ""
    """Stands above the bar."""

    share: float | None = None
    """How full the bar is, from 0 to 1; None for words without a bar."""

    charts: Mapping[str, tuple[Figure, str]] = field(default_factory=dict)
    """Figure and text alternative of each chart, by its name, which is also the file name of the downloaded PNG.

    Width and background are those of the page. Font, text and grid follow the page's theme instead of the figure's
    template, unless the figure's layout sets them. Number and names stay while a view is on the page. If a change
    should reset the zoom (such as another x-axis), change the layout's ``uirevision``.
    """

    height: int = 0
    """Of each chart, in pixels."""

    table: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Columns of text of equal lengths, by their titles."""

    about_table: str = ""
    """Text alternative of the table."""

    version: str = ""
    """Of the page around the view: where it changes, the script runs once more."""

    def packed(self) -> dict[str, Any]:
        """Values for JSON; figures are texts, which are compared as a whole."""
        library = address(f"/assets/plotly.min.js?v={plotly.__version__}")
        charts = [
            {"name": name, "figure": to_json_plotly(figure), "alt": alt, "height": self.height, "library": library}
            for name, (figure, alt) in self.charts.items()
        ]
        table = {"titles": list(self.table), "rows": list(zip(*self.table.values(), strict=True))}
        shown = {"words": self.words, "share": self.share, "charts": charts, "version": self.version}
        return {**shown, "table": {**table, "about": self.about_table}}


def live_view(content: Callable[[], View], key: str, every: float | None) -> None:
    """Draw what ``content`` returns, and again whenever the browser has asked for it anew.

    Where its version is not the one that was drawn, the script (or the fragment that this is called in) runs once more.

    Args:
        content: called here, and then in threads without a page: it draws nothing and reads no session state.
        key: unique on the page.
        every: seconds between two looks of a browser that shows the page; None for a view that stays as it is.
    """
    now = content().packed()
    source = None
    if every is not None:
        source = offered(key, lambda: json.dumps(content().packed()), f"{key}.json", "application/json")
    _element(key=key, data={"now": now, "source": source, "every": every}, on_changed_change=_drawn_anew)


def _drawn_anew() -> None:
    """Streamlit runs the script after this callback."""


def live_chart(figure: Figure, key: str, height: int, alt: str) -> None:
    """Draw one chart, which keeps its zoom when the script draws it with new data.

    Args:
        figure: traces and layout.
        key: name of the chart, unique on the page.
        height: in pixels.
        alt: text alternative for screen readers.
    """
    live_view(lambda: View(charts={key: (figure, alt)}, height=height), key, None)
