"""The test examples on which the chosen networks do not all answer alike; a click asks about one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from core.lab import Lab
from core.store.record import Experiment
from core.study.arms.answers_table import EXAMPLE as NUMBER
from core.study.arms.answers_table import answers_table, disputed
from core.study.weights.answering import base_predictions
from core.study.weights.predicted import predictions, test_texts, true_labels
from core.wording.csv_file import csv_of
from core.wording.examples import examples_text
from core.wording.numbers import count_text, percent
from pages.shared.measured import measured
from pages.tryit.choice import Chosen
from pages.tryit.inputs import EXAMPLE, INPUT, TEST

SHOWN = 500
"""Maximum number of rows in the table; the file has all."""

CHARACTERS = 200
"""Maximum number of characters of a text in the table; the file has all."""

TABLE = "try-disputed"


@dataclass(frozen=True, eq=False)
class Disputes:
    """What each network answers on the test part of the target, and where they differ."""

    answers: Mapping[str, NDArray[np.integer[Any]]]
    """(n,) labels by what the network is called."""
    rows: tuple[int, ...]
    """The examples on which methods differ, see :func:`core.study.arms.answers_table.disputed`: the base is compared
    only with a network that is alone. It may know none of the target's classes, and would differ everywhere."""


def find_disputes(lab: Lab, chosen: Chosen) -> Disputes:
    """Compare what the runs and their base predicted. Raises: LabError: a dataset or network is gone or damaged."""
    first = chosen.runs[0]
    # A network that was brought has a new head, which knows no class yet.
    answers = {} if first.spec.is_direct else {"Base": measured(base_predictions, lab, first)}
    tuned = {arm.label: predictions(lab, run) for arm, run in zip(chosen.arms, chosen.runs, strict=True)}
    answers |= tuned
    compared = tuned if len(tuned) > 1 else answers
    return Disputes(answers, tuple(disputed(list(compared.values())).tolist()))


def show_disputes(lab: Lab, experiment: Experiment, chosen: Chosen, found: Disputes) -> None:
    """Draw the table of all test examples on which the networks disagree, and offer it as a file."""
    first, rows, answers = chosen.runs[0], found.rows, found.answers
    truth = true_labels(lab, first.spec.task)
    names = lab.catalog.load(first.spec.task.dataset).class_names
    st.subheader("Where they disagree")
    share = percent(100 * len(rows) / max(len(truth), 1), 1)
    tested = examples_text(first.spec.network.learns, len(truth), "test")
    who = "Fine-tuned networks" if len(chosen.runs) > 1 else "The network and its base"
    count = count_text(len(rows))
    st.markdown(f"{who} differ on {count} of {tested} ({share}). Select a row to ask about that example.")
    if not rows:
        return
    texts = test_texts(lab, first.spec.task, rows) if first.spec.network.learns == "text" else None
    short = None if texts is None else [text[:CHARACTERS] for text in texts[:SHOWN]]
    table = answers_table(rows[:SHOWN], truth, answers, names, short)
    st.dataframe(
        table,
        hide_index=True,
        key=TABLE,
        selection_mode="single-row",
        on_select=lambda: _ask(table[NUMBER].tolist()),
        alt="Test examples on which the networks do not all answer alike",
    )
    if len(rows) > SHOWN:
        st.caption(f"Only the first {count_text(SHOWN)} are shown, and sorting sorts only these; the file has all.")
    st.download_button(
        "Download these examples",
        lambda: csv_of(answers_table(rows, truth, answers, names, texts)),
        f"{experiment.id}-disagreements.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="try-csv",
    )


def _ask(numbers: list[Any]) -> None:
    """Make the selected row the test example that is asked about."""
    selected = st.session_state[TABLE].selection.rows
    if selected:
        st.session_state[EXAMPLE] = int(numbers[selected[0]])
        st.session_state[INPUT] = TEST
