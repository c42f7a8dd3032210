"""The adapters of runs that the page offers to choose from."""

from __future__ import annotations

import streamlit as st

from core.lab import Lab
from core.methods.method import Role
from core.methods.registry import methods
from core.numbers import count_text
from core.store.record import Run

LISTED = 500
"""Maximum number of adapters to choose from, the newest."""


def listed_adapters(lab: Lab, asked: str | None = None) -> dict[str, Run]:
    """The runs with an adapter, by id; say where there are more of them than are listed.

    Args:
        lab: has the runs.
        asked: id of a run that is listed in any case, if it exists and has an adapter.
    """
    found = lab.runs(methods=list(methods(Role.ADAPTER)), states=["finished", "stopped"], limit=LISTED + 1)
    if len(found) > LISTED:
        st.caption(f"Only the newest {count_text(LISTED)} adapters are listed; the Runs page links to older ones.")
    listed = found[:LISTED]
    older = lab.runs_of([asked]) if asked and asked not in {run.id for run in listed} else []
    return {run.id: run for run in [*listed, *older] if run.result is not None and run.spec.role is Role.ADAPTER}
