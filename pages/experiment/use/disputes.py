"""The test examples on which the chosen networks do not all answer alike; a click asks about one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from core.lab import Lab
from core.numbers import count_text, percent
from core.store.record import Experiment
from core.study.arms.answers_table import EXAMPLE as NUMBER
from core.study.arms.answers_table import answers_table, disputed
from core.study.weights.predicted import computed_labels, predictions, test_texts, true_targets
from core.wording.csv_file import csv_of
from core.wording.tasks import examples_text
from pages.experiment.use.choice import Chosen
from pages.experiment.use.inputs import EXAMPLE, INPUT, TEST
from pages.shared.experiment.measured import measured
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.download import download
from pages.shared.ui.widget_key import widget_key

SHOWN = 500
"""Maximum number of rows in the table; the file has all."""

CHARACTERS = 200
"""Maximum number of characters of a text in the table; the file has all."""

TABLE = "try-disputed"
"""The beginning of the key of the table."""


@dataclass(frozen=True, eq=False)
class Disputes:
    """What each network answers on the test part of the chosen task, and where they differ."""

    answers: Mapping[str, NDArray[np.integer[Any]]]
    """(n,) labels by what the network is called."""
    rows: tuple[int, ...]
    """The examples on which networks differ, see :func:`core.study.arms.answers_table.disputed`. On the target the base
    is compared only with a network that is alone: it may know none of the target's classes, and would differ
    everywhere."""
    with_base: bool
    """Whether the base is among those that are compared."""


def find_disputes(lab: Lab, chosen: Chosen) -> Disputes:
    """Compare what the runs and their base predicted. Raises: LabError: a dataset or network is gone or damaged."""
    first, on_source = chosen.runs[0], not chosen.is_target
    base = {} if first.spec.has_new_head else {"Base": measured(computed_labels, lab, first, True, on_source)}
    # Runs keep what they predict for their target.
    tuned = {
        arm.label: measured(computed_labels, lab, run, False, True) if on_source else predictions(lab, run).predicted
        for arm, run in zip(chosen.arms, chosen.runs, strict=True)
    }
    with_base = bool(base) and (on_source or len(tuned) == 1)
    compared = base | tuned if with_base else tuned
    return Disputes(base | tuned, tuple(disputed(list(compared.values())).tolist()), with_base)


def show_disputes(lab: Lab, experiment: Experiment, chosen: Chosen, found: Disputes) -> None:
    """Draw the table of all test examples on which the networks disagree, and offer it as a file."""
    if len(chosen.runs) == 1 and not found.with_base:
        return  # there is nothing to compare the only network with
    rows, answers, learns = found.rows, found.answers, chosen.runs[0].spec.network.learns
    truth = true_targets(lab, chosen.runs[0].spec, chosen.task)
    names = lab.catalog.load(chosen.task.dataset).class_names
    st.subheader("Where they disagree")
    share = percent(100 * len(rows) / max(len(truth), 1), 1)
    tested = examples_text(learns, len(truth), "test")
    who = "Fine-tuned networks"
    if found.with_base:
        who = "The network and its base" if len(chosen.runs) == 1 else "The networks and their base"
    count, part = count_text(len(rows)), "" if chosen.is_target else " of the source"
    select = " Select a row to ask about that example." if rows else ""
    st.markdown(f"{who} differ on {count} of {tested}{part} ({share}).{select}")
    if not rows:
        return
    texts = test_texts(lab, chosen.task, rows) if learns == "text" else None
    short = None if texts is None else [text[:CHARACTERS] for text in texts[:SHOWN]]
    table = answers_table(rows[:SHOWN], truth, answers, names, short)
    # Rows are selected by position, so other examples get another key: none of them is ticked unasked.
    key = widget_key(TABLE, chosen.task, rows[:SHOWN])
    dataframe(
        table,
        hide_index=True,
        key=key,
        selection_mode="single-row",
        on_select=lambda: _ask(key, table[NUMBER].tolist()),
        alt="Test examples on which the networks do not all answer alike",
    )
    if len(rows) > SHOWN:
        st.caption(f"Only the first {count_text(SHOWN)} are shown, and sorting sorts only these; the file has all.")
    download(
        "Download these examples",
        lambda: csv_of(answers_table(rows, truth, answers, names, texts)),
        f"{experiment.id}-{'' if chosen.is_target else 'source-'}disagreements.csv",
        "text/csv",
        "try-csv",
    )


def _ask(key: str, numbers: list[Any]) -> None:
    """Make the selected row the test example that is asked about. Args: key: of the table; numbers: of its rows."""
    selected = st.session_state[key].selection.rows
    if selected:
        st.session_state[EXAMPLE] = int(numbers[selected[0]])
        st.session_state[INPUT] = TEST
