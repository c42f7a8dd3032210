"""What Study shows of a sweep: LoRA over ranks, alphas and learning rates, beside full fine-tuning at its own rates."""

from __future__ import annotations

import streamlit as st

from core.forecast.forecast import total
from core.lab import Lab
from core.numbers import NOTHING, count_text, counted, forecast_text, listed, seconds_text
from core.results.arm import Arm, judged_by
from core.results.choice import dropped_sentences, no_choice_sentence
from core.results.measures import time_note
from core.results.row import rows_of
from core.rule.place import Place
from core.store.record import Experiment, Run, is_under_way
from core.study.arms.fairness import comparable
from core.study.arms.sweep import (
    chosen,
    rates_sentence,
    sweep_arms,
    sweep_table,
    sweep_view,
    trained_seconds,
)
from core.study.figures.sweep import front_of, pareto, rate_curves, size_curve, size_titles
from core.study.report.answer import place_of
from core.wording.csv_file import csv_of
from core.wording.tasks import judged_text, task_text
from pages.shared.experiment.state import state_line
from pages.shared.experiment.verdict_view import checks_view, verdict_view
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.download import download
from pages.shared.ui.figure_panel import show
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import start_text
from pages.study.live import comparison, measure_map, sweep_live

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
            help="For the heat map and the learning rates. Best: by validation, at each place.",
        )
        alpha = None if choice == BEST_ALPHA else float(choice)
    if is_under_way(members):
        sweep_live(lab, experiment, alpha)
        return
    took(lab, members)
    decided = place_of(lab, experiment, members)
    troubles(lab, members, decided)
    if not any(arm.validation for arm in arms):
        st.info(no_choice_sentence(rows_of(members)), icon=":material/info:")
        return
    _answer(experiment, decided, arms)
    _figures(experiment, arms, alpha, decided.unread)
    _table(experiment, arms, decided.unread)


def _answer(experiment: Experiment, found: Place, arms: list[Arm]) -> None:
    """Show the verdict, and what validation chooses."""
    st.subheader("The answer")
    full, lora = chosen(arms)
    best = [arm for arm in (lora, full) if arm is not None]
    verdict_view(found)
    checks_view(found, "study-checks")
    st.markdown(rates_sentence(arms))
    for sentence in dropped_sentences(row for arm in arms for row in arm.rows):
        st.warning(literal(sentence))
    # Fairness is that of the choice: all settings of full fine-tuning, and all of LoRA at the rank chosen.
    among = {(arm.setting.method, arm.setting.size) for arm in best}
    for warning in comparable(
        row for arm in arms if (arm.setting.method, arm.setting.size) in among for row in arm.finished.values()
    ):
        st.warning(literal(warning))
    if best:
        link(
            "compare",
            "Compare them" if len(best) == 2 else "Open it in Compare",
            comparison(experiment, [arm.key for arm in best]),
        )


def _figures(experiment: Experiment, arms: list[Arm], alpha: float | None, unread: bool) -> None:
    """Draw the four figures of a sweep; while the test part is not to be read the two of the validation part."""
    title = judged_by(arms).primary.title
    left, right = st.columns(2, gap="large")
    with left:
        measure_map(experiment, arms, alpha, marked=True)
    with right:
        show(
            rate_curves(arms, alpha),
            experiment.id,
            "rates",
            f"{title} on the validation part over the learning rate, by rank",
        )
    if unread:
        return
    left, right = st.columns(2, gap="large")
    with left:
        for size in size_titles(arms):
            show(
                size_curve(arms, size),
                experiment.id,
                f"{size.lower()}s",
                f"{title} on the test part over the {size.lower()}, with full fine-tuning as reference",
            )
    with right:
        show(
            pareto(arms),
            experiment.id,
            "pareto",
            f"{title} on the test part against trainable parameters, Pareto front marked",
        )
        names = [f"{arm.spec.label} ({count_text(arm.trained)})" for arm in front_of(arms)]
        if names:
            st.caption(f"On the front, with their trainable parameters: {listed(names)}.")


def _table(experiment: Experiment, arms: list[Arm], unread: bool) -> None:
    """Show every setting in numbers."""
    st.subheader("All settings")
    column = st.column_config.NumberColumn
    measure = judged_by(arms).primary
    within, unit = measure.noun, measure.unit_suffix
    dataframe(
        sweep_view(arms, unread),
        hide_index=True,
        placeholder=NOTHING,
        alt=f"Every setting with its {measure.noun} on validation and test part",
        column_config={
            "Chosen": st.column_config.CheckboxColumn(help="By validation: for its rank, or of full fine-tuning."),
            "Learning rate": column(format="%.6g"),
            "Alpha": column(format="%.6g"),
            f"Validation {within}{unit}": column("Validation", format=measure.column_format),
            f"Validation {within}, 95 %": "Validation, 95 %",
            measure.axis: column("Test", format=measure.column_format),
            f"{measure.title}, 95 %": "Test, 95 %",
            "Trainable parameters": column("Trainable", format="localized"),
            "Training time (s)": "Time per run",
        },
    )
    st.caption(time_note(any(arm.shares_time for arm in arms)))
    with st.container(horizontal=True, vertical_alignment="center"):
        download(
            "Download CSV",
            lambda: csv_of(sweep_table(arms, unread)),
            f"{experiment.id}.csv",
            "text/csv",
            "study-csv",
            help="This table as numbers.",
        )
        link(
            "compare",
            "All of them in Compare",
            {"experiment": experiment.id},
        )


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
