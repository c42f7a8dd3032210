"""What forms show of runs that need more memory than is free: how much is missing, and buttons for what would fit."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.engine.fit import Change
from core.engine.target_choices import target_choices
from core.lab import Lab
from core.run_spec import RunSpec
from pages.shared import forms
from pages.shared.literal import literal
from pages.shared.optim_form import family_key


def fit_warning(lab: Lab, specs: Sequence[RunSpec], key: str) -> bool:
    """Draw a warning if one of these runs does not fit in memory, with a button per change that makes all of them fit.

    Where a page has no widget for any of these changes, a sentence names them.

    Args:
        lab: knows what fits.
        specs: all runs that will be trained.
        key: prefix of the widget keys of the form.

    Returns:
        Whether all runs fit.

    Raises:
        LabError: a task's data is missing, or adapters do not fit the network.
    """
    missing = lab.estimates.shortage(specs)
    if missing is None:
        return True
    st.warning(literal(missing.text), icon=":material/memory:")
    known = [(change, *_widget(change, key, specs[0])) for change in missing.changes]
    # A preset, for one, has no choice of the length.
    offered = [(change, name, value) for change, name, value in known if name in st.session_state]
    for change, name, value in offered:
        st.button(
            change.text,
            key=f"{key}-fit-{change.field}",
            icon=":material/compress:",
            width="stretch",
            on_click=_choose,
            args=(name, value),
        )
    for sentence in filter(None, ["" if offered else missing.advice, missing.others]):
        st.caption(literal(sentence))
    return False


def _widget(change: Change, key: str, spec: RunSpec) -> tuple[str, object]:
    """Key of the widget that a change is made with, and the value that it gets."""
    match change.field:
        case "accumulation":
            return f"{family_key(key, spec.network)}-accumulation", change.value
        case "length":
            return f"{key}-length", change.value
        case "blocks":
            return f"{key}-blocks", list(target_choices(spec.network).blocks)[-change.value :]


def _choose(name: str, value: object) -> None:
    forms.offer(name, value)
    st.session_state[name] = value
