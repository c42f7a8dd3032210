"""What every page shows beside its content: the device, and what trains now."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core import lab
from core.settings import choose_device, device_name
from core.store.record import Run
from core.wording.numbers import seconds_text

POLL_SECONDS = 2.0
"""Between two looks at the runs, while there are any to look at."""


def sidebar() -> None:
    """Draw the device and how far the live runs are; look again only while there are some."""
    st.caption(f":material/memory: {device_name(choose_device('auto'))}")
    is_live = bool(lab.current().live())
    st.fragment(_activity, run_every=POLL_SECONDS if is_live else None)(is_live)


def _activity(was_live: bool) -> None:
    """The live runs in one line and one bar."""
    runs = lab.current().live()
    if was_live and not runs:
        st.rerun()  # the whole script, so that this starts anew without a clock and the page shows what came out
    if runs:
        running = [run for run in runs if run.state == "running"]
        progress = sum(run.progress for run in running) / max(len(running), 1)
        st.progress(progress, text=_line(running, len(runs) - len(running)))


def _line(running: Sequence[Run], waiting: int) -> str:
    words = []
    if running:
        seconds = max((run.eta for run in running if run.eta is not None), default=None)
        words.append(f"{len(running)} running" + (f", {seconds_text(seconds)} left" if seconds is not None else ""))
    if waiting:
        words.append(f"{waiting} waiting")
    return " · ".join(words)
