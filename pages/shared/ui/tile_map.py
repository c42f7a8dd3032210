"""A heat map whose tiles are buttons.

A Plotly heat map cannot be selected at all, and of anything else that Plotly draws a finger selects what it touched
before; the keyboard reaches neither. Buttons do, and they change in place while a sweep runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import streamlit as st

from core.study.figures.style import HeatMap

_HTML = """
<div class="tile-map">
  <table></table>
  <div class="legend" aria-hidden="true"><span></span><div class="bar"></div><span></span></div>
</div>
"""

_CSS = """
.tile-map { container-type: inline-size; font-family: var(--st-font); color: var(--st-text-color); }
table { width: 100%; border-spacing: 3px; table-layout: fixed; font-size: 0.75rem; }
@container (min-width: 520px) { table { font-size: 0.8rem; } }
thead td { width: 3.5rem; }
th[scope="col"] { overflow-wrap: anywhere; }
th { font-weight: 400; color: var(--st-gray-text-color); padding: 0; }
th[scope="row"] { text-align: right; padding-right: 0.25rem; }
td { padding: 0; height: 1.75rem; }
button {
  display: block; width: 100%; height: 100%; padding: 0; border: 0; border-radius: 2px; overflow: hidden;
  font: inherit; color: inherit; background: var(--st-secondary-background-color); cursor: pointer;
}
button:hover, button:focus-visible { outline: 2px solid var(--st-text-color); outline-offset: -2px; }
.legend { display: flex; align-items: center; gap: 0.5rem; margin: 0.5rem 3px 3px 3.75rem; font-size: 0.75rem; }
.legend[hidden] { display: none; }
.bar { flex: 1; height: 0.5rem; border-radius: 2px; }
"""

_element = st.components.v2.component(
    "tile_map", html=_HTML, css=_CSS, js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
)


def tile_map(map: HeatMap, key: str, alt: str, on_press: Callable[[str], None] = lambda tile: None) -> str | None:
    """Draw a heat map, or put new values into the one that is there.

    Args:
        map: what to draw.
        key: its name, unique on the page.
        alt: what it shows, in a sentence, for people who do not see it.
        on_press: called with the key of a tile that was pressed, before the page is drawn again.

    Returns:
        Key of the tile that was just pressed; None otherwise.
    """

    def press() -> None:
        if tile := st.session_state[key].opened:
            on_press(tile)

    pressed: str | None = _element(key=key, data={**asdict(map), "alt": alt}, on_opened_change=press).opened
    return pressed
