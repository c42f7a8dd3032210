"""All runs in a list with filters, and details of the selected ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from core.errors import UnknownRunError
from core.lab import Lab
from core.numbers import count_text
from core.results.setting import labels_of, setting_of
from core.store.record import UNFINISHED
from core.store.search import Entry
from core.study.arms.settings import differences
from core.study.figures.curves import Axis, NamedCurve, loss_curves
from core.study.figures.palette import colours_of
from pages.experiments.actions import actions, problem
from pages.experiments.delete import delete_dialog
from pages.experiments.detail import detail, heading
from pages.experiments.filters import filters
from pages.experiments.table import runs_table, selected
from pages.shared.experiment.state import finish_button
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.figure_panel import chart
from pages.shared.ui.literal import literal

MAX_CURVES = 12
"""Curves drawn at once; more would be hard to tell apart."""


def diff(lab: Lab, entries: Sequence[Entry]) -> None:
    """Show the settings in which the runs differ, and their curves."""
    runs = [entry.run for entry in entries]
    st.markdown("**Settings that differ**")
    table = differences(runs)
    if len(table):
        dataframe(table, hide_index=True, alt="Settings in which the selected runs differ")
    else:
        st.caption("None: these runs have the same settings, so their numbers should match too.")
    begun = [run for run in runs if run.step]
    if not begun:
        return
    st.markdown("**Loss curves**")
    axis: Axis = st.segmented_control(
        "Horizontal axis",
        ["step", "epoch", "seconds"],
        default="step",
        key="runs-axis",
        required=True,
        persist_state="session",
    )
    labels = labels_of(setting_of(run.spec) for run in runs)
    colours = colours_of((run.spec for run in runs), by_rate=True)
    curves = [
        NamedCurve.of(run, labels[run.spec.arm], colours[run.spec.arm], lab.store.curve(run.id))
        for run in begun[:MAX_CURVES]
    ]
    figure = loss_curves(curves, axis)
    chart(figure, "runs-curves", "Training and validation loss of the selected runs", "runs-loss")
    if len(begun) > MAX_CURVES:
        st.caption(f"Showing the first {MAX_CURVES} of {count_text(len(begun))} curves.")


MAX_FINISHED = 1000
"""Maximum number of runs that are finished at once."""


def runs_part(lab: Lab) -> None:
    """Draw the list of runs, and details of the selected ones."""
    chosen = selected()
    entries = lab.search.entries(chosen)
    if gone := [id for id in chosen if id not in {entry.run.id for entry in entries}]:
        one = f"There is no run {gone[0]!r}; it may have been deleted."
        st.error(literal(one if len(gone) == 1 else f"{len(gone)} of these runs do not exist."))
    query = filters(lab)
    runs_table(lab, query)
    delete_dialog(lab)

    problem()
    try:
        if len(entries) == 1:
            heading(lab, entries[0])
            actions(lab, entries)
            detail(lab, entries[0])
        elif entries:
            st.subheader(f"{len(entries)} runs")
            actions(lab, entries)
            diff(lab, entries)
    except UnknownRunError as error:  # deleted elsewhere while the page was drawn
        st.error(literal(str(error)))
    if not chosen:
        st.caption(
            "Select a row to see the curve, settings and history of that run. Select several to see how they differ."
        )
        if states := tuple(state for state in UNFINISHED if not query.states or state in query.states):
            unfinished = lab.search.find(replace(query, states=states), size=MAX_FINISHED).entries
            finish_button(lab, [entry.run for entry in unfinished], "runs-all")
