"""Keys of widgets that depend on what the widget shows, such as a table whose rows are selected by position."""

from __future__ import annotations

import hashlib


def widget_key(prefix: str, *parts: object) -> str:
    """A key that is another one for other ``parts``. Args: prefix: its beginning; parts: what the widget shows."""
    return f"{prefix}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:12]}"
