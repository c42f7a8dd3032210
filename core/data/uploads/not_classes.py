"""What tables of texts hold that no classifier of single texts learns: pairs, several labels per text, quantities."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from core.data.uploads.limits import MAX_CLASSES, MIN_TEST, MIN_TRAIN

PAIRS = (
    ("premise", "hypothesis"),
    ("query", "passage"),
    ("query", "document"),
    ("question", "passage"),
    ("question", "context"),
    ("question", "answer"),
    ("context", "response"),
    ("anchor", "positive"),
)
"""Names of columns that hold two texts of one example, in lower case."""

NUMBERED = re.compile(r"(.{2,}?)[ _-]?([1a])", re.IGNORECASE)
"""Pattern of the name of the first of two such columns, as in ``sentence1`` or ``text_a``."""

PAIR_WORDS = 2.0
"""Words that the cells of both columns have on average, at least."""

FLAGS = frozenset(("0", "1", "0.0", "1.0", "true", "false"))
"""Cells of a column that says whether a text has one label, in lower case."""

MIN_FLAGS = 3
"""Columns of that kind that may be labels of which a text has several."""

SEPARATORS = ("|", ";", ",")
"""What separates several labels in one cell."""

MIN_JOINED = 3
"""Different cells with several labels from which on they are no names of classes, though no part is one by itself."""

SCALE = 20
"""Different whole numbers up to which they are classes, such as stars, however few texts some have."""


def pair_in(columns: Mapping[str, Sequence[str]]) -> tuple[str, str] | None:
    """Two columns that hold the two texts of a pair; None if there are none.

    Args:
        columns: some cells of each, by its name.
    """
    by_name = {name.strip().lower(): name for name in columns}
    pairs = [*PAIRS, *(_second(name) for name in by_name if NUMBERED.fullmatch(name))]
    for first, second in pairs:
        if first in by_name and second in by_name:
            found = by_name[first], by_name[second]
            if all(_words(columns[name]) >= PAIR_WORDS for name in found):
                return found
    return None


def flags_in(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Columns that say yes or no of a label each, where a text has several; empty if there are no such labels."""
    named = [name for name, cells in columns.items() if any(cells) and {cell.lower() for cell in cells} <= FLAGS]
    if len(named) < MIN_FLAGS:
        return []
    rows = zip(*(columns[name] for name in named), strict=False)
    several = any(sum(cell.lower() in ("1", "1.0", "true") for cell in row) > 1 for row in rows)
    return named if several else []


def joined_in(labels: Sequence[str]) -> str | None:
    """A cell that names several classes at once; None if none does. Args: labels: the different ones."""
    for separator in SEPARATORS:
        parts = {label: {part.strip() for part in label.split(separator)} for label in labels}
        names = Counter(name for found in parts.values() for name in found)
        joined = [label for label, found in parts.items() if len(found) > 1 and all(names[name] > 1 for name in found)]
        certain = [label for label in joined if parts[label] <= parts.keys()]
        if certain or len(joined) >= MIN_JOINED:
            return min(certain or joined)
    return None


def are_quantities(values: Mapping[float, int]) -> bool:
    """Whether labels are numbers to be predicted and no classes: many, and too few texts of most.

    Args:
        values: the number of texts of each.
    """
    few = sum(count < MIN_TRAIN + MIN_TEST for count in values.values())
    many = len(values) > (SCALE if all(value == int(value) for value in values) else 1)
    return many and (len(values) > MAX_CLASSES or 2 * few > len(values))


def _second(name: str) -> tuple[str, str]:
    """A name with 1 or a at its end, and the same with 2 or b."""
    return name, f"{name[:-1]}{'2' if name[-1] == '1' else 'b'}"


def _words(cells: Sequence[str]) -> float:
    return sum(len(cell.split()) for cell in cells) / max(len(cells), 1)
