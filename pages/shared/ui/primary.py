"""Labels of primary buttons in a colour that can be read on the theme's primary color."""

from __future__ import annotations


def on_primary(label: str) -> str:
    """Return a label as Markdown in the theme's ``violetTextColor``: white in the light theme, dark in the dark one.

    Streamlit writes these labels in white, and as text on a dark page it uses the same primary color, for values of
    sliders and selected pills. No color has a contrast of 4.5:1 in both places.
    """
    return f":violet[{label}]"
