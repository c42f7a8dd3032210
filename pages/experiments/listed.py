"""The list of experiments: state, verdict, runs and training time of each, and what a selected one leads to."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.answer.levels import level_words
from core.answer.lines import headline
from core.errors import LabError
from core.lab import Lab
from core.numbers import NOTHING, seconds_text
from core.store.record import ExperimentRow
from core.study.report.answer import last_read
from pages.experiments.actions import problem
from pages.experiments.delete import ask_to_delete, delete_dialog
from pages.experiments.table import page_picker
from pages.shared.experiment.current import QUERY, known, missing_sentence, remember
from pages.shared.experiment.state import counts_text
from pages.shared.experiment.verdict_view import verdict_view
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.tabs import VIEW
from pages.shared.ui.widget_key import widget_key

ROWS = 20
"""Experiments per page."""

PAGE = "experiments-page"
"""URL parameter with the number of the page."""


def experiments_part(lab: Lab) -> None:
    """Draw one page of the list, the newest first, and the selected experiment, which the address names."""
    pages = max(1, -(-lab.search.count_experiments() // ROWS))
    place = st.container()
    rows = lab.store.experiment_rows(ROWS, (page_picker(PAGE, widget_key(PAGE, pages), pages) - 1) * ROWS)
    asked = st.query_params.get(QUERY)
    with place:
        _table(lab, rows, asked)
    if asked is None:
        st.caption("Select an experiment to see its runs, or to compare its settings.")
    elif known(lab, asked) is None:
        st.warning(literal(missing_sentence(asked)), icon=":material/link_off:")
    else:
        _selected(lab, asked)
    delete_dialog(lab)
    problem()


def _table(lab: Lab, rows: list[ExperimentRow], asked: str | None) -> None:
    ids = [row.id for row in rows]
    # Rows are selected by position, so other experiments get another key.
    key = widget_key("experiments", ids)
    place = [ids.index(asked)] if asked in ids else []
    if key not in st.session_state or st.session_state[key]["selection"]["rows"] != place:
        st.session_state[key] = {"selection": {"rows": place}}
    told = [_told(str(lab.settings.home), row.id, row.changes, len(lab.looks.of(row.id)), lab) for row in rows]
    dataframe(
        {
            "Experiment": [row.name for row in rows],
            "State": [_state(row) for row in rows],
            "Verdict": [sentence for sentence, _ in told],
            "Level": [level for _, level in told],
            "Runs": [row.total for row in rows],
            "Time": [seconds_text(row.seconds) if row.seconds else NOTHING for row in rows],
            "Created": pd.to_datetime([row.created for row in rows], unit="s", utc=True).as_unit("ms"),
        },
        hide_index=True,
        key=key,
        selection_mode="single-row",
        on_select=lambda: _take(ids, st.session_state[key]["selection"]["rows"]),
        alt="Experiments, the newest first",
        column_config={
            "Experiment": st.column_config.TextColumn(width="medium"),
            "Verdict": st.column_config.TextColumn(width="large"),
            "Time": st.column_config.TextColumn(help="Training time of all runs together."),
            "Created": st.column_config.DatetimeColumn(format="DD MMM HH:mm"),
        },
    )


def _selected(lab: Lab, id: str) -> None:
    """Draw the verdict of the selected experiment, and what it leads to."""
    experiment = lab.store.experiment(id)
    remember(id)
    st.subheader(literal(experiment.name))
    members = lab.store.members(experiment)
    verdict_view(last_read(lab, experiment, members))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Its runs", icon=":material/list:", type="tertiary", key="experiments-runs", on_click=_show_runs)
        link("experiment", "Open", {QUERY: id})
        st.button(
            "Delete",
            icon=":material/delete:",
            key="experiments-delete",
            on_click=ask_to_delete,
            args=([run.id for run in members],),
        )


def _show_runs() -> None:
    st.session_state[VIEW] = "Runs"


def _state(row: ExperimentRow) -> str:
    return "finished" if row.counts.get("finished") == row.total else counts_text(row.counts)


@st.cache_data(max_entries=2000, show_spinner="Reading the results")
def _told(home: str, id: str, changes: int, looks: int, _lab: Lab) -> tuple[str, str]:
    """The verdict of an experiment in one sentence, and its level; "" where it has none.

    Args:
        home: path of the home folder.
        id: of the experiment.
        changes: of its runs, see :class:`core.store.record.ExperimentRow`.
        looks: at it. After another change or look, the verdict is asked for again.
    """
    try:
        found = last_read(_lab, _lab.store.experiment(id))
    except LabError as error:  # deleted elsewhere while the page was drawn
        return str(error), ""
    return headline(found), level_words(found)


def _take(ids: list[str], rows: list[int]) -> None:
    if rows:
        st.query_params[QUERY] = ids[rows[0]]
    elif st.query_params.get(QUERY) in ids:
        del st.query_params[QUERY]
