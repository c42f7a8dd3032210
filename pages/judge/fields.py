"""The fields that say how files of results are read: those that are asked for first, all others in a fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import streamlit as st

from core.errors import LabError
from core.judge.questions import Question
from core.judge.reading import COLUMNS, Reading
from core.spec import bounds
from pages.shared.ui.literal import literal

NOTHING = "–"
"""Shown for a field that says nothing."""

NUMBERS = {"within": 0.0, "examples": 2}
"""Fields with a number, and the least one."""


def reading_so_far(key: str) -> Reading:
    """What the fields say. Args: key: prefix of their widget keys. Raises: SpecError: something is out of bounds."""
    given: dict[str, Any] = {}
    for name in Reading.model_fields:
        value = st.session_state.get(f"{key}-{name}")
        if value not in (None, "", NOTHING, []):
            given[name] = tuple(value) if isinstance(value, list) else value
    return Reading.of(**given)


def draw_fields(key: str, columns: Sequence[str], questions: Sequence[Question]) -> None:
    """Draw every field once.

    Args:
        key: prefix of the widget keys.
        columns: names of all columns of the files.
        questions: that are open.
    """
    asked: dict[str, Question] = st.session_state.setdefault(f"{key}:asked", {})
    asked.update({question.field: question for question in questions})
    open_ = {question.field for question in questions}
    for name, question in asked.items():
        with st.container(border=True):
            if name in open_:
                st.markdown(f":material/help: {literal(question.text)}")
            _field(key, name, columns, question.options)
    with st.expander("How the files are read", icon=":material/table_chart:", key=f"{key}:fold"):
        st.caption("Columns with known names are found. A field is needed where a name differs or something is open.")
        left, right = st.columns(2, gap="large")
        rest = [name for name in Reading.model_fields if name not in asked]
        for place, name in enumerate(rest):
            with left if place < len(rest) / 2 else right:
                _field(key, name, columns, ())


def _field(key: str, name: str, columns: Sequence[str], options: Sequence[str]) -> None:
    about, kind = bounds(Reading, name), Reading.model_fields[name].annotation
    place: Mapping[str, Any] = {"label": about.title, "help": about.description, "key": f"{key}-{name}"}
    if name == "settings":
        st.multiselect(options=list(columns), **place)
    elif name in NUMBERS:
        st.number_input(min_value=NUMBERS[name], value=None, placeholder="not said", **place)
    elif get_origin(kind) is Literal:
        st.selectbox(options=[NOTHING, *(choice for choice in get_args(kind) if choice)], **place)
    elif options or name in COLUMNS:
        st.selectbox(options=list(dict.fromkeys([NOTHING, *(options or columns)])), **place)
    else:
        st.text_input(max_chars=400, **place)


def problem(error: LabError) -> None:
    """Say what is wrong with files or answers."""
    st.error(literal(str(error)))
