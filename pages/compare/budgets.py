"""The tab By budget of Compare: what each method reaches after several numbers of epochs."""

from __future__ import annotations

import streamlit as st

from core.numbers import listed
from core.study.arms.budgets import by_budget, passed_epochs
from core.study.arms.study import StudyAnswer, crossings
from core.study.arms.study_words import study_table
from core.study.figures.study import passed_figure, study_figure
from core.study.report.evidence import epochs_of
from core.study.weights.predicted import tested_by
from pages.compare.comparison import Comparison
from pages.shared.experiment.measured import measured
from pages.shared.ui.figure_panel import show
from pages.shared.ui.links import link

NO_LEVEL = "Nothing here is tested, and nothing of it counts as a look: a study of epochs finds rates for each budget."


def budget_part(shown: Comparison) -> None:
    """The budgets that the experiment has, and epochs that were passed at constant rates."""
    runs, owner = shown.everything, shown.experiment.id
    found = by_budget(runs, tested_by(shown.lab))
    finished = [run for run in runs if run.state == "finished"]
    passed = passed_epochs(runs, measured(epochs_of, shown.lab, finished))
    if found is not None:
        show(study_figure(found), owner, "budgets", "Each method after each number of epochs, and minus full")
        st.caption(f"Every method at its best learning rate for each number of epochs. {NO_LEVEL}")
        _turns(found)
        table = study_table(found).drop(columns=["Shown", "p"])
        st.dataframe(table, hide_index=True, alt="Every method after each number of epochs")
    if passed:
        st.markdown("**Epochs that were passed**")
        show(passed_figure(passed, shown.objective, shown.colours), owner, "passed", "Minus full fine-tuning, by epoch")
        beyond = "" if found is not None else f" {NO_LEVEL}"
        st.caption(
            "At constant learning rates a run passes what shorter training would have reached. Rates are chosen by the "
            f"same validation part on which this is measured, which flatters every method a little.{beyond}"
        )
        for each in passed:
            _turn(each.label, [f"{one} and {two}" for one, two in crossings(each.means)])
    if found is None and not passed:
        st.caption(
            "The runs have one number of epochs. Where the learning rate decays, or training stops by patience, epochs "
            "on the way say nothing of shorter training. A study of epochs does."
        )
    link("study", "Study: how long?", {})


def _turns(found: StudyAnswer) -> None:
    for line in found.lines:
        _turn(line, [found.axis.texts(pair).removesuffix(" epochs") for pair in found.crossings(line)])


def _turn(label: str, between: list[str]) -> None:
    """Say where a mean difference changes its sign."""
    if between:
        st.markdown(f"{label} crosses full fine-tuning between {listed(between)} epochs: seen, not shown.")
