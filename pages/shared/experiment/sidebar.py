"""The sidebar of every page: the device, the experiment that is open, and the progress of all that trains and waits."""

from __future__ import annotations

import streamlit as st

from core.lab import Lab, current
from core.settings import choose_device, device_name
from pages.shared.experiment.current import CURRENT, QUERY, known
from pages.shared.experiment.state import followed, known_bars, shown_left
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.live_view import View, live_view

POLL_SECONDS = 4.0
"""Seconds between two updates while there are live runs."""


def sidebar() -> None:
    """Draw the device and the progress of live runs, updated only while there are any."""
    st.caption(f":material/memory: {device_name(choose_device('auto'))}")
    lab, bars = current(), known_bars()
    if opened := known(lab, st.session_state.get(CURRENT) or ""):
        link("experiment", literal(opened.name), {QUERY: opened.id})
    if followed(lab, bars, "sidebar", lab.live()):
        live_view(lambda: _activity(lab, bars), "sidebar-activity", POLL_SECONDS)


def _activity(lab: Lab, bars: dict[str, tuple[str, ...]]) -> View:
    """One bar for all that trains and waits; when all has ended, the page shows the results and needs no bar."""
    runs = followed(lab, bars, "sidebar", lab.live())
    live = [run for run in runs if run.is_live]
    count = sum(run.state == "running" for run in live)
    words = [f"{count} running"] if count else []
    words += [f"{len(live) - count} queued"] if count < len(live) else []
    several = len({run.experiment for run in live if run.experiment}) > 1
    words.append(f"in all: {left}" if (left := shown_left(lab, runs)) and several else left)
    # A page that is open is drawn again, with the reason above it, when nothing can be written any more.
    version = f"{'live' if runs else 'ended'} {lab.usage.obstacle() or ''}"
    return View(words=" · ".join(filter(None, words)), share=lab.progress.share_done(runs), version=version)
