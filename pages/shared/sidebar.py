"""The sidebar of every page: the device, and the progress of live runs."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core import lab
from core.errors import LabError
from core.settings import choose_device, device_name
from core.store.record import Run
from core.wording.numbers import left_text

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
        st.progress(progress, text=" · ".join([*counts, *_left(runs)]))


def _left(runs: Sequence[Run]) -> list[str]:
    """How long the runs will still take, as in the live view; empty while that is not known."""
    try:
        left = lab.current().estimates.remaining(runs)
    except LabError:
        return []  # A dataset is gone: its runs will fail, and say so.
    return [left_text(left.seconds_low, left.seconds_high)] if left.seconds is not None else []
