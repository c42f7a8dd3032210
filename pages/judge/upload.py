"""Upload of files with results: they are read, what does not fit is asked, and a press judges them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import pandas as pd
import streamlit as st

from core.errors import LabError
from core.judge.reading import COLUMNS, MAX_OFFERED, Question, Reading
from core.judge.results import Gathered, KeptResults, gathered
from core.judge.sources import SOURCES, Given, read
from core.judge.table import MAX_BYTES, Table
from core.lab import Lab
from core.numbers import NOTHING, count_text, counted, seeds_text
from core.results.scale import TEST
from core.spec import bounds
from core.store.judged import Judged
from core.study.report.judged import keep_results
from pages.shared.experiment.current import remember
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.literal import literal
from pages.shared.ui.primary import on_primary

NUMBERS = {"within": 0.0, "examples": 2}
"""Fields with a number, and the least one."""


def reading_so_far(key: str) -> Reading:
    """What the fields say. Args: key: prefix of their widget keys. Raises: SpecError: something is out of bounds."""
    given: dict[str, Any] = {}
    for name in Reading.model_fields:
        value = st.session_state.get(f"{key}-{name}")
        if value not in (None, "", NOTHING, []):
            given[name] = tuple(value) if isinstance(value, list) else value
    return Reading.of(**given)


def draw_fields(key: str, columns: Sequence[str], questions: Sequence[Question]) -> None:
    """Draw every field once.

    Args:
        key: prefix of the widget keys.
        columns: names of all columns of the files.
        questions: that are open.
    """
    asked: dict[str, Question] = st.session_state.setdefault(f"{key}:asked", {})
    asked.update({question.field: question for question in questions})
    open_ = {question.field for question in questions}
    for name, question in asked.items():
        with st.container(border=True):
            if name in open_:
                st.markdown(f":material/help: {literal(question.text)}")
            _field(key, name, columns, question.options)
    with st.expander("How the files are read", icon=":material/table_chart:", key=f"{key}:fold"):
        st.caption("Columns with known names are found. A field is needed where a name differs or something is open.")
        left, right = st.columns(2, gap="large")
        rest = [name for name in Reading.model_fields if name not in asked]
        for place, name in enumerate(rest):
            with left if place < len(rest) / 2 else right:
                _field(key, name, columns, ())


def _field(key: str, name: str, columns: Sequence[str], options: Sequence[str]) -> None:
    about, kind = bounds(Reading, name), Reading.model_fields[name].annotation
    place: Mapping[str, Any] = {"label": about.title, "help": about.description, "key": f"{key}-{name}"}
    if name == "settings":
        st.multiselect(options=list(columns), **place)
    elif name in NUMBERS:
        st.number_input(min_value=NUMBERS[name], value=None, placeholder="not said", **place)
    elif get_origin(kind) is Literal:
        st.selectbox(options=[NOTHING, *(choice for choice in get_args(kind) if choice)], **place)
    elif options or name in COLUMNS:
        choices = list(dict.fromkeys([NOTHING, *(options or columns)]))
        st.selectbox(options=choices, accept_new_options=len(options) == MAX_OFFERED, **place)
    else:
        st.text_input(max_chars=400, **place)


def problem(error: LabError) -> None:
    """Say what is wrong with files or answers."""
    st.error(literal(str(error)))


ROWS = 5
"""Runs that are shown of what was read."""

MAX_FILES = 20
"""Maximum number of files at once."""

BESIDE = """\
Beside a table, in files of their own:

- **Test examples**, one row for each run and example: `run` (or `method`, `rank`, `seed` …), `item`, and `right` or the
  measure. They give intervals over test examples, and tell networks of one seed apart.
- **Epochs**: `run`, `epoch`, `validation`. They say whether settings had settled.
- What `python -m core export EXPERIMENT results.csv` has written beside the table.

Known columns are `method`, `rank`, `alpha`, `learning_rate`, `seed`, `validation`, and `accuracy` or another measure.
All others are asked for. `docs/judge.md` says what to export from W&B, MLflow, TensorBoard, trackio,
lm-evaluation-harness and PEFT's method comparison.
"""


@st.cache_resource(max_entries=4, ttl="30m", show_spinner="Reading the files")
def _tables(file_ids: tuple[str, ...], _files: list[Given]) -> list[tuple[str, Table]] | str:
    """Parse files; return tables by name, or the error message. Cached because every click redraws the page."""
    try:
        return [(file.name, read(file)) for file in _files]
    except LabError as error:
        return str(error)


def upload_results(lab: Lab, before: Judged | None = None) -> None:
    """Draw the uploader and, once there are files, what they say and the button that judges them.

    Args:
        lab: keeps the results.
        before: results that the files are added to.
    """
    prefix = f"judge-{before.id if before else 'new'}"
    turn = st.session_state.setdefault(f"{prefix}:turn", 0)
    uploaded = st.file_uploader(
        "Files with results",
        max_upload_size=MAX_BYTES // 2**20,
        accept_multiple_files=True,
        key=f"{prefix}:files-{turn}",
        help="A table, and files beside it.",
    )
    with st.expander("Supported files", icon=":material/description:", key=f"{prefix}:formats"):
        st.markdown("\n".join(f"- **{source.title}:** {literal(source.line)}" for source in SOURCES))
        st.markdown(BESIDE)
    if not uploaded:
        return
    if len(uploaded) > MAX_FILES:
        st.error(f"At most {MAX_FILES} files are read at once: put runs into one table.")
        return
    files = [Given(file.name, file.getvalue()) for file in uploaded]
    tables = _tables(tuple(file.file_id for file in uploaded), files)
    if isinstance(tables, str):
        st.error(literal(tables))
        return
    key = f"{prefix}-{turn}"
    found = _gathered(lab, key, tables, files, before)
    columns = list(dict.fromkeys(name for _, table in tables for name in table.columns))
    draw_fields(key, columns, found.questions if found is not None else ())
    if found is None or found.results is None:
        return
    _preview(found.results, found)
    _decide(lab, found, uploaded[0].name, prefix, before)


def _gathered(
    lab: Lab, key: str, tables: Sequence[tuple[str, Table]], files: Sequence[Given], before: Judged | None
) -> Gathered | None:
    try:
        measures = lab.judged.measures(before.id) if before is not None else None
        return gathered(tables, [file.about for file in files], reading_so_far(key), before, measures)
    except LabError as error:
        problem(error)
        return None


def _preview(results: KeptResults, found: Gathered) -> None:
    """Draw what was understood: how many runs of which settings, by which measure, and the first rows."""
    rows, measure = results.rows, results.scale.primary
    settings = {(row.method, row.rank, row.alpha, row.learning_rate, tuple(row.settings.items())) for row in rows}
    chosen = any(row.validation is not None for row in rows)
    facts = [
        f"{counted(len(rows), 'run')} of {counted(len(settings), 'setting')}, "
        f"{seeds_text(sorted({row.seed for row in rows}))}",
        f"compared with {results.reference}",
        f"by {measure.noun}, {'higher' if measure.higher_is_better else 'lower'} is better, margin "
        f"{measure.margin_text(results.scale.within)}",
        "without a test part"
        if results.scale.part != TEST
        else "chosen on the validation part"
        if chosen
        else "without a validation part",
    ]
    if found.measures:
        facts.append(f"test examples of {counted(len(found.measures), 'run')}")
    st.markdown(literal(f"{'; '.join(facts)}."))
    for note in results.notes[:ROWS]:
        st.caption(literal(note))
    dataframe(
        pd.DataFrame(
            {
                "Method": [row.method for row in rows[:ROWS]],
                "Rank": [count_text(row.rank) if row.rank else NOTHING for row in rows[:ROWS]],
                "Learning rate": [f"{row.learning_rate:g}" if row.learning_rate else NOTHING for row in rows[:ROWS]],
                "Seed": [str(row.seed) for row in rows[:ROWS]],
                "Validation": [measure.text(row.validation) for row in rows[:ROWS]],
                measure.title: [measure.text(row.value) for row in rows[:ROWS]],
                "State": [row.state for row in rows[:ROWS]],
            },
            dtype=object,
        ),
        hide_index=True,
        alt="The first runs as they were read",
    )


def _decide(lab: Lab, found: Gathered, file_name: str, prefix: str, before: Judged | None) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = before.name if before is not None else ""
        if before is None:
            name = st.text_input("Name", file_name, max_chars=120, key=f"{prefix}:name", width=320)
        label = "Judge" if before is None else "Add, and look again"
        pressed = st.button(on_primary(label), type="primary", icon=":material/gavel:", key=f"{prefix}:judge")
    if pressed:
        try:
            judged = keep_results(lab, found, name, before)
        except LabError as error:
            problem(error)
            return
        st.session_state[f"{prefix}:turn"] += 1
        remember(judged.id)
        st.rerun()
