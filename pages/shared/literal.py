"""Text that people type or a file carries, shown as it is."""

from __future__ import annotations

import re

_MARKED = r"[\\`*_{}\[\]<>()#|~!&$]"
"""Punctuation of markdown: a backslash before it makes it a letter."""

_APART = r":(?=\S)|@|(?<=www)\.|(?<=[-<>~])[-=>]"
"""Characters that Streamlit looks for after markdown has been read, when no backslash or entity is left: the colon of
``:smile:``, ``:material/warning:`` and ``https://``, the signs of addresses, the second half of an arrow."""

_SPECIAL = re.compile(f"(?P<apart>{_APART})|{_MARKED}", re.IGNORECASE)

_START = re.compile(r"^(\d*)([-+=.])")
"""What makes a list, a rule or a heading of a line that begins with it."""


def literal(text: str) -> str:
    """Markdown that shows ``text`` letter by letter: no emphasis, link, icon, formula or HTML comes of it.

    Lines stay lines; other white space is shown as HTML shows it. Copying gives back what was typed.
    Not for ``st.badge``, which puts a backslash before every bracket itself.
    """
    return "\\\n".join(_START.sub(r"\1\\\2", _SPECIAL.sub(_plain, line.strip())) for line in text.strip().splitlines())


def _plain(found: re.Match[str]) -> str:
    """A character that stands for itself.

    ``:color[…]`` that names no colour is an element without style: alone in it, a character begins nothing.
    """
    character = found[0]
    escaped = character if character in ":@.-=" else f"\\{character}"
    return f":color[{escaped}]" if found["apart"] else escaped
