"""A picture of numbers, in the page itself."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO

import streamlit as st
from PIL import Image

from core.data.dataset import Images


def picture(pixels: Images, alt: str, *, width: int | None = None, caption: str | None = None) -> None:
    """Draw a gray image.

    It has no address of its own: a file that Streamlit serves is gone once another run begins, which a slow browser
    may ask for only then, and never again.

    Args:
        pixels: shape (height, width), from 0 to 255.
        alt: says what is seen.
        width: in pixels of the page; None for that of the image.
        caption: Markdown below it.
    """
    written = BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    address = f"data:image/png;base64,{b64encode(written.getvalue()).decode()}"
    st.image(address, caption, width="content" if width is None else width, alt=alt)
