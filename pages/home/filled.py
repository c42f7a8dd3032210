"""Filling Home's form: with the question of an experiment that is opened, or with a dataset that the address names."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.data.dataset import LANGUAGE
from core.lab import Lab
from core.store.record import Experiment
from pages.home.asked import DATASET, is_imported, question_of, targets
from pages.home.question import KEY, LEARNED, direct_key, target_key
from pages.shared.experiment.current import QUERY as QUERY_EXPERIMENT
from pages.shared.forms import widgets
from pages.shared.forms.datasets import QUERY, take_dataset

SHOWN = f"{KEY}-shown"
"""Session state key: id of the experiment that Home showed last; empty for none."""


def fill_question(lab: Lab, named: Experiment | None, shown: Experiment | None, running: Experiment | None) -> None:
    """Fill the form before it is drawn, so that after a reload and in a second tab it shows what is asked.

    It is filled at the visit that opens an experiment: where the address names another one than Home showed last, or at
    the first visit of a session. Nothing that happens later fills it again, whatever ends, starts or gets more runs,
    because the form then has what a person or a link has chosen.

    Args:
        lab: has the experiments.
        named: the experiment that the address names, or else the current one of the session; None if there is none.
        shown: the experiment whose answer Home shows; None if there is none.
        running: an experiment that trains or waits; None if there is none.
    """
    is_first, before = SHOWN not in st.session_state, st.session_state.get(SHOWN)
    st.session_state[SHOWN] = shown.id if shown is not None else ""
    if _take_dataset(lab):
        return
    if is_first:
        opened = named or running
    else:
        opened = named if QUERY_EXPERIMENT in st.query_params and named is not None and named.id != before else None
    if opened is not None:
        _fill(lab, opened)


def _fill(lab: Lab, opened: Experiment) -> None:
    """Choose in the form what an experiment asked, as far as Home can ask it."""
    question, plan = question_of(lab, opened)
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
    take_dataset(lab, f"{KEY}-dataset")
    if st.session_state.get(f"{KEY}-dataset") == name and not is_imported(lab.catalog.info(name).kind):
        best = lab.catalog.info(lab.catalog.best(lab.catalog.info(name).kind))
        if f"{DATASET}{name}" in targets(lab, best, direct=False):
            widgets.fill({f"{KEY}-dataset": best.name, f"{KEY}-target": f"{DATASET}{name}"})
    return True
