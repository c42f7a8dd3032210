"""Choice of the columns of uploaded texts, and a preview of them."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.data.dataset import Dataset, TextDataset
from core.data.task_spec import TaskSpec
from core.data.uploads import (
    Draft,
    Guess,
    TextColumns,
    TextTable,
    draft_texts,
    first_texts,
    guess,
    is_for_language,
    read_text_table,
    short_name,
)
from core.errors import LabError
from core.lab import current
from core.numbers import count_text
from core.objectives.objective import ObjectiveSpec, Targets
from core.objectives.registry import objective_of, objectives_for
from core.study.figures.examples import class_counts
from core.wording.tasks import target_text
from pages.library.passage_upload import draw_passages_upload, read_as_plain
from pages.library.review import as_tokens, choose_column, is_reviewed
from pages.library.upload_kind import UploadKind
from pages.shared.forms import widgets
from pages.shared.forms.task_preview import BATCH, draw_tokens
from pages.shared.forms.view import length
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.figure_panel import chart
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import distinct

ROWS = 5
"""Rows of the file that are shown."""
CELL = 200
"""Characters of a cell that are shown."""
SAMPLES = 5
"""Texts shown of a class."""
REPEATED_ROWS = "Leave out repeated rows"
"""Title of the switch."""
CHARACTERS = 400
"""Characters of a text that are shown."""

FORMATS = """\
- A **CSV**, or a table with semicolons, tabs or bars, with the names of its columns in the first line.
- **JSON lines**: one object per line.
- **JSON**: one list of objects.
- **Parquet**.
- **Plain text**, to be continued: passages that blank lines separate, or lines where there are no blank ones.

Each can be gzipped, or alone in a zip. Columns can have any names, and one may say `train`, `test` or `validation`;
without it, a fifth is held out for testing. A text can have 100,000 characters.

**To classify**, one column holds the texts and one the labels, as words or numbers. A text has one class, and there can
be 1,000 classes.

**To continue**, as a language model does, rows have a text; a `prompt` and a `completion`; an `instruction`, an `input`
and an `output`, which become the prompt of Alpaca; or `messages`, each with `role` and `content`, or with `from` and
`value`. A network writes messages in its own chat template.
"""


@st.cache_resource(max_entries=2, ttl="30m", show_spinner="Reading the file")
def _table(file_id: str, _content: bytes, is_plain: bool = False) -> TextTable | str:
    """Parse an uploaded file; return the table, or the error message. Cached because every click redraws the page."""
    try:
        return read_text_table(_content, is_plain)
    except LabError as error:
        return str(error)


@st.cache_resource(max_entries=2, ttl="30m", show_spinner="Counting the texts")
def _draft(
    file_id: str, columns: TextColumns, drop_duplicates: bool, objective: str, _table: TextTable
) -> Draft[TextDataset] | str:
    try:
        numbers = not objective_of(objective).has_classes
        return draft_texts(_table, columns, drop_duplicates, objective, leave_out=True, numbers=numbers)
    except LabError as error:
        return str(error)


def _plain(file_id: str, content: bytes) -> TextTable | str:
    return _table(f"{file_id} plain", content, is_plain=True)


def _fault(file_id: str, content: bytes) -> str:
    table = _table(file_id, content)
    return table if isinstance(table, str) and isinstance(_plain(file_id, content), str) else ""


def _preview(file_id: str, content: bytes) -> Dataset | None:
    table = _table(file_id, content)
    if isinstance(table, str):
        st.error(literal(table))
        return read_as_plain(file_id, lambda: _plain(file_id, content))
    objective = _objective(file_id, table)
    if objective.targets == "texts":
        return draw_passages_upload(file_id, table, lambda: _plain(file_id, content))
    if table.unlabelled:
        st.error(literal(table.unlabelled))
        return None
    guessed = guess(table, numbers=not objective.has_classes)
    place = st.container()
    _rows(table, guessed)
    columns = _columns(file_id, table, guessed, objective)
    if guessed.obstacle and columns is None:
        place.warning(literal(guessed.obstacle), icon=":material/block:")
    drop = st.toggle(
        REPEATED_ROWS,
        key=f"upload-drop-{file_id}",
        help="Rows with the text and the label of another row. Of a row in both parts, the one in the test part stays.",
        persist_state="session",
    )
    if columns is None:
        st.caption(f"Choose the columns with the texts and with the {_targets(objective)}.")
        return None
    draft = _draft(file_id, columns, drop, objective.kind, table)
    left = f"upload-left-{file_id}-{columns}"
    if not is_reviewed(draft, "rows", left, REPEATED_ROWS):
        return None
    if names := draft.dataset.class_names:
        figure = class_counts(names, draft.train_counts, draft.test_counts, "texts")
        alt = f"Number of training and test texts in each of {len(names)} classes"
        chart(figure, "upload-text-counts", alt, "upload-classes")
    draw_texts(draft.dataset, f"upload-{file_id}")
    _tokens(draft.dataset, file_id)
    return draft.dataset


def _objective(file_id: str, table: TextTable) -> ObjectiveSpec:
    """What the texts are to be learned for; where there is more than one objective for them, draw the choice."""
    every: tuple[Targets, ...] = ("classes", "numbers", "texts")
    offered = {objective.kind: objective for targets in every for objective in objectives_for(targets)}
    continued = [kind for kind, objective in offered.items() if objective.targets == "texts"]
    kind = continued[0] if continued and is_for_language(table) else next(iter(offered))
    if len(offered) > 1:
        titles = {kind: each.title for kind, each in offered.items()}
        about = "What is learned of each text: one of several classes, a number, or to continue it."
        kind = widgets.choice("Objective", titles, kind, f"upload-objective-{file_id}", about)
    return offered[kind]


def _targets(objective: ObjectiveSpec) -> str:
    """What the column of labels holds."""
    return "labels" if objective.has_classes else "numbers"


def _rows(table: TextTable, guessed: Guess) -> None:
    """Draw the first rows of the file; only the column with the texts is wide, so that the others can be seen too."""
    shown = {name: [_cell(cell) for cell in cells[:ROWS]] for name, cells in table.columns.items()}
    widths = {
        name: st.column_config.TextColumn(short_name(name), width="medium" if name == guessed.text else "small")
        for name in shown
    }
    dataframe(pd.DataFrame(shown), hide_index=True, column_config=widths, alt="The first rows of the file")
    st.caption(f"The first rows of {count_text(len(table))} in the file.")


def _cell(cell: str | None) -> str:
    text = "a list or an object" if cell is None else cell
    return text if len(text) <= CELL else f"{text[:CELL]}…"


def _columns(file_id: str, table: TextTable, guessed: Guess, objective: ObjectiveSpec) -> TextColumns | None:
    """Draw the choice of columns, at first as they are guessed; None while text or label is not chosen."""
    names = list(table.columns)

    def choice(title: str, name: str | None, about: str) -> str | None:
        return choose_column(title, names, name, about, f"upload-{title.lower()}-{file_id}")

    left, middle, right = st.columns(3)
    with left:
        text = choice("Text", guessed.text, "The column with the texts.")
    with middle:
        if objective.has_classes:
            label = choice("Label", guessed.label, "The column with the classes, as words or numbers.")
        else:
            label = choice("Number", guessed.label, "The column with the numbers that are to be learned.")
    with right:
        part = choice("Part", guessed.part, "The column that says train or test; none to draw a test part.")
    return None if text is None or label is None else TextColumns(text, label, part)


def _tokens(dataset: TextDataset, file_id: str) -> None:
    """Draw the first batch as one of the networks that were imported will read it, if there is one."""
    lab = current()
    cards = {card.digest: card for card in lab.networks.list()}
    if not cards:
        st.caption("Lengths in tokens are shown once there is a network that reads texts.")
        link("networks", "Networks")
        return

    def draw(digest: str) -> None:
        network = lab.networks.spec(digest)
        task = TaskSpec.of(dataset=dataset.name, length=length("text", f"tokens-length-{file_id}-{digest}", network))
        draw_tokens(lab.text_preview(task, network, BATCH, dataset), dataset.class_names, f"tokens-{file_id}")

    as_tokens(file_id, distinct({digest: card.title for digest, card in cards.items()}), draw)


def draw_texts(dataset: TextDataset, key: str) -> None:
    """Draw a choice of a class, and its first training texts; without classes the first ones, each with its number.

    Args:
        dataset: has the texts.
        key: prefix of the widget keys.
    """
    names = dataset.class_names
    if not names:
        for text, number in zip(dataset.train_texts[:SAMPLES], dataset.train_labels[:SAMPLES].tolist(), strict=True):
            st.markdown(f"**{target_text(number, names)}** {_shortened(text)}")
        return
    label = st.selectbox("Texts of class", range(len(names)), format_func=names.__getitem__, key=f"{key}-class")
    for text in first_texts(dataset.train_texts, dataset.train_labels, label, SAMPLES):
        st.markdown(_shortened(text))


def _shortened(text: str) -> str:
    """The beginning of a text, as markdown that shows it as it is."""
    return literal(text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]}…")


TEXTS = UploadKind(
    "Texts",
    "Texts, as a CSV, TSV, JSON lines, Parquet or text file",
    FORMATS,
    "Texts with labels are learned by an imported encoder, and texts to continue by a language model.",
    _preview,
    _fault,
)
