"""Upload of files with results: they are read, what does not fit is asked, and a press judges them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import pandas as pd
import streamlit as st

from core.judge.reading import COLUMNS, MAX_OFFERED, Question, Reading
from core.judge.results import Gathered, KeptResults, gather
from core.judge.sources import SOURCES, Given
from core.judge.table import MAX_BYTES
from core.lab import Lab
from core.numbers import NOTHING, count_text, counted, seeds_text
from core.spec import bounds
from core.store.judged import Judged
from core.study.report.judged import keep_results
from pages.shared.experiment.current import remember
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.links import go
from pages.shared.ui.literal import errors_shown, literal
from pages.shared.ui.primary import on_primary

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


def _fields(key: str, columns: Sequence[str], questions: Sequence[Question]) -> None:
    """Draw every field of a reading once: above those that were asked for, which stay there.

    Args:
        key: prefix of the widget keys.
        columns: names of all columns of the files.
        questions: that are open.
    """
    asked: dict[str, Question] = st.session_state.setdefault(f"{key}:asked", {})
    asked.update({question.field: question for question in questions})
    for name, question in asked.items():
        with st.container(border=True):
            if question in questions:
                st.markdown(f":material/help: {literal(question.text)}")
            _field(key, name, columns, question.options)
    with st.expander("How the files are read", icon=":material/table_chart:", key=f"{key}:fold"):
        st.caption("Columns with known names are found. A field is needed where a name differs or something is open.")
        places = st.columns(2, gap="large")
        rest = [name for name in Reading.model_fields if name not in asked]
        for place, name in enumerate(rest):
            with places[2 * place // len(rest)]:
                _field(key, name, columns, ())


def _field(key: str, name: str, columns: Sequence[str], options: Sequence[str]) -> None:
    about, kind = bounds(Reading, name), Reading.model_fields[name].annotation
    place: Mapping[str, Any] = {"label": about.title, "help": about.description, "key": f"{key}-{name}"}
    if name == "settings":
        st.multiselect(options=list(columns), **place)
    elif name in ("within", "examples"):
        st.number_input(min_value=0.0 if name == "within" else 2, value=None, placeholder="not said", **place)
    elif get_origin(kind) is Literal:
        st.selectbox(options=[NOTHING, *(choice for choice in get_args(kind) if choice)], **place)
    elif options or name in COLUMNS:
        choices = list(dict.fromkeys([NOTHING, *(options or columns)]))
        st.selectbox(options=choices, accept_new_options=len(options) == MAX_OFFERED, **place)
    else:
        st.text_input(max_chars=400, **place)


def _reading(key: str) -> Reading:
    """What the fields say. Raises: SpecError: something is out of bounds."""
    values = {name: st.session_state.get(f"{key}-{name}") for name in Reading.model_fields}
    return Reading.of(**{name: value for name, value in values.items() if value not in (None, "", NOTHING, [])})


@st.cache_resource(max_entries=4, ttl="30m", show_spinner="Reading the files")
def _given(file_ids: tuple[str, ...], _files: list[Given]) -> list[Given]:
    """Files with their tables, which every click that redraws the page would read again."""
    return _files


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
        st.markdown("\n".join(f"- **{title}:** {literal(line)}" for title, line in SOURCES.items()))
        st.markdown(BESIDE)
    if not uploaded:
        return
    if len(uploaded) > MAX_FILES:
        st.error(f"At most {MAX_FILES} files are read at once: put runs into one table.")
        return
    key = f"{prefix}-{turn}"
    files = _given(tuple(file.file_id for file in uploaded), [Given(file.name, file.getvalue()) for file in uploaded])
    found, columns = None, list[str]()
    with errors_shown():
        columns = list(dict.fromkeys(name for file in files for name in file.table.columns))
        measures = lab.judged.measures(before.id) if before is not None else None
        found = gather(files, _reading(key), before, measures)
    if columns:  # an answer may be what is wrong
        _fields(key, columns, found.questions if found is not None else ())
    if found is not None and found.results is not None:
        _preview(found.results, found)
        _decide(lab, found, uploaded[0].name, prefix, before)


def _preview(results: KeptResults, found: Gathered) -> None:
    """Draw what was understood: how many runs of which settings, by which measure, and the first rows."""
    rows, measure = results.rows, results.scale.primary
    part = "without a test part"
    if results.scale.has_test_part:
        chosen = any(row.validation is not None for row in rows)
        part = "chosen on the validation part" if chosen else "without a validation part"
    facts = [
        f"{counted(len(rows), 'run')} of {counted(len({row.key for row in rows}), 'setting')}, "
        f"{seeds_text(sorted({row.seed for row in rows}))}",
        f"compared with {results.reference}",
        f"by {measure.noun}, {'higher' if measure.higher_is_better else 'lower'} is better, margin "
        f"{measure.margin_text(results.scale.within)}",
        part,
        *([f"test examples of {counted(len(found.measures), 'run')}"] if found.measures else []),
    ]
    st.markdown(literal(f"{'; '.join(facts)}."))
    for note in results.notes[:ROWS]:
        st.caption(literal(note))
    lines = [
        {
            "Method": row.method,
            "Rank": count_text(row.rank) if row.rank else NOTHING,
            "Learning rate": f"{row.learning_rate:g}" if row.learning_rate else NOTHING,
            "Seed": str(row.seed),
            "Validation": measure.text(row.validation),
            measure.title: measure.text(row.value),
            "State": row.state,
        }
        for row in rows[:ROWS]
    ]
    dataframe(pd.DataFrame(lines, dtype=object), hide_index=True, alt="The first runs as they were read")


def _decide(lab: Lab, found: Gathered, file_name: str, prefix: str, before: Judged | None) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = before.name if before is not None else ""
        if before is None:
            name = st.text_input("Name", file_name, max_chars=120, key=f"{prefix}:name", width=320)
        label = "Judge" if before is None else "Add, and look again"
        pressed = st.button(on_primary(label), type="primary", icon=":material/gavel:", key=f"{prefix}:judge")
    if pressed:
        with errors_shown():
            judged = keep_results(lab, found, name, before)
            st.session_state[f"{prefix}:turn"] += 1
            remember(judged.id)
            go("experiment", {"experiment": judged.id})
