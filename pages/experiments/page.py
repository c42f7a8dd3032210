"""Experiments: all of them in a table, all runs, and results that other tools report."""

from __future__ import annotations

import streamlit as st

from core.lab import Lab, current
from core.numbers import bytes_text
from core.store.search import Query
from pages.experiments.cluster import where_runs_train
from pages.experiments.elsewhere import elsewhere_part
from pages.experiments.listed import experiments_part
from pages.experiments.runs import runs_part
from pages.shared.experiment.live import live_panel
from pages.shared.experiment.notice import notice_of_recovery
from pages.shared.ui.links import link
from pages.shared.ui.tabs import draw_tabs

WATCH_SECONDS = 2.0
"""Seconds between two checks for changes of the list while runs train."""

WARNING_SHARE = 0.9
"""Share of the limit above which the page shows a warning."""

PARTS = {"Experiments": experiments_part, "Runs": runs_part, "Results from elsewhere": elsewhere_part}


def watch(lab: Lab, seen: tuple[object, ...]) -> None:
    """Redraw the page if the store has changed since it was drawn."""
    if lab.search.version() != seen:
        st.rerun()


def usage_bar(lab: Lab) -> None:
    """Draw a bar of the disk usage by kind of data."""
    usage = lab.usage.measure()
    share = min(1.0, usage.total / usage.limit)
    st.progress(
        share,
        f"{bytes_text(usage.total)} of {bytes_text(usage.limit)} stored: {bytes_text(usage.runs)} of files, "
        f"{bytes_text(usage.store)} of curves and settings, {bytes_text(usage.datasets)} of datasets, "
        f"{bytes_text(usage.networks)} of networks",
    )
    if share >= WARNING_SHARE:
        st.warning(
            "New runs are refused when the limit is reached. Sort the list by largest files, or look through the "
            "archive, and delete runs that you no longer need."
        )


lab = current()
seen = lab.search.version()

st.title("Experiments")
notice_of_recovery(lab)
live = [run.id for run in lab.live()]
live_panel(lab, live, "runs-live")
where_runs_train(lab)
if live:
    st.fragment(watch, run_every=WATCH_SECONDS)(lab, seen)
if not lab.search.count(Query(archived=None)) and not lab.judged.list():
    st.info("Every experiment is listed here as soon as it is queued.", icon=":material/info:")
    link("home", "Run the comparison")
draw_tabs(PARTS, lab)
usage_bar(lab)
