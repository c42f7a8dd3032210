"""Tabs of an experiment: the sections of the answer, curves to choose, and what only the page has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from core.rule.controls import misleading_sentence
from core.study.arms.tables import validation_table
from core.study.figures.curves import Axis, NamedCurve, loss_curves, measure_curves
from core.study.report.cost import COST, cost_section
from core.study.report.sections import BY_BUDGET, BY_RANK, CURVES, DIFFERENCES, RATES, Chapter, chapters_of
from pages.experiment.comparison import Comparison
from pages.experiment.examples import examples_part
from pages.experiment.runs import runs_part
from pages.experiment.single_pair import single_pair
from pages.experiment.use.part import uses
from pages.experiment.weights.part import weights_part
from pages.shared.ui.customers import customers
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.figure_panel import section_view, show

Part = Callable[[Comparison], None]
"""Draws a tab, or a part of one."""

VALIDATION = "Validation"
"""Title of the tab that shows what settings are chosen by, while the test part is not to be read yet."""


def section_part(chapter: Chapter, shown: Comparison) -> None:
    """A section of the answer, with what the page asks about it."""
    if chapter.title == COST:
        number = customers("customers", "Each has a network of their own.", bind="query-params")
        section = cost_section(replace(shown.sections, customers=number))
    else:
        section = chapter.make()
    section_view(section, shown.experiment.id, without="difference")  # which stands above the tabs
    if chapter.title == shown.objective.primary.title:
        if warning := misleading_sentence(shown.shown[0].rows[0]):
            st.warning(warning)
        single_pair(shown)


def validation_part(shown: Comparison) -> None:
    """What the validation part says of each setting, by which settings are chosen."""
    table = validation_table(shown.shown)
    dataframe(table, hide_index=True, alt="Mean on the validation part of each setting, with its interval")


def curves_part(shown: Comparison) -> None:
    """Loss and accuracy while the runs were trained."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        axis: Axis = st.segmented_control(
            "Over", ["step", "epoch", "seconds"], default="step", key="axis", bind="query-params", required=True
        )
        smoothing = st.slider("Smoothing", 0.0, 0.99, 0.9, 0.01, key="smoothing", bind="query-params", width=240)
        log = st.toggle("Logarithmic loss", key="log", bind="query-params")
    chosen = st.pills(
        "Arms",
        list(shown.labels),
        selection_mode="multi",
        default=list(shown.labels),
        format_func=shown.labels.__getitem__,
        key=f"shown-arms-{shown.experiment.id}-{' '.join(shown.labels)}",
    )
    curves = [
        NamedCurve.of(run, shown.labels[run.spec.arm], shown.colours[run.spec.arm], shown.curves[run.id])
        for run in shown.drawn
        if run.spec.arm in chosen
    ]
    if not curves:
        st.caption("Choose at least one setting.")
        return
    owner = shown.experiment.id
    show(loss_curves(curves, axis, smoothing, log), owner, "loss", "Training and validation loss of every run")
    figure = measure_curves(curves, axis, shown.masked, shown.objective)
    show(figure, owner, "curves", f"{shown.objective.primary.title} of every run as training goes on")


OF_PAGE: Mapping[str, Part] = {
    "Examples": examples_part,
    "Weights": lambda shown: weights_part(shown.lab, shown.experiment),
    "Runs": runs_part,
    "Use it": lambda shown: uses(shown.lab, shown.experiment),
}
"""Tabs that only the page has."""

FIRST = ""
"""What stands for the tab of the primary measure in :data:`JOINED`."""

JOINED = {DIFFERENCES: FIRST, BY_RANK: FIRST, BY_BUDGET: RATES}
"""Sections that stand in the tab of another one, where there is that."""

UNREAD = (VALIDATION, RATES, CURVES, "Weights", "Runs", "Use it")
"""Tabs while the test part is not to be read yet."""


def tabs_of(shown: Comparison, is_whole: bool) -> dict[str, Part]:
    """What draws each tab, by its title, in their order.

    Args:
        shown: what is compared.
        is_whole: whether it is a whole experiment, and no selection of runs or point of a study.
    """
    found: dict[str, list[Part]] = {}
    for chapter in chapters_of(shown.sections):
        title = JOINED.get(chapter.title, chapter.title) or shown.objective.primary.title
        found.setdefault(title if title in found else chapter.title, []).append(partial(section_part, chapter))
    tabs: dict[str, Part] = {title: partial(_all, parts) for title, parts in found.items()}
    tabs |= {CURVES: curves_part} | OF_PAGE
    if shown.verdict.unread:
        tabs = {VALIDATION: validation_part} | tabs
        return {title: part for title, part in tabs.items() if title in UNREAD}
    hidden = ("Examples",) if shown.objective.targets == "numbers" else ()
    hidden += () if is_whole else ("Weights", "Runs", "Use it")
    return {title: part for title, part in tabs.items() if title not in hidden}


def _all(parts: Sequence[Part], shown: Comparison) -> None:
    """Draw the sections of a tab, one below the other."""
    for part in parts:
        part(shown)
