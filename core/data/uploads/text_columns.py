"""A table of texts, and which columns hold them, their labels and the parts: guessed, for a person to confirm."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.data.uploads.classes import Faults, number_of, part_of
from core.data.uploads.limits import MAX_CELLS, MAX_COLUMNS, MAX_TEXTS
from core.errors import DatasetError

Cell = str | None
"""A cell as text: empty for what is missing, None for what is no single value, such as a list."""


@dataclass(frozen=True, eq=False)
class TextTable:
    """Columns by their names, all of the same length."""

    columns: Mapping[str, list[Cell]]
    places: list[int]
    """Number of the row of the file that each row is from: the first is 1, and of plain texts and JSON each line is a
    row."""
    empty_rows: int
    """Number of rows without content, which are left out."""
    notes: tuple[str, ...] = ()
    """What the reader had to assume, one sentence each."""
    faults: Faults = field(default_factory=Faults)
    """Rows that are none, and are not in the columns."""
    messages: Mapping[str, list[str]] = field(default_factory=dict)
    """Columns that hold conversations, as :mod:`core.data.uploads.messages` writes them; empty where a cell is."""
    unlabelled: str = ""
    """Why there are no labels in it, a sentence; empty where there may be."""
    is_plain: bool = False
    """Whether the file is no table but a plain text, of which each row is a passage."""

    def __len__(self) -> int:
        return len(self.places)

    def column(self, name: str) -> list[Cell]:
        """The cells of a column. Raises: DatasetError: there is none of that name."""
        if name not in self.columns:
            raise DatasetError(f"The file has no column {name[:80]!r}; its columns are {listed(self.columns)}.")
        return self.columns[name]


def listed(names: Mapping[str, object] | Sequence[str]) -> str:
    """Names of columns for a sentence, the first ones if there are many."""
    shown = [repr(name if len(name) <= 40 else f"{name[:39]}…") for name in list(names)[:8]]
    return ", ".join(shown) + (", …" if len(names) > 8 else "")


def short_name(name: str) -> str:
    """A column's name in one line, with its middle left out if it is long: its end may tell it from others."""
    line = " ".join(name.split())
    return line if len(line) <= 60 else f"{line[:40]}…{line[-19:]}"


def quoted(name: str) -> str:
    """A column's name for a sentence."""
    return repr(short_name(name))


def check_size(rows: int, columns: int) -> None:
    """Check the size of a table, which may still be growing. Raises: DatasetError: it is too large."""
    if columns > MAX_COLUMNS:
        raise DatasetError(f"The file has {columns:,} columns: the limit is {MAX_COLUMNS}; leave some out.")
    if rows > MAX_TEXTS:
        raise DatasetError(f"The file has more than {MAX_TEXTS:,} rows: leave some out.")
    if rows * columns > MAX_CELLS:
        raise DatasetError(f"The file has more than {MAX_CELLS:,} cells: leave out columns or rows.")


TEXT_NAMES = (
    *("text", "sentence", "content", "body", "review", "comment", "message", "tweet", "document", "description"),
    *("utterance", "question", "query", "headline", "title", "abstract", "summary", "definition", "post", "input"),
)
LABEL_NAMES = (
    *("label_text", "label_name", "label", "labels", "class", "category", "target", "sentiment", "topic", "intent"),
    *("emotion", "rating", "stars", "score", "tag", "type", "language", "output", "y"),
)
PART_NAMES = ("part", "split", "set", "subset", "partition", "fold", "usage")
CONTINUED_NAMES = (
    *("prompt", "completion", "response", "answer", "instruction", "problem", "solution", "context", "messages"),
    "conversations",
)
"""Names of columns that language models are trained on, beside those of texts."""
HEADINGS = frozenset((*TEXT_NAMES, *LABEL_NAMES, *PART_NAMES, *CONTINUED_NAMES))
"""Names that are those of columns, in lower case."""

PAIRS = (
    *(("premise", "hypothesis"), ("query", "passage"), ("query", "document"), ("question", "passage")),
    *(("question", "context"), ("question", "answer"), ("context", "response"), ("anchor", "positive")),
    *(("sentence1", "sentence2"), ("question1", "question2"), ("text1", "text2"), ("text_a", "text_b")),
)
"""Names of columns that hold two texts of one example, in lower case."""

NEARLY_ALL = 0.9
"""Share of the cells of a column that must be parts, or labels; a person is told of the others."""

SCALE = 20
"""Different values up to which those of a column are few, as classes and stars are."""

SAMPLE = 2000
"""Rows that the guess looks at."""


@dataclass(frozen=True)
class Guess:
    """What is probably in which column; None where nothing is likely."""

    text: str | None
    label: str | None
    part: str | None
    obstacle: str = ""
    """Why it is not clear, where the table holds what is not learned: a sentence; else empty."""


def guess(table: TextTable, numbers: bool = False) -> Guess:
    """Guess the columns from their names; without a usual one, the longest texts, and the only column with few values.

    Args:
        table: the rows.
        numbers: whether the labels are numbers, not classes.
    """
    part, left = samples_of(table)
    text = likely_text(left)
    labels = _labels({name: cells for name, cells in left.items() if name != text}, numbers)
    lower = {name.strip().lower(): name for name in left}
    if pair := next((pair for pair in PAIRS if all(name in lower for name in pair)), None):
        names = " and ".join(quoted(lower[name]) for name in pair)
        return Guess(
            None,
            next(iter(labels), None),
            part,
            f"{names} are a pair of texts in each row, and LoRA Lab learns to classify single texts: choose one of "
            "them as the text, or the objective Language to continue both.",
        )
    if len(labels) > 1:
        return Guess(text, None, part, f"Each of the columns {listed(labels)} could be the label: choose one of them.")
    return Guess(text, next(iter(labels), None), part)


def samples_of(table: TextTable) -> tuple[str | None, dict[str, list[str]]]:
    """The column that says the part of each row, if there is one, and the first cells of every other one.

    Lists and other things that are no texts are left out.
    """
    samples = {
        name: [text.strip() for text in cells[:SAMPLE] if text is not None] for name, cells in table.columns.items()
    }
    named = _named(samples, PART_NAMES)
    part = next((name for name in [*named, *samples] if _are_parts(table.column(name), name in named)), None)
    return part, {name: cells for name, cells in samples.items() if name != part}


def _named(columns: Mapping[str, object], words: Sequence[str]) -> list[str]:
    """Columns whose names have one of these words in them, in the order of the words."""
    rank = {word: place for place, word in enumerate(words)}

    def place(name: str) -> int:
        lower = name.lower().strip()
        return min((rank.get(word, len(words)) for word in (lower, *re.split(r"[^a-z]+", lower))), default=len(words))

    return sorted((name for name in columns if place(name) < len(words)), key=place)


def _are_parts(cells: Sequence[Cell], is_named: bool) -> bool:
    """Whether all cells name parts, or nearly all of a column with such a name; training and others among them."""
    found = [part for cell in cells if (part := part_of(cell or ""))]
    share = NEARLY_ALL if is_named else 1.0
    return "train" in found and len({*found}) > 1 and len(found) >= share * len(cells)


def likely_text(columns: Mapping[str, Sequence[str]]) -> str | None:
    """The column with the longest texts, among those with a name for texts if there are any."""
    several = [name for name, cells in columns.items() if len(set(cells)) > 1]
    longest = {name: sum(map(len, cells)) for name, cells in columns.items()}
    return max(_named(columns, TEXT_NAMES) or several, key=longest.__getitem__, default=None)


def _labels(columns: Mapping[str, Sequence[str]], numbers: bool) -> list[str]:
    """The column with a name for labels, of numbers if they are to be; else those of few values, or of numbers,
    that are nearly full, if any are.
    """
    if numbers:
        columns = {name: cells for name, cells in columns.items() if _are_numbers(cells)}
    values = {name: len({*cells} - {""}) for name, cells in columns.items()}
    recur = [name for name, cells in columns.items() if 2 <= values[name] <= max(2, len(cells) // 2)]
    # What is called a label but cannot be one is chosen too, so that a person learns what is wrong with it.
    if named := _named({name: columns[name] for name in recur}, LABEL_NAMES) or _named(columns, LABEL_NAMES):
        return named[:1]
    few = [name for name in columns if numbers] or [name for name in recur if values[name] <= SCALE]
    return [name for name in few if columns[name].count("") <= (1 - NEARLY_ALL) * len(columns[name])] or few


def _are_numbers(cells: Sequence[str]) -> bool:
    """Whether all cells that are not empty are numbers, and one is."""
    return any(cells) and all(number_of(cell) is not None for cell in cells if cell)
