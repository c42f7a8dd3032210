"""Escaping of text from users and files, so that Streamlit shows it verbatim; errors are shown so, too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from core.errors import LabError

_MARKED = r"[\\`*_{}\[\]<>()#|~!&$]"
"""Markdown punctuation that a backslash escapes."""

_APART = r":(?=\S)|@|(?<=www)\.|(?<=[-<>~])[-=>]"
"""Characters that Streamlit interprets after markdown was parsed, when backslashes and entities are gone: the colon of
``:smile:``, ``:material/warning:`` and ``https://``, the signs in addresses, the second half of an arrow."""

_SPECIAL = re.compile(f"(?P<apart>{_APART})|{_MARKED}", re.IGNORECASE)

_START = re.compile(r"^(\d*)([-+=.])")
"""Start of a line that markdown would read as a list, rule or heading."""


def literal(text: str) -> str:
    """Return markdown that shows ``text`` verbatim, without emphasis, links, icons, formulas or HTML.

    Line breaks are kept; other white space collapses as in HTML. Copying from the page gives the original text.
    Not for ``st.badge``, which escapes brackets itself.
    """
    return "\\\n".join(_START.sub(r"\1\\\2", _SPECIAL.sub(_plain, line.strip())) for line in text.strip().splitlines())


def colored(color: str, text: str) -> str:
    """Return markdown that shows ``text`` in one line, verbatim, with a background. Args: color: empty for none."""
    shown = literal(text.replace("\n", "⏎"))
    inner = f":{color}-background[{shown}]" if color and shown else shown
    return " " * text[:1].isspace() + inner + " " * text[-1:].isspace()


def _plain(found: re.Match[str]) -> str:
    """Escape one character.

    ``:color[…]`` without a colour is an element without style. A character alone in it cannot start any syntax.
    """
    character = found[0]
    escaped = character if character in ":@.-=" else f"\\{character}"
    return f":color[{escaped}]" if found["apart"] else escaped


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show the sentence of an error in place of the rest of what is drawn within."""
    try:
        yield
    except LabError as error:
        st.error(literal(str(error)))
