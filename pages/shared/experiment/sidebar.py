"""The sidebar of every page: the device, and the progress of all that trains and waits."""

from __future__ import annotations

import streamlit as st

from core import lab
from core.numbers import left_text
from core.settings import choose_device, device_name
from core.store.record import Run
from pages.shared.experiment.state import followed, time_left

POLL_SECONDS = 4.0
"""Seconds between two updates while there are live runs."""


def sidebar() -> None:
    """Draw the device and the progress of live runs, updated only while there are any."""
    st.caption(f":material/memory: {device_name(choose_device('auto'))}")
    is_live = bool(_runs())
    st.fragment(_activity, run_every=POLL_SECONDS if is_live else None)(is_live)


def _runs() -> list[Run]:
    """What the bar is of."""
    return followed(lab.current(), "sidebar", lab.current().live())


def _activity(was_live: bool) -> None:
    """Draw one progress bar for all that trains and waits."""
    runs = _runs()
    if was_live and not runs:
        st.rerun()  # reruns the whole page, which then shows the results and needs no timer
    if runs:
        live = [run for run in runs if run.is_live]
        count = sum(run.state == "running" for run in live)
        words = [f"{count} running"] if count else []
        words += [f"{len(live) - count} queued"] if count < len(live) else []
        left = time_left(lab.current(), live)
        words += [left] if left != left_text(None, None) else []
        st.progress(lab.current().progress.share_done(runs), " · ".join(words))
