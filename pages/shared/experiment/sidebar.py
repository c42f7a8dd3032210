"""The sidebar of every page: the device, and the progress of live runs."""

from __future__ import annotations

import streamlit as st

from core import lab
from core.numbers import left_text
from core.settings import choose_device, device_name
from pages.shared.experiment.state import seconds_left

POLL_SECONDS = 2.0
"""Seconds between two updates while there are live runs."""


def sidebar() -> None:
    """Draw the device and the progress of live runs, updated only while there are any."""
    st.caption(f":material/memory: {device_name(choose_device('auto'))}")
    is_live = bool(lab.current().live())
    st.fragment(_activity, run_every=POLL_SECONDS if is_live else None)(is_live)


def _activity(was_live: bool) -> None:
    """Draw one progress bar for all live runs."""
    runs = lab.current().live()
    if was_live and not runs:
        st.rerun()  # reruns the whole page, which then shows the results and needs no timer
    if runs:
        running = [run for run in runs if run.state == "running"]
        progress = sum(run.progress for run in running) / max(len(running), 1)
        counts = [f"{len(running)} running"] if running else []
        counts += [f"{len(runs) - len(running)} queued"] if len(running) < len(runs) else []
        low, high = seconds_left(lab.current(), runs)
        counts += [left_text(low, high)] if low is not None else []
        st.progress(progress, text=" · ".join(counts))
