"""What Study shows of a sweep: LoRA over ranks, alphas and learning rates, beside full fine-tuning at its own rates."""

from __future__ import annotations

import streamlit as st

from core.forecast.forecast import total
from core.lab import Lab
from core.numbers import count_text, counted, forecast_text, seconds_text
from core.results.choice import chosen_arms, dropped_sentences, no_choice_sentence
from core.results.row import rows_of
from core.rule.place import Place
from core.store.record import Experiment, Run, is_under_way
from core.study.arms.fairness import comparable
from core.study.arms.sweep import chosen, sweep_arms, trained_seconds
from core.study.report.answer import place_of
from core.study.report.sections import BY_RANK, RATES, chapters_of
from core.study.report.shown import Shown
from core.wording.tasks import judged_text, task_text
from pages.shared.experiment.state import state_line
from pages.shared.experiment.verdict_view import checks_view, verdict_view
from pages.shared.ui.figure_panel import section_view
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import start_text
from pages.study.live import measure_map, sweep_live

BEST_ALPHA = "Best"
"""Choice among the alphas that shows the best one at each place."""


def sweep_part(lab: Lab, experiment: Experiment, members: list[Run]) -> None:
    """Draw a sweep: while it trains its map, then its answer, figures and table.

    Raises:
        LabError: the look at its test part cannot be recorded.
    """
    first = members[0].spec
    arms = sweep_arms(rows_of(members))
    trained = arms[0].spec.optim if arms else first.optim
    st.caption(
        f"Base: {literal(start_text(lab, first))}. Task: {literal(task_text(first.task, first.objective))}. "
        f"{counted(trained.epochs, 'epoch')} each, batches of {trained.batch_size}. "
        f"Judged by {judged_text(first.objective)}."
    )
    alphas = sorted({arm.spec.method.strength for arm in arms if arm.spec.method.strength is not None})
    alpha = alphas[0] if alphas else None
    if len(alphas) > 1:
        choice = st.segmented_control(
            "Alpha",
            [BEST_ALPHA, *(f"{value:g}" for value in alphas)],
            default=BEST_ALPHA,
            key="alpha",
            required=True,
            bind="query-params",
            help="For the heat map. Best: by validation, at each place.",
        )
        alpha = None if choice == BEST_ALPHA else float(choice)
    if is_under_way(members):
        sweep_live(lab, experiment, alpha)
        return
    took(lab, members)
    found = place_of(lab, experiment, members)
    troubles(lab, members, found)
    rows = rows_of(members)
    if not any(arm.validation for arm in arms):
        st.info(no_choice_sentence(rows), icon=":material/info:")
        return
    st.subheader("The answer")
    verdict_view(found)
    # Fairness is that of the choice: all settings of full fine-tuning, and all of adapters at the rank chosen.
    among = {(arm.setting.method, arm.setting.size) for arm in chosen(arms) if arm is not None}
    own = [row for arm in arms if (arm.setting.method, arm.setting.size) in among for row in arm.finished.values()]
    for sentence in () if found.unread else [*dropped_sentences(rows), *comparable(own)]:
        st.warning(literal(sentence))
    measure_map(experiment, arms, alpha, marked=True)
    for chapter in chapters_of(Shown.of(found)) if chosen_arms(rows) else ():
        if chapter.title == RATES or (chapter.title == BY_RANK and not found.unread):
            st.subheader(chapter.title)
            section_view(chapter.make(), experiment.id)
    checks_view(found, "study-checks")
    link("compare", "All of it in Compare", {"experiment": experiment.id})


def took(lab: Lab, members: list[Run]) -> None:
    """Show how long training took, beside the forecast that was kept when the runs were queued."""
    seconds = trained_seconds(rows_of(members))
    kept = lab.estimates.at_launch([run.id for run in members])
    expected = total(kept.values())
    words = f"took {seconds_text(seconds)}"
    if len(kept) == len(members) and expected.seconds and all(run.state == "finished" for run in members):
        words = forecast_text(expected.seconds_low, expected.seconds_high, seconds)
    st.caption(f"Training {words}.")


def troubles(lab: Lab, members: list[Run], found: Place) -> None:
    """Show which runs have no result, and why."""
    state_line(lab, members, "study", found)
    failed = [run for run in members if run.state == "failed"]
    if failed:
        st.warning(
            f"{count_text(len(failed))} of {count_text(len(members))} runs failed (✕), the first one because: "
            f"{literal(str(failed[0].cause))}"
        )
