"""The parts of Compare on uncertainty: differences, a single pair, and the learning rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from core.errors import LabError
from core.lab import Lab
from core.methods.method import Role
from core.numbers import count_text, listed, points_text
from core.results.arm import Arm
from core.results.measures import FORGETTING, FORGETTING_MASKED
from core.results.results import Results
from core.rule.answer import Answer, crossings
from core.rule.budgets import by_budget, passed_epochs
from core.rule.candidate import Candidate
from core.rule.claims import Difference, corrected
from core.rule.spending import CLAIM_SEEDS
from core.rule.tuning import choice_sentence, end_sentences, rate_choices
from core.rule.words import p_words
from core.store.record import Run
from core.study.arms.difference_tables import (
    SEEN,
    differences_table,
    full_differences,
    rank_differences,
    tested_settings,
)
from core.study.arms.forgetting_notes import rates_note
from core.study.arms.study_words import study_table
from core.study.arms.sweep import sweep_arms
from core.study.arms.tables import rates_table
from core.study.figures.study import passed_figure, study_figure
from core.study.figures.sweep import rate_curves
from core.study.report.evidence import epochs_of
from core.study.weights.predicted import tested_by
from core.study.weights.remeasured import parallel
from core.wording.tasks import noun
from pages.compare.comparison import Comparison
from pages.shared.experiment.measured import measured
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.figure_panel import show
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal


def differences(shown: Comparison) -> None:
    """Every setting against full fine-tuning on the target, and the ranks among themselves."""
    arms, measure = shown.chosen, shown.objective.primary
    if not arms or not (primary := full_differences(arms, measure.name, shown.verdict)):
        return
    st.subheader("How sure is that?")
    beaten = "above" if measure.higher_is_better else "below"
    st.caption(
        f"Each setting minus full fine-tuning{measure.difference_clause}, paired by seed; below zero it has less. "
        "95 % interval of adapters: over seeds and test examples; of everything else over seeds. p: what the verdict "
        f"tests, corrected for the settings tested together. Beats it: how often its runs are {beaten} those of the "
        "other; ties count half. Seen: the interval leaves out 0, and nothing is claimed."
    )
    _table(
        f"**{measure.title} on the target, minus that of full fine-tuning**",
        primary,
        tested_settings(arms, shown.verdict),
    )
    if len(ranks := rank_differences(arms)):
        _table(f"**{measure.title} of each rank minus the lowest: {SEEN}**", ranks)


def forgetting_differences(shown: Comparison, is_answered: bool) -> None:
    """How much more each setting forgot of the source than full fine-tuning, at the chosen learning rates.

    Args:
        shown: what is compared.
        is_answered: as of :func:`core.study.arms.forgetting_notes.rates_note`.
    """
    arms, masked = shown.chosen, shown.masked or shown.split
    found = full_differences(arms, FORGETTING_MASKED if masked else FORGETTING)
    if any(difference.seeds for difference in found):
        among = ", among its own classes" if masked else ""
        _table(f"**Forgetting of the source{among}, minus that of full fine-tuning** (more is worse)", found)
        if note := rates_note(arms, is_answered):
            st.caption(note)


def _table(title: str, found: Sequence[Difference], tested: Mapping[str, Candidate] | None = None) -> None:
    st.markdown(title)
    dataframe(differences_table(found, tested), hide_index=True, alt=title.strip("*"))


def single_pair(shown: Comparison) -> None:
    """Two stored networks on the same test examples; at once where there is one seed, else on demand."""
    lab, arms = shown.lab, shown.chosen
    full = next((arm for arm in arms if arm.role is Role.REFERENCE), None)
    others = [arm for arm in arms if arm is not full and full and set(arm.seeds) & set(full.seeds)]
    if full is None or not others or not full.spec.objective.has_classes:
        return
    one = noun(full.spec.network.learns, 1)
    if max(len(arm.seeds) for arm in arms) < 2:
        st.markdown(f"**One seed: {one} by {one}**")
        _pairs(lab, full, others, full.seeds[0])
        return
    fold = st.expander(f"One seed, {one} by {one}", icon=":material/image_search:", key="pair", on_change="rerun")
    if fold.open:
        with fold:
            seed = st.segmented_control(
                "Seed", list(full.seeds), default=full.seeds[0], key="pair-seed", required=True, bind="query-params"
            )
            _pairs(lab, full, others, int(seed))


def _pairs(lab: Lab, full: Arm, others: Sequence[Arm], seed: int) -> None:
    nouns = noun(full.spec.network.learns)
    st.caption(
        f"The networks of one seed on the same test {nouns}: bootstrap over the {nouns} and McNemar's exact test, "
        "corrected by Holm for all settings of this seed, but not for other seeds. This compares only these networks: "
        f"to show a difference between methods takes at least {CLAIM_SEEDS} seeds."
    )
    runs = {arm.label: run for arm in others if (run := _of_seed(arm, seed)) is not None}
    left = _of_seed(full, seed)
    if left is None:
        return
    try:
        alone = [measured(parallel, lab, run, left) for run in runs.values()]
    except LabError as error:
        st.error(literal(str(error)))
        return
    for label, found in zip(runs, corrected(alone), strict=True):
        side = "better" if found.interval.mean > 0 else "worse"
        words = (
            f"{label} is {side} than {full.label} on {nouns} like these"
            if found.shown
            else f"No difference between {label} and {full.label} is shown"
        )
        span = f"{points_text(found.interval.low)} to {points_text(found.interval.high)}".replace(" points to", " to")
        st.markdown(
            f"{words}: {points_text(found.interval.mean)} (95 % interval {span}, {p_words(found.p)}); of "
            f"{count_text(found.interval.n)} {nouns} {count_text(found.only_a)} are right only with {label} and "
            f"{count_text(found.only_b)} only with {full.label}."
        )


def _of_seed(arm: Arm, seed: int) -> Run | None:
    return next((run for run in arm.runs if run.spec.seed == seed), None)


def rates_part(shown: Comparison) -> None:
    """Which rate validation chose for each setting, and what the others would have given."""
    if not shown.tuned or not shown.chosen:
        st.caption(
            "Each setting was trained at one learning rate. *Find the learning rates*, above or under *More*, asks the "
            "same with a search, and uses what was trained."
        )
        return
    st.subheader("Learning rates")
    choices = rate_choices(shown.rows)
    st.markdown(choice_sentence(choices))
    if ends := end_sentences(choices):
        st.warning(" ".join(ends))
    table = rates_table(choices)
    dataframe(table, hide_index=True, alt="Learning rates tried for each setting, and the chosen one")
    title = shown.objective.primary.title
    alt = f"{title} on the validation part over the learning rate, one line per setting"
    show(rate_curves(sweep_arms(shown.rows)), shown.experiment.id, "rates", alt)


NO_LEVEL = "Nothing here is tested, and nothing of it counts as a look: a study of epochs finds rates for each budget."


def budget_part(shown: Comparison) -> None:
    """The budgets that the experiment has, and epochs that were passed at constant rates."""
    runs, owner = shown.everything, shown.experiment.id
    found = by_budget(Results(shown.rows, tested_by(shown.lab)))
    finished = [run for run in runs if run.state == "finished"]
    passed = passed_epochs(shown.rows, measured(epochs_of, shown.lab, finished))
    if found is not None:
        show(study_figure(found), owner, "budgets", "Each method after each number of epochs, and minus full")
        st.caption(f"Every method at its best learning rate for each number of epochs. {NO_LEVEL}")
        _turns(found)
        table = study_table(found).drop(columns=["Shown", "p"])
        dataframe(table, hide_index=True, alt="Every method after each number of epochs")
    if passed:
        st.markdown("**Epochs that were passed**")
        show(passed_figure(passed, shown.objective, shown.colours), owner, "passed", "Minus full fine-tuning, by epoch")
        beyond = "" if found is not None else f" {NO_LEVEL}"
        rates = (
            "Rates are chosen by the same validation part on which this is measured, which flatters every method a "
            "little."
            if shown.verdict.rates.several
            else "Each setting has the one rate that it was given, which may not be its best."
        )
        st.caption(f"At constant learning rates a run passes what shorter training would have reached. {rates}{beyond}")
        for each in passed:
            _turn(each.label, [f"{one} and {two}" for one, two in crossings(each.means)])
    if found is None and not passed:
        st.caption(
            "The runs have one number of epochs. Where the learning rate decays, or training stops by patience, epochs "
            "on the way say nothing of shorter training. A study of epochs does."
        )
    link("study", "Study: how long?", {})


def _turns(found: Answer) -> None:
    for line in found.lines:
        _turn(line, [found.axis.texts(pair).removesuffix(" epochs") for pair in found.crossings(line)])


def _turn(label: str, between: list[str]) -> None:
    """Say where a mean difference changes its sign."""
    if between:
        st.markdown(f"{label} crosses full fine-tuning between {listed(between)} epochs: seen, not shown.")
