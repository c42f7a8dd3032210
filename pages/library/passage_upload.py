"""Choice of the columns of uploaded texts that a language model continues, and a preview of what is learned of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import streamlit as st

from core.data.dataset import LANGUAGE, LanguageDataset
from core.data.passage import Passage
from core.data.task_spec import TaskSpec
from core.data.uploads import (
    Draft,
    PassageColumns,
    PassageForm,
    TextTable,
    columns_for,
    draft_passages,
    forms_for,
    guess_passages,
    likely_topic,
    samples_of,
    topic_columns,
)
from core.errors import LabError
from core.lab import Lab, current
from core.networks.network import NetworkSpec
from core.networks.registry import families_for
from pages.library.review import as_tokens, choose_column, is_reviewed
from pages.shared.forms import widgets
from pages.shared.forms.task_preview import BATCH, SCORED
from pages.shared.forms.task_preview import draw_passages as draw_as_tokens
from pages.shared.forms.view import length
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import distinct, imported_bases

SAMPLES = 5
"""Passages that are shown."""

REPEATED_PASSAGES = "Leave out repeated passages"
"""Title of the switch."""

CHARACTERS = 600
"""Characters of a passage that are shown."""

Read = Callable[[], TextTable | str]
"""Reads the file as plain text: a table, or the error message."""


@st.cache_resource(max_entries=2, ttl="30m", show_spinner="Counting the passages")
def _draft(
    file_id: str, columns: PassageColumns, all_scored: bool, drop_duplicates: bool, _table: TextTable
) -> Draft[LanguageDataset] | str:
    try:
        return draft_passages(_table, columns, all_scored, drop_duplicates, leave_out=True)
    except LabError as error:
        return str(error)


def read_as_plain(file_id: str, read: Read) -> LanguageDataset | None:
    """Offer to read a file that is no table as plain text, where it is one; return the dataset to save, or None."""
    table = read()
    if isinstance(table, str) or not _is_plain(file_id):
        return None
    return _review(f"{file_id} plain", table)


def draw_passages_upload(file_id: str, table: TextTable, read: Read) -> LanguageDataset | None:
    """Draw what a language model would learn of a file, and how that is chosen; return the dataset to save, or None.

    Args:
        file_id: of the file.
        table: what was read.
        read: reads it as plain text.
    """
    guessed = guess_passages(table)
    is_clear = table.is_plain or (guessed and guessed.form != "texts")
    if is_clear or isinstance(plain := read(), str) or not _is_plain(file_id):
        return _review(file_id, table)
    return _review(f"{file_id} plain", plain)


def _is_plain(file_id: str) -> bool:
    return st.toggle(
        "Read as plain text",
        key=f"upload-plain-{file_id}",
        help="Without columns: passages that blank lines separate, or lines where there are no blank ones.",
        persist_state="session",
    )


def _review(file_id: str, table: TextTable) -> LanguageDataset | None:
    """Draw the choice of the columns, and what becomes of them."""
    form = _form(file_id, table)
    columns = _columns(file_id, table, form)
    all_scored = _all_scored(file_id, form)
    drop = st.toggle(
        REPEATED_PASSAGES,
        key=f"upload-drop-passages-{file_id}",
        help="Passages that are the same from the first to the last character. Of one in both parts, that in the test "
        "part stays.",
        persist_state="session",
    )
    if columns is None:
        st.caption("Choose the columns of which passages are made.")
        return None
    draft = _draft(file_id, columns, all_scored, drop, table)
    left = f"upload-left-{file_id}-{columns}"
    if not is_reviewed(draft, "rows", left, REPEATED_PASSAGES):
        return None
    draw_passages(draft.dataset.train_texts)
    _tokens(draft.dataset, file_id)
    return draft.dataset


def _tokens(dataset: LanguageDataset, file_id: str) -> None:
    """Draw the first passages token by token, as one of the networks that continue texts reads them."""
    lab = current()
    networks = _networks(lab)

    def draw(id: str) -> None:
        longest = length(LANGUAGE, f"tokens-length-{file_id}-{id}", networks[id])
        task = TaskSpec.of(dataset=dataset.name, length=longest)
        seen = lab.passage_preview(task, networks[id], BATCH, dataset)
        draw_as_tokens(seen, networks[id], f"tokens-{file_id}")

    as_tokens(file_id, distinct({id: lab.networks.title_of(network) for id, network in networks.items()}), draw)


def _networks(lab: Lab) -> dict[str, NetworkSpec]:
    """The networks that continue texts: imported ones, and those that are made here in the default size."""
    found = {id: network for id, network in imported_bases(lab).items() if network.learns == LANGUAGE}
    return found | {family.name(): family.of() for family in families_for(LANGUAGE) if not family.is_imported}


def _form(file_id: str, table: TextTable) -> PassageForm:
    """What the rows are; where there is more than one way to read them, draw the choice."""
    offered = {form.kind: form for form in forms_for(table)}
    guessed = guess_passages(table)
    kind = guessed.form if guessed else next(iter(offered))
    if len(offered) > 1:
        titles = {kind: each.title for kind, each in offered.items()}
        about = "What a language model continues: a text, a prompt, an instruction, or a conversation."
        kind = widgets.choice("Rows are", titles, kind, f"upload-form-{file_id}", about)
    return offered[kind]


def _columns(file_id: str, table: TextTable, form: PassageForm) -> PassageColumns | None:
    """Draw the choice of columns, at first as they are guessed; None while one that is needed is not chosen.

    A table with a single column has nothing to choose.
    """
    guessed, part = columns_for(form, table), samples_of(table)[0]
    names = list(table.columns)
    if len(names) == 1:
        return PassageColumns(form.kind, ((form.fields[0].key, names[0]),))

    texts = [name for name in names if name not in table.messages]
    boxes = st.columns(len(form.fields) + 2)
    chosen: dict[str, str] = {}
    for field, box in zip(form.fields, boxes, strict=False):
        with box:
            among = list(table.messages) if field.is_conversation else texts
            key = f"upload-{form.kind}-{field.key}-{file_id}"
            name = choose_column(field.title, among, guessed.get(field.key), field.about, key)
        if name is not None:
            chosen[field.key] = name
    with boxes[-2]:
        about = "The column that says train or test; none to draw a test part."
        part = choose_column("Part", [None, *texts], part, about, f"upload-passage-part-{file_id}")
    if any(field.key not in chosen and not field.is_optional for field in form.fields):
        return None
    columns = PassageColumns(form.kind, tuple(chosen.items()), part)
    if not (left := topic_columns(table, columns)):
        return columns
    with boxes[-1]:
        about = "The column that names the topic of each row, so that some topics can be learned before others."
        topic = choose_column(
            "Topic", [None, *left], likely_topic(table, columns), about, f"upload-passage-topic-{file_id}"
        )
    return replace(columns, topic=topic)


def _all_scored(file_id: str, form: PassageForm) -> bool:
    """Draw whether prompts are learned, too, where there are any."""
    if not form.completes:
        return False
    words = {False: f"{form.completes.capitalize()} only", True: "Everything"}
    about = "What is scored, in training and in tests; it is kept with the dataset."
    return widgets.choice("Loss on", words, False, f"upload-loss-{form.kind}-{file_id}", about)


def draw_passages(passages: Sequence[Passage]) -> None:
    """Draw the first passages, with a background behind what is learned. Args: passages: at least one."""
    st.caption(f"The first passages of the training part. What is learned has a :{SCORED}-background[background].")
    for passage in passages[:SAMPLES]:
        with st.container(border=True):
            st.markdown(_shown(passage))


def _shown(passage: Passage) -> str:
    """The beginning of a passage as markdown, with what is learned in color."""
    if not passage.messages:
        return _colored(passage.parts, CHARACTERS)
    left, lines = CHARACTERS, []
    for (role, content), piece in zip(passage.messages, passage.pieces, strict=True):
        if left > 0:
            lines.append(f"**{role}** {_colored((piece,), left)}")
        left -= len(content)
    return "\n\n".join([*lines, *(["…"] if left < -len(passage.messages[-1][1]) else [])])


def _colored(parts: Sequence[tuple[str, bool]], most: int) -> str:
    """At most this many characters of some texts one after the other, line by line, in color where they are learned."""
    found = ""
    for text, scored in parts:
        shown = text if len(text) <= most else f"{text[: max(most, 0)]}…"
        most -= len(text)
        lines = [literal(line) for line in shown.split("\n")]
        # In brackets either way, so that a colon at the end of a prompt is not read with what follows it.
        style = f"{SCORED}-background" if scored else "color"
        colored = [f":{style}[{line}]" if line else "" for line in lines]
        found += " " * shown[:1].isspace() + "\\\n".join(colored) + " " * (shown[-1:] == " ")
        if most <= 0:
            break
    return found
