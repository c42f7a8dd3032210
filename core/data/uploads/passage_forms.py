"""What plain texts and the rows of a table are as passages: texts, prompts with completions, conversations, or
instructions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from core.data.passage import Passage
from core.data.uploads.messages import messages_of
from core.data.uploads.text_columns import TextTable, check_size, guess, likely_text, listed, quoted, samples_of
from core.errors import DatasetError

LONGEST = 1000
"""Characters of a passage: what is longer becomes several. Some 250 tokens of a large vocabulary."""

_SENTENCE_END = re.compile(r"[.!?…。！？]['\"”’)\]]*\s+")
_VISIBLE = re.compile(r"\S")


def read_plain(text: str, notes: tuple[str, ...] = ()) -> TextTable:
    """Read a text as a table with one row per passage, in the only column ``text``.

    Args:
        text: the file, with newlines for line breaks.
        notes: of the decoding.

    Raises:
        DatasetError: it is empty, or has too many passages.
    """
    has_blank_lines = any(not line.strip() for line in text.strip().split("\n"))
    cells: list[str] = []
    places: list[int] = []
    split = 0
    for line, passage in _passages(text, has_blank_lines):
        before = len(cells)
        for piece in pieces_of(passage):
            check_size(len(cells) + 1, 1)
            cells.append(piece)
            places.append(line)
        split += len(cells) > before + 1
    if not cells:
        raise DatasetError("The file is empty: it must hold texts.")
    separated = "blank lines separate" if has_blank_lines else "are lines of the file, as it has no blank lines"
    note = f"The file was read as plain text, in {len(cells):,} passages that {separated}."
    if split:
        note += f" {split:,} longer than {LONGEST:,} characters {'was' if split == 1 else 'were'} split at line or "
        note += "sentence ends."
    return TextTable(
        {"text": [*cells]},
        places,
        0,
        (*notes, note),
        unlabelled="The file is a plain text without labels: LoRA Lab learns to classify from a table with a column of "
        "texts and one of labels, and to continue texts without labels with the objective Language.",
        is_plain=True,
    )


def pieces_of(passage: str) -> Iterator[str]:
    """Pieces of at most :data:`LONGEST` characters: cut at the end of a line, a sentence or a word, if there is one.

    White space at a cut is dropped, and nothing else.
    """
    place = 0
    while len(passage) - place > LONGEST:
        start = passage[place : place + LONGEST + 1]
        sentence = max((found.end() for found in _SENTENCE_END.finditer(start)), default=0)
        cut = max(start.rfind("\n"), 0) or sentence or max(start.rfind(" "), 0) or LONGEST
        if piece := start[:cut].rstrip():
            yield piece
        following = _VISIBLE.search(passage, place + cut)
        place = following.start() if following else len(passage)
    if place < len(passage):
        yield passage[place:]


def _passages(text: str, has_blank_lines: bool) -> Iterator[tuple[int, str]]:
    """The number of the first line and the text of each group of lines between blank ones, or else of each line."""
    for is_text, group in groupby(enumerate(text.split("\n"), 1), key=lambda line: bool(line[1].strip())):
        lines = list(group) if is_text else []
        if has_blank_lines and lines:
            yield lines[0][0], "\n".join(line.rstrip() for _, line in lines)
        else:
            yield from ((number, line.strip()) for number, line in lines)


ALPACA = (
    "Below is an instruction that describes a task{paired}. Write a response that appropriately completes the request."
    "\n\n### Instruction:\n{instruction}{input}\n\n### Response:"
)
PAIRED = ", paired with an input that provides further context"
"""The prompt of Stanford Alpaca (Taori et al. 2023, ``PROMPT_DICT`` in ``train.py``)."""


@dataclass(frozen=True)
class Field:
    """A column that a form needs."""

    key: str
    title: str
    names: tuple[str, ...]
    """Usual names of such columns, in lower case; empty where any may be."""
    about: str
    is_optional: bool = False
    is_conversation: bool = False
    """Whether the column holds lists of messages."""


@dataclass(frozen=True)
class PassageForm:
    """One way in which rows are passages."""

    kind: str
    title: str
    fields: tuple[Field, ...]
    passage: Callable[[Mapping[str, str], bool], Passage | str | None]
    """Given the cell of each field, and whether everything is scored: the passage, what is wrong with the row, which
    goes on after its place, or None for a row that is empty."""
    completes: str = ""
    """What is scored unless everything is, in the plural; empty where everything is."""


@dataclass(frozen=True)
class PassageColumns:
    """What a dataset of passages is made of."""

    form: str
    """Kind of the form."""
    columns: tuple[tuple[str, str], ...]
    """The column of each field, by its key."""
    part: str | None = None
    """Column that says of each row which part it belongs to; None to draw a test part."""
    topic: str | None = None
    """Column that names the topic of each row; None for passages without topics."""


def _text(cells: Mapping[str, str], all_scored: bool) -> Passage | str | None:
    return Passage.whole(cells["text"]) if cells["text"].strip() else None


def _prompted(cells: Mapping[str, str], all_scored: bool) -> Passage | str | None:
    prompt, completion = cells["prompt"], cells["completion"]
    if not completion.strip():
        return "has a prompt but no completion: fill it in, or remove the row" if prompt.strip() else None
    return Passage.prompted(prompt, completion, all_scored)


def _conversation(cells: Mapping[str, str], all_scored: bool) -> Passage | str | None:
    if not cells["messages"]:
        return None
    found = messages_of(cells["messages"])
    return found if isinstance(found, str) else Passage(messages=found, all_scored=all_scored)


def _instruction(cells: Mapping[str, str], all_scored: bool) -> Passage | str | None:
    instruction, given, output = cells["instruction"], cells.get("input", ""), cells["output"]
    if not instruction.strip() or not output.strip():
        if not (instruction + given + output).strip():
            return None
        return f"has no {'output' if instruction.strip() else 'instruction'}: fill it in, or remove the row"
    paired, shown = (PAIRED, f"\n\n### Input:\n{given}") if given.strip() else ("", "")
    return Passage.prompted(ALPACA.format(paired=paired, instruction=instruction, input=shown), output, all_scored)


FORMS: tuple[PassageForm, ...] = (
    PassageForm(
        "messages",
        "Conversations",
        (Field("messages", "Messages", (), "The column with lists of messages, each with a role.", False, True),),
        _conversation,
        "answers of the assistant",
    ),
    PassageForm(
        "instructions",
        "Instructions",
        (
            Field("instruction", "Instruction", ("instruction",), "The column that says what is to be done."),
            Field("input", "Input", ("input", "context"), "What the instruction is about; a row may have none.", True),
            Field("output", "Output", ("output", "response"), "The column with the answers."),
        ),
        _instruction,
        "outputs",
    ),
    PassageForm(
        "prompts",
        "Prompts and completions",
        (
            Field("prompt", "Prompt", ("prompt", "question", "problem", "query"), "The column with what is given."),
            Field(
                "completion",
                "Completion",
                ("completion", "response", "answer", "solution", "output"),
                "The column with what is to be learned.",
            ),
        ),
        _prompted,
        "completions",
    ),
    PassageForm("texts", "Texts", (Field("text", "Text", (), "The column with the texts."),), _text),
)
"""All forms, in the order in which a table is tried; a new one is an entry here."""


def form_of(kind: str) -> PassageForm:
    """The form of a kind. Raises: DatasetError: there is none."""
    for form in FORMS:
        if form.kind == kind:
            return form
    raise DatasetError(f"There is no form {kind[:40]!r}; choose one of: {', '.join(form.kind for form in FORMS)}.")


def forms_for(table: TextTable) -> tuple[PassageForm, ...]:
    """The forms for which a table has enough columns."""
    there = [form for form in FORMS if not any(field.is_conversation for field in form.fields) or table.messages]
    texts = len(table.columns) - len(table.messages)
    return tuple(
        form
        for form in there
        if sum(not field.is_conversation and not field.is_optional for field in form.fields) <= texts
    )


def columns_for(form: PassageForm, table: TextTable) -> dict[str, str]:
    """The likely column of each field, by the field's key; a field without a likely one is left out."""
    _, samples = samples_of(table)
    lower = {name.strip().lower(): name for name in reversed(list(samples))}
    found: dict[str, str] = {}
    for field in form.fields:
        if field.is_conversation:
            name = next(iter(table.messages), None)
        elif field.names:
            name = next((lower[word] for word in field.names if word in lower), None)
        else:
            name = likely_text({name: cells for name, cells in samples.items() if name not in table.messages})
        if name is not None and name not in found.values():
            found[field.key] = name
    return found


def guess_passages(table: TextTable) -> PassageColumns | None:
    """The first form for which all columns are likely; None if there is none."""
    part, _ = samples_of(table)
    for form in forms_for(table):
        found = columns_for(form, table)
        if all(field.key in found or field.is_optional for field in form.fields):
            return PassageColumns(form.kind, tuple(found.items()), part)
    return None


def columns_of(table: TextTable, chosen: Mapping[str, str]) -> PassageColumns:
    """The columns that somebody has named, in the form that has such fields; the likely ones where none are named.

    Args:
        table: the rows.
        chosen: columns by the keys of fields.

    Raises:
        DatasetError: no form has these fields, or it is not clear which columns to use.
    """
    guessed = guess_passages(table)
    if not chosen:
        if guessed is None:
            raise DatasetError(f"Which column has the texts is not clear: choose one of {listed(table.columns)}.")
        return guessed
    for form in FORMS:
        keys = {field.key for field in form.fields}
        if chosen.keys() <= keys:
            return PassageColumns(
                form.kind, tuple({**columns_for(form, table), **chosen}.items()), samples_of(table)[0]
            )
    every = ", ".join(dict.fromkeys(field.key for form in FORMS for field in form.fields))
    raise DatasetError(f"No passages are made of {', '.join(chosen)}: name columns for {every}.")


def is_for_language(table: TextTable) -> bool:
    """Whether a table is rather to be continued than to be classified: it has prompts or messages, or no labels."""
    if table.unlabelled:
        return True
    found = guess_passages(table)
    if found is None:
        return False
    if found.form != "texts":
        return True
    text = dict(found.columns)["text"]
    cells = [cell for cell in table.column(text)[:100] if cell]
    labelled = guess(table)
    has_words = sum(len(cell.split()) for cell in cells) >= 3 * len(cells)
    return labelled.label is None and not labelled.obstacle and has_words


def cells_of(table: TextTable, columns: PassageColumns) -> dict[str, list[str | None]]:
    """The cells of each field.

    Raises:
        DatasetError: a column is missing, not chosen, or used twice, or holds no conversations where they are needed.
    """
    form, chosen = form_of(columns.form), dict(columns.columns)
    if missing := [field for field in form.fields if field.key not in chosen and not field.is_optional]:
        raise DatasetError(f"Which column has the {missing[0].title.lower()} is not clear: choose one.")
    names = [*chosen.values(), *filter(None, (columns.part, columns.topic))]
    if twice := [name for name in names if names.count(name) > 1]:
        raise DatasetError(f"The column {quoted(twice[0])} is chosen twice: choose different columns.")
    found: dict[str, list[str | None]] = {}
    for field in form.fields:
        if field.key not in chosen:
            continue
        name = chosen[field.key]
        plain = table.column(name)
        if field.is_conversation and name not in table.messages:
            raise DatasetError(f"The column {quoted(name)} has no conversations: choose another one, or another form.")
        found[field.key] = [*table.messages[name]] if field.is_conversation else plain
    return found
