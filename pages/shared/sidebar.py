"""The sidebar of every page: the device, and the progress of live runs."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core import lab
from core.settings import choose_device, device_name
from core.store.record import Run
from core.wording.numbers import seconds_text

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
        st.progress(progress, text=_line(running, len(runs) - len(running)))


def _line(running: Sequence[Run], waiting: int) -> str:
    words = []
    if running:
        # Runs of a bank share the time, so what is left is their sum, as in the live view.
        left = [run.eta for run in running if run.eta is not None]
        words.append(f"{len(running)} running" + (f", about {seconds_text(sum(left))} left" if left else ""))
    if waiting:
        words.append(f"{waiting} queued")
    return " · ".join(words)
