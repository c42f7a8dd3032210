"""What forms show of runs that need more memory than is free: how much is missing, and buttons for what would fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from core.forecast.cost import target_layers
from core.forecast.fit import Change
from core.lab import Lab
from core.run_spec import RunSpec
from pages.shared.forms import widgets
from pages.shared.forms.optim import family_key
from pages.shared.forms.task import own_values
from pages.shared.ui.literal import literal


def fit_warning(lab: Lab, specs: Sequence[RunSpec], key: str) -> bool:
    """Draw a warning if one of these runs does not fit in memory, with a button per change that makes all of them fit.

    A sentence names the changes for which a page has no widget.

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
    known = [(change, _values(lab, change, key, specs[-1])) for change in missing.changes]
    for change, values in known:
        if not values:
            continue
        st.button(
            change.text,
            key=f"{key}-fit-{change.field}",
            icon=":material/compress:",
            width="stretch",
            on_click=widgets.fill,
            args=(values,),
        )
    others = replace(missing, changes=tuple(change for change, values in known if not values))
    for sentence in filter(None, [others.advice, missing.others]):
        st.caption(literal(sentence))
    return False


def _values(lab: Lab, change: Change, key: str, spec: RunSpec) -> dict[str, Any]:
    """The values of a form's widgets that make a change, by their keys; empty where the form has no such widget."""
    match change.field:
        case "accumulation":
            values: dict[str, Any] = {f"{family_key(key, spec.network)}-accumulation": change.value}
        case "recompute":
            values = {f"{family_key(key, spec.network)}-recompute": True}
        case "length" if f"{key}-preset" in st.session_state:
            # A preset has no choice of the length: the same task with every setting as a field has.
            own = own_values(
                lab.catalog.info(spec.task.dataset, spec.network.learns).kind, spec.task.but(length=change.value)
            )
            return {f"{key}-{name}": value for name, value in own.items()}
        case "length":
            values = {f"{key}-length": change.value}
        case "blocks":
            values = {f"{key}-blocks": list(target_layers(spec.trained_network).blocks)[-change.value :]}
    return values if values.keys() <= st.session_state.keys() else {}
