"""Runs: everything that was ever trained, and what may be done with it."""

from __future__ import annotations

from typing import get_args

import streamlit as st

from core.errors import LabError
from core.lab import current
from core.runs.record import State
from core.spec import Method
from core.study.figures import NamedCurve, loss_curves
from core.study.palette import colours_of
from core.study.tables import runs_table
from core.study.wording import bytes_text, count_text, percent, seconds_text
from pages.parts.live import live_panel
from pages.parts.pickers import STATE_ICONS, state_badge, task_text, when

lab = current()

st.title("Runs")

live = [run.id for run in lab.live()]
if live:
    live_panel(lab, live, "runs-live")
    st.button("Stop all", icon=":material/stop:", on_click=lambda: [lab.stop(id) for id in live])

with st.container(horizontal=True):
    states = st.pills(
        "State", get_args(State), selection_mode="multi", format_func=lambda state: f"{STATE_ICONS[state]} {state}",
        key="runs-state", wrap=True,
    )  # fmt: skip
    methods = st.pills("Method", get_args(Method), selection_mode="multi", key="runs-method")

found = lab.runs(states=states or None, methods=methods or None, limit=500)
if not found:
    st.info("Every run is listed here, from the moment it is queued.", icon=":material/info:")
    st.page_link("home.py", label="Run the comparison", icon=":material/home:")
    st.stop()

number = st.column_config.NumberColumn
table = st.dataframe(
    runs_table(found),
    hide_index=True,
    on_select="rerun",
    selection_mode="single-row",
    key="runs-table",
    alt="Runs, the newest first",
    column_order=[
        "State", "Arm", "Dataset", "Seed", "Accuracy (%)", "Source accuracy (%)", "Trainable parameters",
        "Training time (s)", "Epochs", "Learning rate", "Created", "Run", "Cause",
    ],
    column_config={
        "Accuracy (%)": number("Accuracy", format="%.2f %%"),
        "Source accuracy (%)": number("On the source", format="%.2f %%"),
        "Trainable parameters": number("Trainable", format="localized"),
        "Training time (s)": number("Time", format="%.2f s"),
        "Learning rate": number(format="%g"),
        "Created": st.column_config.DatetimeColumn(format="DD MMM HH:mm:ss"),
    },
)  # fmt: skip
chosen = st.query_params.get("run")
if table.selection.rows and table.selection.rows[0] < len(found):
    chosen = found[table.selection.rows[0]].id
if chosen is None:
    st.caption("Select a row to see its curve, its settings and its log.")
    st.stop()

try:
    run = lab.run(chosen)
except LabError as error:
    st.error(str(error))
    st.stop()

with st.container(horizontal=True, vertical_alignment="center"):
    st.subheader(f"{run.spec.label}, seed {run.spec.seed}", width="content")
    state_badge(run)
    st.caption(f"{run.id} · {task_text(run.spec.task)} · {when(run.created)}")

try:
    with st.container(horizontal=True):
        if run.is_live:
            st.button("Stop", icon=":material/stop:", on_click=lab.stop, args=(run.id,), key="runs-stop")
        if run.state == "interrupted" and st.button("Resume", icon=":material/play_arrow:", type="primary"):
            lab.resume(run.id)
            st.rerun()
        if st.button("Run again", icon=":material/replay:", help="Queues a new run of the same spec."):
            lab.launch(run.spec)
            st.rerun()
        if run.experiment:
            st.page_link(
                "compare.py", label="Its comparison", icon=":material/stacked_line_chart:",
                query_params={"experiment": run.experiment},
            )  # fmt: skip
except LabError as error:
    st.error(str(error))

if run.cause:
    st.error(run.cause)
    if run.traceback and st.toggle("Show the traceback", key="runs-traceback"):
        st.code(run.traceback, language="text")
if run.state == "interrupted":
    st.warning("Its process ended under it. Resume trains it again from the first step, to the same numbers.")

if run.result:
    result = run.result
    with st.container(horizontal=True):
        st.metric("Accuracy", percent(result.accuracy), help="On the test part.", border=True)
        if result.source_accuracy is not None:
            st.metric("Source accuracy", percent(result.source_accuracy), border=True)
        st.metric("Trainable parameters", count_text(result.trainable_parameters), border=True)
        st.metric("Training time", seconds_text(result.seconds), border=True)
        st.metric("Memory", bytes_text(result.memory), border=True)

if run.step:
    beside = lab.runs(experiment=run.experiment) if run.experiment else [run]
    colour = colours_of(other.spec for other in beside)[run.spec.arm]
    curve = NamedCurve(run=run.id, label=run.spec.label, colour=colour, curve=lab.curve(run.id))
    st.plotly_chart(
        loss_curves([curve], axis="step", smoothing=0.9, log=False), key="runs-curve",
        alt=f"Training and validation loss of run {run.id} by step",
    )  # fmt: skip

settings, history = st.columns(2, gap="large")
with settings:
    st.markdown("**Settings**")
    st.json(run.spec.model_dump(mode="json"), expanded=2)
with history:
    st.markdown("**What happened**")
    for moment, state in lab.history(run.id):
        st.markdown(f"{STATE_ICONS[state]} {state} · {when(moment)}")
    if run.result:
        beside = f", in a bank of {run.result.bank} runs" if run.result.bank > 1 else ""
        threads = f"{run.result.threads} thread{'s' if run.result.threads > 1 else ''}"
        st.caption(f"{count_text(run.step)} steps on {run.result.device} with {threads}{beside}.")
