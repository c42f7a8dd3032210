"""A field for files from this computer, whose label has the limit."""

from __future__ import annotations

from typing import Any

import streamlit as st


def upload_field(label: str, most: int, **more: Any) -> Any:
    """Draw a field for a file, or for several.

    The browser never sends a file that is too large; Streamlit shows it in red, and says why only in a tooltip.

    Args:
        label: of the field; the limit is put behind it.
        most: MB of a file.
        more: as ``st.file_uploader`` takes it.

    Returns:
        The file; of several a list.
    """
    return st.file_uploader(f"{label}, at most {most} MB", max_upload_size=most, **more)
