"""Several runs side by side: settings that differ, and curves in one figure."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.lab import Lab
from core.numbers import count_text
from core.store.search import Entry
from core.study.arms.arm import labels_of
from core.study.arms.settings import differences
from core.study.figures.curves import Axis, NamedCurve, chart_config, loss_curves
from core.study.figures.palette import shades_of
from pages.shared.ui.figure_panel import readable

MAX_CURVES = 12
"""Curves drawn at once; more would be hard to tell apart."""


def diff(lab: Lab, entries: Sequence[Entry]) -> None:
    """Show the settings in which the runs differ, and their curves."""
    runs = [entry.run for entry in entries]
    st.markdown("**Settings that differ**")
    table = differences(runs)
    if len(table):
        st.dataframe(table, hide_index=True, alt="Settings in which the selected runs differ")
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
    labels, colours = labels_of(run.spec for run in runs), shades_of(run.spec for run in runs)
    curves = [
        NamedCurve.of(run, labels[run.spec.arm], colours[run.spec.arm], lab.curve(run.id)) for run in begun[:MAX_CURVES]
    ]
    st.plotly_chart(
        readable(loss_curves(curves, axis, smoothing=0.9, log=False)),
        key="runs-curves",
        alt="Training and validation loss of the selected runs",
        config=chart_config("runs-loss"),
    )
    if len(begun) > MAX_CURVES:
        st.caption(f"Showing the first {MAX_CURVES} of {count_text(len(begun))} curves.")
