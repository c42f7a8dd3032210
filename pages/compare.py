"""Compare: full fine-tuning against LoRA, with every run on the page and an interval on every claim."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st

from core.lab import current
from core.study.compare import arms_of, comparable, labels_of, validation_of, verdict
from core.study.figures import Axis, NamedCurve, accuracy_curves, arm_dots, bars, export_html, loss_curves
from core.study.measures import MEASURES, MeasureName
from core.study.palette import colours_of
from core.study.tables import comparison_table, comparison_text
from core.study.wording import percent
from pages.parts.live import live_panel
from pages.parts.pickers import base_text, experiment_picker, task_text
from pages.parts.runs_compared import selected_runs

lab = current()


def show(figure: go.Figure, key: str, alt: str) -> None:
    """A figure, and the file of it; the toolbar over the figure saves a PNG."""
    config = {"displaylogo": False, "toImageButtonOptions": {"filename": f"{experiment.id}-{key}", "scale": 2}}
    st.plotly_chart(figure, key=key, alt=alt, config=config)
    st.download_button(
        "HTML", lambda: export_html(figure), f"{experiment.id}-{key}.html", "text/html", icon=":material/download:",
        type="tertiary", on_click="ignore", key=f"{key}-html", help="This figure as a page of its own.",
    )  # fmt: skip


st.title("Compare")
experiment = selected_runs(lab) or experiment_picker(lab)
if experiment is None:
    st.info("Experiments are compared here: the same base and task, fine-tuned in different ways.")
    st.page_link("home.py", label="Run the comparison", icon=":material/home:")
    st.stop()

members = lab.runs_of(experiment.runs)
base = lab.run(experiment.base)
st.caption(f"Base: {base_text(base)}. Task: {task_text(members[0].spec.task)}.")

if any(run.is_live for run in members):
    live_panel(
        lab, [run.id for run in (base, *members) if run.is_live or run.spec.method != "pretrain"], "compare-live"
    )
for run in members:
    if run.state == "failed":
        st.error(f"{run.spec.label}, seed {run.spec.seed}: {run.cause}")

wanted = set(st.query_params.get("arms", "").split(",")) & {run.spec.arm for run in members}
everything = members
if wanted:
    members = [run for run in members if run.spec.arm in wanted]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"Showing {len(wanted)} of {len({run.spec.arm for run in everything})} arms.")
        if st.button("Show all", icon=":material/select_all:", type="tertiary"):
            del st.query_params["arms"]
            st.rerun()
arms = arms_of(members)
if not arms:
    st.caption("The comparison appears with the first finished runs.")
    st.stop()

st.subheader("The answer")
st.markdown(verdict(arms, validation_of(arms)))
for warning in comparable(members):
    st.warning(warning)

colours = colours_of(run.spec for run in everything)
labels = labels_of(run.spec for run in members)
has_source = any(run.result and run.result.source_accuracy is not None for run in members)

st.subheader("Accuracy")
masked = has_source and st.toggle(
    "On the source, choose only among its own classes", key="masked", bind="query-params",
    help="After a class split, plain accuracy mostly shows that the output layer prefers the new classes.",
)  # fmt: skip
left, right = st.columns(2, gap="large")
with left:
    show(arm_dots(arms, "accuracy", colours), "accuracy", "Accuracy on the target of each run, with mean and interval")
with right:
    if has_source:
        measure: MeasureName = "source_accuracy_masked" if masked else "source_accuracy"
        show(arm_dots(arms, measure, colours), "source", "Accuracy on the source of each run, with mean and interval")
        first = next(run.result for run in members if run.result)
        before = first.source_accuracy_masked_before if masked else first.source_accuracy_before
        st.caption(f"Before fine-tuning the base had {percent(before)} on the source.")

st.subheader("Curves")
with st.container(horizontal=True, vertical_alignment="bottom"):
    axis: Axis = st.segmented_control(
        "Over", ["step", "epoch", "seconds"], default="step", key="axis", bind="query-params", required=True
    )
    smoothing = st.slider("Smoothing", 0.0, 0.99, 0.9, 0.01, key="smoothing", bind="query-params", width=240)
    log = st.toggle("Logarithmic loss", key="log", bind="query-params")
shown = st.pills(
    "Arms", list(labels), selection_mode="multi", default=list(labels), format_func=labels.__getitem__, key="shown-arms"
)
curves = [
    NamedCurve(
        run=run.id, label=labels[run.spec.arm], colour=colours[run.spec.arm], curve=lab.curve(run.id),
        steps_an_epoch=run.steps / run.spec.optim.epochs,
    )
    for run in members
    if run.step and run.spec.arm in shown
]  # fmt: skip
if curves:
    show(loss_curves(curves, axis, smoothing, log), "loss", "Training and validation loss of every run")
    show(accuracy_curves(curves, axis, masked), "curves", "Accuracy of every run as training goes on")
else:
    st.caption("Choose at least one arm.")

st.subheader("Cost")
costs: list[MeasureName] = ["trainable_parameters", "memory", "stored_bytes"]
columns = st.columns(2, gap="large")
for place, name in enumerate(costs):
    with columns[place % 2]:
        show(bars(arms, name, colours), name, f"{MEASURES[name].title} of each arm")
with columns[1]:
    show(arm_dots(arms, "seconds", colours), "seconds", "Training time of each run")

st.subheader("Table")
st.dataframe(comparison_text(arms), hide_index=True, alt="All figures of each arm")
with st.container(horizontal=True):
    st.download_button(
        "CSV", comparison_table(arms).to_csv(index=False), f"{experiment.id}.csv", "text/csv",
        icon=":material/download:", on_click="ignore", key="csv", help="Means, intervals and settings as numbers.",
    )  # fmt: skip
    st.page_link("adapters.py", label="Take the adapters home", icon=":material/extension:")
