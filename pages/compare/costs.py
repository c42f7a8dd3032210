"""The parts of Compare that say what accuracy costs: forgetting, time, parameters and storage."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core.errors import LabError
from core.results.measures import COSTS, MEMORY_NOTE, storage_note, time_note
from core.rule.frontier import (
    FRONTIER_NOTE,
    EqualAccuracy,
    Frontier,
    at_equal_accuracy,
    frontier_pairs,
    frontier_sentence,
    frontier_table,
    frontiers,
)
from core.study.arms.forgetting_notes import no_source, source_note
from core.study.arms.tables import storage_sentence
from core.study.arms.trained_memory import TRAINED_MEMORY_NOTE, memory_columns
from core.study.figures.curves import arm_dots, bars
from core.study.figures.frontier import ALT, frontier_figure
from core.study.figures.palette import colours_of
from core.study.figures.tradeoffs import accuracy_against, learning_and_forgetting, learning_over_time
from core.study.report.evidence import epochs_of
from core.study.weights.remeasured import base_accuracies, mean_accuracies
from pages.compare.comparison import Comparison
from pages.compare.evidence import forgetting_differences
from pages.shared.experiment.measured import measured
from pages.shared.ui.customers import customers
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.figure_panel import show
from pages.shared.ui.literal import literal


def forgetting_part(shown: Comparison) -> None:
    """What the network still knows of the source: each run, the learning–forgetting plane, and the frontier."""
    measure, owner, spec = shown.objective.primary, shown.experiment.id, shown.members[0].spec
    if not shown.has_source:
        unmeasured = no_source(spec) if spec.is_direct and spec.source is None else ""
        st.caption(unmeasured or f"{measure.title} on the source was not measured.")
        return
    st.caption(source_note(spec))
    figure = arm_dots(shown.shown, shown.source_measure, shown.colours, shown.stopped)
    show(figure, owner, "source", f"{measure.title} on the source of each run, with mean and interval")
    if len(shown.bases) == 1 or spec.is_direct:
        first = next(run.result for run in shown.members if run.result)
        before = measure.text(first.measures.get(f"{shown.source_measure}_before"))
        who = "network" if spec.is_direct else "base"
        st.caption(f"Before fine-tuning the {who} had {before} on the source.")
    start = None
    try:
        start = mean_accuracies(list(measured(base_accuracies, shown.lab, shown.shown).values()))
    except LabError as error:
        st.caption(f"Where the base stood is not shown: {literal(str(error))}")
    known = (start.source_masked if shown.masked else start.source) if start else None
    found = _frontiers(shown, known) if known is not None else []
    equal = [row for lora, full in frontier_pairs(found) for row in at_equal_accuracy(lora, full)]
    forgetting_differences(shown, is_answered=bool(equal))
    st.subheader("Learning and forgetting")
    figure = learning_and_forgetting(shown.shown, shown.curves, shown.colours, shown.masked, start)
    alt = f"{measure.title} on the target against {measure.noun} on the source, one line per setting"
    show(figure, owner, "plane", alt)
    up, right = ("Up", "right") if measure.higher_is_better else ("Down", "left")
    st.caption(f"{up} is more learned, {right} is less forgotten.")
    if found:
        _frontier(shown, found, equal)


def _frontiers(shown: Comparison, before: float) -> list[Frontier]:
    """All that each method and rank was seen to reach. Args: before: where the base stood on the source."""
    finished = [run for run in shown.everything if run.state == "finished"]
    return frontiers(shown.rows, measured(epochs_of, shown.lab, finished), before, shown.masked)


def _frontier(shown: Comparison, found: Sequence[Frontier], equal: Sequence[EqualAccuracy]) -> None:
    """Accuracy against forgetting over all rates and epochs, and what equal accuracy says."""
    st.markdown("**Forgetting at equal accuracy**")
    figure = frontier_figure(found, colours_of(run.spec for run in shown.everything), shown.masked)
    show(figure, shown.experiment.id, "frontier", ALT)
    if pairs := frontier_pairs(found):
        st.markdown(literal(frontier_sentence(pairs)))
    if equal:
        dataframe(frontier_table(equal), hide_index=True, alt="Forgetting of LoRA minus full at equal accuracy")
        st.caption(FRONTIER_NOTE)


def cost_part(shown: Comparison) -> None:
    """Accuracy against time, parameters and storage; and the costs alone."""
    arms, colours, owner = shown.shown, shown.colours, shown.experiment.id
    title = shown.objective.primary.title
    st.subheader("Cost")
    is_shared = any(arm.shares_time for arm in arms)
    st.caption(time_note(is_shared))
    if not is_shared:
        left, right = st.columns(2, gap="large")
        with left:
            figure = learning_over_time(arms, shown.curves, colours)
            show(figure, owner, "time", f"{title} on the validation part over training time, one line per setting")
        with right:
            show(arm_dots(arms, "seconds", colours), owner, "seconds", "Training time of each run")
    left, right = st.columns(2, gap="large")
    with left:
        figure = accuracy_against("trainable_parameters", arms, colours)
        show(figure, owner, "parameters", f"{title} on the test part against trainable parameters")
    with right:
        figures = st.container()
        number = customers("customers", "Each has a network of their own.", bind="query-params")
        with figures:
            figure = accuracy_against("storage", arms, colours, number)
            show(figure, owner, "storage", f"{title} on the test part against bytes to store for all customers")
        note = storage_note(arms[0].interval("checkpoint_bytes").mean)
        st.caption(literal(f"{storage_sentence(arms, number)} {note}"))
    names = ["trainable_parameters", "memory"]
    for place, name in zip(st.columns(2, gap="large"), names, strict=True):
        with place:
            show(bars(arms, name, colours), owner, name, f"{COSTS[name].title} of each setting")
    st.caption(MEMORY_NOTE)
    kept = shown.lab.estimates.at_launch([run.id for arm in arms for run in arm.runs])
    if columns := memory_columns(arms, kept):
        table = pd.DataFrame({"Setting": [arm.label for arm in arms], **columns}, dtype="string")
        dataframe(table, hide_index=True, alt="Forecast and measured memory of the process, by setting")
        st.caption(TRAINED_MEMORY_NOTE)
