"""Compare: full fine-tuning against LoRA, with every run on the page and an interval on every claim."""

from __future__ import annotations

import streamlit as st

from core.lab import current
from core.study.arms.arm import arms_of, labels_of
from core.study.arms.choice import chosen_arms, dropped_sentences
from core.study.arms.fairness import comparable
from core.study.arms.tables import comparison_table, comparison_text
from core.study.arms.tuning import is_tuned
from core.study.arms.verdict import verdict
from core.study.figures.curves import Axis, NamedCurve, accuracy_curves, arm_dots, loss_curves
from core.study.figures.palette import colours_of
from core.study.report.evidence import bases_of, colours_of_groups, named
from core.study.stats.measures import MeasureName
from core.wording.csv_file import csv_of
from core.wording.numbers import count_text, percent
from pages.compare.costs import costs, cut_reference, forgetting
from pages.compare.evidence import differences, learning_rates, single_pair
from pages.compare.selected import selected_runs
from pages.shared.current import experiment_picker
from pages.shared.figure_panel import show
from pages.shared.links import link
from pages.shared.literal import literal
from pages.shared.live import live_panel
from pages.shared.pickers import base_text, task_text
from pages.shared.verdict_view import verdict_view

MAX_FAILURES = 5
"""Maximum number of failed runs whose cause is shown; the Runs page has all."""

lab = current()

st.title("Compare")
experiment = selected_runs(lab) or experiment_picker(lab)
if experiment is None:
    st.info("Experiments are compared here: the same base and task, fine-tuned in different ways.")
    link("home", "Run the comparison")
    st.stop()

members = lab.runs_of(experiment.runs)
bases = lab.runs_of(bases_of(members))
several = f" and {len(bases) - 1} more like it, one for each seed" if len(bases) > 1 else ""
base, task = base_text(lab.run(experiment.base)), task_text(members[0].spec.task)
st.caption(f"Base: {literal(base)}{several}. Task: {literal(task)}.")

live_panel(lab, [*(run.id for run in bases if run.is_live), *experiment.runs], f"compare-{experiment.id}")
failed = [run for run in members if run.state == "failed"]
for run in failed[:MAX_FAILURES]:
    setting = f"{run.spec.label}, learning rate {run.spec.optim.learning_rate:g}, seed {run.spec.seed}"
    st.error(literal(f"{setting}: {run.cause}"))
if len(failed) > MAX_FAILURES:
    st.caption(f"And {count_text(len(failed) - MAX_FAILURES)} more that failed; the Runs page has them all.")

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

tuned = is_tuned(run.spec for run in members)
everything_shown = tuned and st.toggle(
    "Show all that was tried",
    key="all-tried",
    bind="query-params",
    help="Off, each method and rank is shown as the validation part chose it, at its best learning rate.",
)
chosen = named(chosen_arms(members))
# Stopped runs take no part in the choice, and are shown where there was none to make.
shown_arms = chosen if tuned and chosen and not everything_shown else arms if everything_shown else named(arms)
colours = (
    colours_of(run.spec for run in everything)
    if everything_shown
    else colours_of_groups(run.spec for run in everything)
)
has_source = any(run.result and run.result.source_accuracy is not None for run in members)
split = bool(members[0].spec.source and members[0].spec.source.classes)

st.subheader("The answer")
verdict_view(verdict(members))
if members[0].experiment == experiment.id:
    link("report", "Decision report", {"experiment": experiment.id})
for warning in dropped_sentences(members) + comparable(members):
    st.warning(literal(warning))
if len(bases) > 1:
    st.caption(
        "Each seed has a base of its own, shared by all settings of that seed: differences are paired by seed, and the "
        "intervals hold for bases trained like these."
    )
else:
    st.caption("All runs start from one base: the intervals hold for other fine-tuning seeds, not for other bases.")

st.subheader("Accuracy")
masked = has_source and st.toggle(
    "On the source, choose only among its own classes",
    key="masked",
    bind="query-params",
    help="After a class split, plain accuracy mostly shows that the output layer prefers the new classes.",
)
left, right = st.columns(2, gap="large")
with left:
    figure = arm_dots(shown_arms, "accuracy", colours)
    show(figure, experiment.id, "accuracy", "Accuracy on the target of each run, with mean and interval")
with right:
    if has_source:
        measure: MeasureName = "source_accuracy_masked" if masked else "source_accuracy"
        figure = arm_dots(shown_arms, measure, colours)
        show(figure, experiment.id, "source", "Accuracy on the source of each run, with mean and interval")
        first = next(run.result for run in members if run.result)
        before = first.source_accuracy_masked_before if masked else first.source_accuracy_before
        if len(bases) == 1:
            st.caption(f"Before fine-tuning the base had {percent(before)} on the source.")

differences(chosen, masked or split)
single_pair(lab, chosen)
if tuned and chosen:
    learning_rates(experiment, members)

st.subheader("Curves")
with st.container(horizontal=True, vertical_alignment="bottom"):
    axis: Axis = st.segmented_control(
        "Over", ["step", "epoch", "seconds"], default="step", key="axis", bind="query-params", required=True
    )
    smoothing = st.slider("Smoothing", 0.0, 0.99, 0.9, 0.01, key="smoothing", bind="query-params", width=240)
    log = st.toggle("Logarithmic loss", key="log", bind="query-params")
keys = {arm.key for arm in shown_arms}
drawn = [run for run in members if run.spec.arm in keys or (run.is_live and not tuned)]
labels = labels_of(run.spec for run in drawn)
shown = st.pills(
    "Arms",
    list(labels),
    selection_mode="multi",
    default=list(labels),
    format_func=labels.__getitem__,
    key=f"shown-arms-{everything_shown}",
)
recorded = {run.id: lab.curve(run.id) for run in drawn if run.step}
curves = [
    NamedCurve(
        run=run.id,
        label=labels[run.spec.arm],
        colour=colours[run.spec.arm],
        curve=recorded[run.id],
        steps_per_epoch=run.steps / run.spec.optim.epochs,
    )
    for run in drawn
    if run.step and run.spec.arm in shown
]
if curves:
    show(loss_curves(curves, axis, smoothing, log), experiment.id, "loss", "Training and validation loss of every run")
    figure = accuracy_curves(curves, axis, masked)
    show(figure, experiment.id, "curves", "Accuracy of every run as training goes on")
else:
    st.caption("Choose at least one arm.")

if has_source:
    forgetting(lab, experiment, shown_arms, recorded, colours, masked)
costs(experiment, shown_arms, recorded, colours)
cut_reference(lab, chosen, masked or split)

st.subheader("Table")
st.dataframe(comparison_text(shown_arms), hide_index=True, alt="All figures of each arm")
with st.container(horizontal=True):
    st.download_button(
        "CSV",
        csv_of(comparison_table(arms)),
        f"{experiment.id}.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="csv",
        help="Means, intervals and settings as numbers.",
    )
    link("adapters", "Download adapters")
