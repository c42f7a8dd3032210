"""Filling Home's form: with the question of the experiment that is shown, or with a dataset that the address names."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.data.dataset import LANGUAGE
from core.lab import Lab
from core.store.record import Experiment
from pages.home.asked import DATASET, is_imported, question_of, targets
from pages.home.question import KEY, LEARNED, direct_key, target_key
from pages.shared.forms import widgets
from pages.shared.forms.datasets import QUERY, take_dataset

FILLED = f"{KEY}-filled"
"""Session state key: id of the experiment that the form was filled from last; empty for a dataset."""


def fill_question(lab: Lab, asked: Experiment | None, running: Experiment | None) -> None:
    """Fill the form before it is drawn, so that after a reload and in a second tab it shows what is asked.

    It is filled once for each experiment that somebody asks for, so that changes to the form stay; and where nobody has
    asked for one, once with what trains.

    Args:
        lab: has the experiments.
        asked: the experiment that somebody asks for; None if there is none.
        running: one that trains or waits; None if there is none.
    """
    if _take_dataset(lab):
        return
    shown = asked or running
    if shown is None or st.session_state.get(FILLED) == shown.id or (asked is None and FILLED in st.session_state):
        return
    st.session_state[FILLED] = shown.id
    question, plan = question_of(lab, shown)
    if question is None:
        return
    values: dict[str, Any] = {f"{KEY}-dataset": question.source, target_key(question.network.learns): question.target}
    if question.network.learns in ("text", LANGUAGE):
        values[LEARNED] = question.network.learns
    if is_imported(question.network.learns):
        values |= {
            direct_key(question.network.learns): question.direct,
            f"{KEY}-length": question.length,
        }
        if question.network.brought is not None:
            values[f"{KEY}-network"] = question.network.brought
    widgets.fill(values if plan is None else values | {f"{KEY}-plan": plan})


def _take_dataset(lab: Lab) -> bool:
    """Choose the dataset that the address names, as the target where networks are pretrained here; whether it does."""
    name = st.query_params.get(QUERY)
    if name is None:
        return False
    st.session_state[FILLED] = ""
    take_dataset(lab, f"{KEY}-dataset")
    if st.session_state.get(f"{KEY}-dataset") == name and not is_imported(lab.catalog.info(name).kind):
        best = lab.catalog.info(lab.catalog.best(lab.catalog.info(name).kind))
        if f"{DATASET}{name}" in targets(lab, best, direct=False):
            widgets.fill({f"{KEY}-dataset": best.name, f"{KEY}-target": f"{DATASET}{name}"})
    return True
