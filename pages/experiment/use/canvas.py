"""A square to draw on with mouse, pen or finger."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from core.data.drawing import DRAWN, drawing_of

_HTML = """
<div class="drawing">
  <canvas width="280" height="280" role="img"></canvas>
  <button type="button">Clear</button>
</div>
"""

_CSS = """
.drawing { font-family: var(--st-font); max-width: min(280px, 60vw, 40vh); }
canvas {
  display: block; width: 100%; aspect-ratio: 1; touch-action: none; cursor: crosshair;
  border: 1px solid var(--st-border-color); border-radius: var(--st-base-radius);
}
button {
  margin-top: 0.5rem; padding: 0.25rem 0.75rem; font: inherit; color: var(--st-text-color); cursor: pointer;
  background: var(--st-background-color); border: 1px solid var(--st-border-color);
  border-radius: var(--st-base-radius);
}
button:hover, button:focus-visible { outline: 2px solid var(--st-primary-color); }
"""

_element = st.components.v2.component(
    "canvas", html=_HTML, css=_CSS, js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
)


def canvas(key: str, alt: str) -> NDArray[np.uint8] | None:
    """Draw the square.

    Args:
        key: its name, unique on the page.
        alt: what it is for, in a sentence, for people who do not see it.

    Returns:
        (56, 56) what was drawn, 0 background to 255 ink; None for nothing.

    Raises:
        DatasetError: the browser sent something else.
    """
    found: str | None = _element(key=key, data={"alt": alt, "side": DRAWN}, on_drawing_change=lambda: None).drawing
    if not found:
        return None
    drawing = drawing_of(found)
    return drawing if drawing.any() else None
