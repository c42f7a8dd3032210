"""Tabs of an experiment: the sections of the answer, curves to choose, and the whole table."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from core.rule.controls import misleading_sentence
from core.study.arms.tables import comparison_text, validation_table
from core.study.figures.curves import Axis, NamedCurve, loss_curves, measure_curves
from core.study.report.cost import COST, cost_section
from core.study.report.sections import Chapter
from pages.experiment.comparison import Comparison
from pages.experiment.single_pair import single_pair
from pages.experiment.use.part import uses
from pages.experiment.weights.part import weights_part
from pages.shared.ui.customers import customers
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.figure_panel import section_view, show


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


def table_part(shown: Comparison) -> None:
    """All figures of each arm."""
    dataframe(comparison_text(shown.shown), hide_index=True, alt="All figures of each setting")


def use_part(shown: Comparison) -> None:
    """What the networks are good for."""
    uses(shown.lab, shown.experiment)


def changed_part(shown: Comparison) -> None:
    """What fine-tuning changed in the weights."""
    weights_part(shown.lab, shown.experiment)
