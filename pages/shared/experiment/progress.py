"""The progress of what trains and of all that waits behind it, as one bar that only new runs set back."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.lab import Lab
from core.store.record import Run, is_under_way

FOLLOWED = "followed-runs"
"""Session state key: ids of the runs that each bar is of, by the key of the bar."""


def followed(lab: Lab, key: str, runs: Sequence[Run]) -> list[Run]:
    """What a bar is of: those of these runs that are live, what was launched with them, and what the bar was of before;
    nothing once all of it has ended.

    Args:
        lab: has the runs.
        key: of the bar, unique in the session.
        runs: what is looked at.
    """
    known: dict[str, tuple[str, ...]] = st.session_state.setdefault(FOLLOWED, {})
    before = lab.runs_of(known.get(key, ()))
    found = {run.id: run for run in before} if is_under_way(before) else {}
    if new := [run for run in runs if run.is_live and run.id not in found]:
        found |= {run.id: run for run in lab.progress.launched_with(new)}
    known[key] = tuple(found)
    return list(found.values())
