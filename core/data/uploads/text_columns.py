"""Which columns of a table hold the texts, their labels and the parts: guessed, to be confirmed by a person."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from core.data.dataset import TextColumns
from core.data.uploads.limits import MAX_CLASSES, MIN_TEST, MIN_TRAIN
from core.data.uploads.not_classes import SCALE, flags_in, pair_in
from core.data.uploads.parts import part_of
from core.data.uploads.text_table import Cells, TextTable, listed, quoted

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

NEARLY_ALL = 0.9
"""Share of the cells of a column that must be what the column is taken for, such as labels, or parts where it is named
like one of parts; the others are then told to a person."""

NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
"""Pattern of a number."""

PAIR = (
    "and LoRA Lab learns to classify single texts: choose one of them as the text, or the objective Language to "
    "continue both."
)
FLAGGED = "and LoRA Lab learns one: choose one of them as the label, to learn that alone."

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
    """Guess the columns from their names and from what is in them.

    Args:
        table: the rows.
        numbers: whether the labels are numbers, not classes.
    """
    part, left = samples_of(table)
    text = likely_text(left)
    others = {name: cells for name, cells in left.items() if name != text}
    labels = _numbers(others) if numbers else _labels(others)
    label = next(iter(labels), None)
    if pair := pair_in(left):
        names = " and ".join(map(quoted, pair))
        return Guess(None, label, part, f"{names} are a pair of texts in each row, {PAIR}")
    if not numbers and {*labels} & {*(flags := flags_in(others))}:
        return Guess(text, None, part, f"The columns {listed(flags)} are several labels per text, {FLAGGED}")
    if len(labels) > 1:
        return Guess(text, None, part, f"Each of the columns {listed(labels)} could be the label: choose one of them.")
    return Guess(text, label, part)


def unused_labels(table: TextTable, columns: TextColumns) -> str:
    """A sentence on further columns that could be the label as well: each gives all texts one of a few classes, and not
    only the chosen label in other words; empty where there are none, and where a person had to choose among several.
    """
    if guess(table).label is None:
        return ""
    _, samples = samples_of(table)
    label = samples.get(columns.label, [])
    found = []
    for name in samples.keys() - {columns.text, columns.label, columns.part}:
        values = Counter(filter(None, samples[name]))
        if 2 <= len(values) <= SCALE and _is_full(samples[name]) and min(values.values()) >= MIN_TRAIN + MIN_TEST:
            pairs = {pair for pair in zip(samples[name], label, strict=False) if all(pair)}
            if not len(pairs) == len(values) == len({*label} - {""}):
                found.append(name)
    if not found:
        return ""
    named = listed([name for name in table.columns if name in found])
    which = (
        f"The column {named} could be the label, too, and is"
        if len(found) == 1
        else (f"The columns {named} could be the label, too, and are")
    )
    return f"{which} not used: each text has one label."


def samples_of(table: TextTable) -> tuple[str | None, dict[str, list[str]]]:
    """The column that says the part of each row, if there is one, and the first cells of every other one."""
    samples = {name: _sample(cells) for name, cells in table.columns.items()}
    part = next((name for name in _named(samples, PART_NAMES) if _is_part(table.column(name), NEARLY_ALL)), None)
    if part is None:
        part = next((name for name in samples if _is_part(table.column(name))), None)
    return part, {name: cells for name, cells in samples.items() if name != part}


def _sample(cells: Cells) -> list[str]:
    """The first cells; lists and other things that are no texts are left out."""
    return [text.strip() for text in cells.first(SAMPLE) if text is not None]


def _named(columns: dict[str, list[str]], words: tuple[str, ...]) -> list[str]:
    """Columns whose names have one of these words in them, in the order of the words."""
    rank = {word: place for place, word in enumerate(words)}

    def place(name: str) -> int:
        lower = name.lower().strip()
        return min((rank.get(word, len(words)) for word in (lower, *re.split(r"[^a-z]+", lower))), default=len(words))

    return sorted((name for name in columns if place(name) < len(words)), key=place)


def _is_part(cells: Cells, share: float = 1.0) -> bool:
    """Whether this share of the cells names parts, and both training and test rows are among them."""
    counts = np.bincount(cells.numbers[cells.numbers >= 0], minlength=len(cells.ends)).tolist()
    found = {text: count for text, count in zip(cells.different(), counts, strict=True) if part_of(text)}
    known = {part_of(text) for text in found}
    return "train" in known and len(known) > 1 and sum(found.values()) >= share * len(cells.numbers)


def likely_text(columns: dict[str, list[str]]) -> str | None:
    """The column with the longest texts, among those with a name for texts if there are any."""
    longest = {name: sum(map(len, cells)) for name, cells in columns.items()}
    several = [name for name, cells in columns.items() if len(set(cells)) > 1]
    return max(_named(columns, TEXT_NAMES) or several, key=longest.__getitem__, default=None)


def _numbers(columns: dict[str, list[str]]) -> list[str]:
    """A column of numbers, if any: the first with a name for labels, else the one with the most different values."""
    likely = {name: len(set(cells)) for name, cells in columns.items() if any(cells) and all(map(_is_number, cells))}
    named = [name for name in _named(columns, LABEL_NAMES) if name in likely]
    return (named or sorted(likely, key=lambda name: -likely[name]))[:1]


def _is_number(cell: str) -> bool:
    """Whether a cell is a number, or empty."""
    return not cell or NUMBER.fullmatch(cell) is not None


def _is_full(cells: list[str]) -> bool:
    """Whether nearly all cells hold something."""
    return len(cells) - cells.count("") >= NEARLY_ALL * len(cells)


def _labels(columns: dict[str, list[str]]) -> list[str]:
    """Columns whose values recur: the first with a name for labels; else all of few values, or of more, that are
    nearly full.
    """
    values = {name: len(set(cells) - {""}) for name, cells in columns.items()}
    likely = [name for name, count in values.items() if 2 <= count <= min(MAX_CLASSES, max(2, len(columns[name]) // 2))]
    # What is called a label but cannot be one is chosen too, so that a person learns what is wrong with it.
    if named := _named({name: columns[name] for name in likely}, LABEL_NAMES) or _named(columns, LABEL_NAMES):
        return named[:1]
    full = [name for name in likely if _is_full(columns[name])] or likely
    return [name for name in full if values[name] <= SCALE] or full
