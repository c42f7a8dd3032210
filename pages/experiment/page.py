"""One experiment: its answer in three lines, the figure, what could undo it, and everything below in tabs."""

from __future__ import annotations

import streamlit as st

from core.lab import current
from core.numbers import count_text
from core.results.choice import no_choice_sentence
from core.results.row import rows_of
from core.results.setting import setting_of
from core.rule.tuning import is_tuned
from core.store.judged import Judged
from core.store.record import is_under_way
from core.study.report.answer import bases_of
from core.wording.tasks import judged_text, task_text
from pages.experiment.along import study_part
from pages.experiment.comparison import Comparison
from pages.experiment.judged import judged_part
from pages.experiment.parts import tabs_of
from pages.experiment.runs import downloads
from pages.experiment.selected import follow_run, point_shown, selected_runs, study_of, wanted_arms
from pages.shared.experiment.actions import experiment_actions, rank_view
from pages.shared.experiment.current import QUERY, missing_sentence, opened
from pages.shared.experiment.live import live_panel
from pages.shared.experiment.start import say_if_known
from pages.shared.experiment.state import deleted_line, state_line
from pages.shared.experiment.verdict_view import adapter_button, before_view, checks_view, difference_view, verdict_view
from pages.shared.ui.links import link
from pages.shared.ui.literal import errors_shown, literal
from pages.shared.ui.pickers import start_text
from pages.shared.ui.tabs import draw_tabs
from pages.shared.ui.widget_key import widget_key

MAX_FAILURES = 3
"""Maximum number of failed runs whose cause is shown; the Runs page has all."""

lab = current()

follow_run(lab)
selection = selected_runs(lab)
experiment = selection or opened(lab)
if experiment is None:
    st.title("Experiment")
    if asked := st.query_params.get(QUERY):
        st.warning(literal(missing_sentence(asked)), icon=":material/link_off:")
    else:
        st.info("An experiment is shown here: the same base and task, fine-tuned in different ways.")
    link("experiments", "All experiments")
    link("home", "Run the comparison")
    st.stop()
st.title(literal(experiment.name), anchor=False)
if isinstance(experiment, Judged):
    judged_part(lab, experiment)
    st.stop()

say_if_known(experiment)
along = None if selection else study_of(lab, experiment)
at = None if along is None else point_shown(along)
everything = (
    [row.run for row in at.rows if row.run is not None]
    if at is not None
    else lab.store.runs_of(experiment.runs)
    if selection
    else lab.store.members(experiment)
)
if not everything:
    st.info("Nothing was queued at this point yet.", icon=":material/info:")
    st.stop()
bases = lab.store.runs_of(bases_of(everything))
several = f" and {len(bases) - 1} more like it, one for each seed" if len(bases) > 1 else ""
judged = everything[0].spec.objective
base, task = start_text(lab, everything[0].spec), task_text(everything[0].spec.task, judged)
question = "" if along is None else f"**{literal(along.axis.question)}** {literal(along.axis.line)} "
st.caption(f"{question}Base: {literal(base)}{several}. Task: {literal(task)}. Judged by {judged_text(judged)}.")
# Every selection has the same id, and a panel goes on showing what it has shown.
panel = widget_key("selection", experiment.runs) if selection else f"experiment-{experiment.id}"
live_panel(lab, [*(run.id for run in bases if run.is_live), *experiment.runs], panel)
# A rate at which training diverges is what a search is there to find.
failed = [run for run in everything if run.state == "failed" and (run.plan is None or not run.has_diverged)]
for run in failed[:MAX_FAILURES]:
    setting = f"{run.spec.label}, learning rate {run.spec.optim.learning_rate:g}, seed {run.spec.seed}"
    st.error(literal(f"{setting}: {run.cause}"))
if len(failed) > MAX_FAILURES:
    st.caption(f"And {count_text(len(failed) - MAX_FAILURES)} more that failed; Experiments has them all.")

if along is not None and at is None:
    with errors_shown():
        study_part(lab, experiment, everything)
    st.stop()
members = wanted_arms(everything)
plain = Comparison(
    lab, experiment, tuple(everything), tuple(members), tuple(bases), all_tried=False, masked=False, at=at
)
is_whole = everything[0].experiment == experiment.id
is_awaited = not plain.arms and any(run.is_live for run in members)
if not is_under_way(everything):
    state_line(lab, everything, "experiment", plain.verdict)
    if is_whole:
        deleted_line(lab, experiment, everything, "experiment")
if is_awaited:
    st.caption("The comparison appears with the first finished runs.")
    st.stop()
if not plain.arms:
    st.info(no_choice_sentence(rows_of(members)), icon=":material/info:")
else:
    read = plain.verdict if plain.before is None else plain.before
    verdict_view(plain.verdict, plain.before)
    if plain.before is not None:
        before_view(plain.before, everything)
    difference_view(read, plain.chosen if plain.before is None else plain.read, plain.colours, experiment.id)
    rank_view(lab, experiment if is_whole else None, read)
    checks_view(read, "experiment-checks")
    for warning in plain.warnings:
        st.warning(literal(warning))

with st.container(horizontal=True, vertical_alignment="center"):
    if is_whole:
        if plain.arms:
            adapter_button(read, f"experiment-{experiment.id}")
            downloads(plain)
        experiment_actions(lab, experiment, plain.verdict)
    if not plain.arms:
        st.stop()
    if plain.narrowed:  # Whoever asks for two rates of one method wants to see both.
        all_tried = is_tuned(setting_of(run.spec) for run in members)
    else:
        all_tried = plain.tuned and st.toggle(
            "Show all that was tried",
            key="all-tried",
            bind="query-params",
            help="Off, each method and rank is shown as the validation part chose it, at its best learning rate.",
        )
    masked = (
        plain.has_source
        and plain.objective.masked is not None
        and st.toggle(
            "Source: among its own classes",
            key="masked",
            bind="query-params",
            help="After a class split, plain accuracy mostly shows that the output layer prefers the new classes.",
        )
    )

shown = Comparison(lab, experiment, tuple(everything), tuple(members), tuple(bases), bool(all_tried), bool(masked), at)
draw_tabs(tabs_of(shown, is_whole), shown)
