"""Text from a stranger's file, shown as it is."""

from __future__ import annotations

import re


def literal(text: str) -> str:
    """Markdown that shows ``text`` letter by letter: no emphasis, link, icon, formula or HTML comes of it."""
    return re.sub(r"([\\`*_{}\[\]<>()#|~!&$@:])", r"\\\1", text)
