"""An uploaded dataset of texts with a class or a number each, checked and split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import USUAL_OBJECTIVE, Labels, Targets, TextColumns, TextDataset, overlap_sentence
from core.data.uploads.classes import (
    SPLIT_SEED,
    TEST_SHARE,
    Draft,
    Faults,
    check_classes,
    check_counts,
    class_warnings,
    drawn_for_testing,
    found_text,
    lengths_text,
    named_classes,
    number_of,
    one_spelling,
    part_of,
    train_and_test,
)
from core.data.uploads.limits import MAX_TEXT, MIN_PER_PART, MIN_TEST, MIN_TRAIN
from core.data.uploads.text_columns import SCALE, TextTable, quoted
from core.errors import DatasetError

MISSING = ("", "nan", "NaN", "null", "NULL")
"""What stands for a target that is missing."""

LARGEST = float(np.finfo(np.float32).max)
"""Largest number that a network computes with."""


class Row(NamedTuple):
    """A row of a table that can be used."""

    text: str
    target: str
    """Its label or its number, as it is written."""
    part: str
    """``train`` or ``test``."""


def draft_texts(
    table: TextTable,
    columns: TextColumns,
    drop_duplicates: bool = False,
    objective: str = USUAL_OBJECTIVE,
    leave_out: bool = False,
    numbers: bool = False,
) -> Draft[TextDataset]:
    """Make a dataset of two columns of a table.

    Args:
        table: the rows.
        columns: which ones to use.
        drop_duplicates: leave out rows that repeat the text and the target of another row; those of the test part stay.
        objective: kind of the objective that the targets are for.
        leave_out: whether rows that cannot be used, such as those without a label, are left out; the draft then says
            which.
        numbers: whether targets are numbers, not classes.

    Raises:
        DatasetError: a column is missing or used twice, a row cannot be used, the classes are too few, too many or too
            small, or the numbers too few or all alike.
    """
    target = "number" if numbers else "label"
    written, empty, note, faults = _rows_of(table, columns, target, leave_out)

    def draft() -> Draft[TextDataset]:
        # One spelling of equal numbers, by which repeated rows are found.
        spelled = {row.target: repr(float(row.target)) if numbers else one_spelling(row.target) for row in written}
        rows = [row._replace(target=spelled[row.target]) for row in written]
        once = _without_repeats(rows)
        duplicates = len(rows) - len(once)
        rows = once if drop_duplicates else rows
        make = _with_numbers if numbers else _with_classes
        dataset, what = make(rows, replace(columns, without_repeats=drop_duplicates), objective)
        contradictions = sum(count > 1 for count in Counter(text for text, _ in {row[:2] for row in rows}).values())
        said = [*table.notes, note]
        if names := dataset.class_names:
            said += class_warnings(names, np.bincount(dataset.train_labels, minlength=len(names)), "texts")
        said.append(overlap_sentence(dataset))
        if contradictions:
            several = "1 text has" if contradictions == 1 else f"{contradictions:,} texts have"
            said.append(f"{several} different {target}s in different rows: nothing can learn all of them.")
        texts = [row.text for row in rows]
        facts = {
            "Words per text": lengths_text([len(text.split()) for text in texts]),
            "Characters per text": lengths_text([len(text) for text in texts]),
            "Empty rows": found_text(empty, "left out"),
            "Repeated rows": found_text(duplicates, "left out" if drop_duplicates else "kept"),
            "Test texts that are also trained on": found_text(dataset.overlap),
            f"Texts with several {target}s": found_text(contradictions),
        }
        split = "split as in the file" if columns.part else "with a random test part"
        split += "" if columns.part or numbers else " from each class"
        line = (
            f"{len(rows):,} texts from {quoted(columns.text)} {what} {quoted(columns.label)}: "
            f"{len(dataset.train_texts):,} for training and {len(dataset.test_texts):,} for testing, {split}."
        )
        warnings = tuple(sentence for sentence in said if sentence)
        return Draft(dataset, line, warnings, faults, tuple(facts.items()), empty, duplicates, drop_duplicates)

    return faults.without(draft, "rows")


def _rows_of(
    table: TextTable, columns: TextColumns, target: str, leave_out: bool
) -> tuple[list[Row], int, str | None, Faults]:
    """Take every row with a text.

    Args:
        table: the rows.
        columns: which ones to use.
        target: what is in the column of labels: ``label`` or ``number``.
        leave_out: whether rows that cannot be used are left out.

    Returns:
        The rows that can be used; the number of rows without a text; a note on a validation part; what cannot be used.

    Raises:
        DatasetError: a column is missing or used twice; or rows have no text, target or part, and are not to be left
            out, or are most of all.
    """
    named = [name for name in (columns.text, columns.label, columns.part) if name is not None]
    if len(set(named)) < len(named):
        raise DatasetError(
            f"The column {quoted(named[-1])} is chosen twice: text, {target} and part are different columns."
        )
    cells = table.column(columns.text), table.column(columns.label)
    parts = parts_of(table, columns.part)
    rows: list[Row] = []
    empty, faults = table.empty_rows, Faults()
    for number, (text, label) in enumerate(zip(*cells, strict=True)):
        if text is not None and not text.strip():
            empty += 1
        elif fault := _fault_of(text, label, columns, target) or parts.faults.get(number):
            faults.add(f"Row {table.places[number]} has {fault}.")
        else:
            rows.append(Row((text or "").strip(), (label or "").strip(), parts.of_rows[number]))
    faults = table.faults.plus(faults)
    faults.check(len(rows), leave_out)
    if not rows:
        raise DatasetError(f"The column {quoted(columns.text)} has no texts: choose another one.")
    return rows, empty, parts.note, faults


def _fault_of(text: str | None, label: str | None, columns: TextColumns, target: str) -> str | None:
    """What a row has that cannot be used, after ``Row 3 has``; None if there is nothing."""
    if text is None:
        return f"a list or an object in {quoted(columns.text)}, not a text: choose another column"
    if len(text) > MAX_TEXT:
        return f"a text of {len(text):,} characters in {quoted(columns.text)}: the limit is {MAX_TEXT:,}"
    where = quoted(columns.label)
    if label is None:
        return f"a list or an object in {where}, not a {target}: keep one of several, or choose another column"
    label = label.strip()
    if label in MISSING:
        stands = f" ({label} stands for none)" if label else ""
        return f"a text but no {target} in {where}{stands}: fill it in, or remove the row"
    if target == "number":
        value = number_of(label)
        if value is None:
            return f"{label[:40]!r} in {where}, which is no finite number: write it as in -1.5, or remove the row"
        if not abs(value) <= LARGEST:
            return f"{label[:40]!r} in {where}: numbers are at most {LARGEST:.2g}, so scale them"
    return None


def _without_repeats(rows: Sequence[Row]) -> list[Row]:
    """The rows in their order, each text once with each target; of several, the first one of the test part stays."""
    best: dict[tuple[str, str], int] = {}
    for number, row in enumerate(rows):
        key = row.text, row.target
        if key not in best or (row.part == "test" != rows[best[key]].part):
            best[key] = number
    return [rows[number] for number in sorted(best.values())]


def _with_classes(rows: Sequence[Row], columns: TextColumns, objective: str) -> tuple[TextDataset, str]:
    """The dataset of texts with classes, and what it has, for a sentence. Raises: DatasetError: they are no classes."""
    counts = Counter(row.target for row in rows)
    are_few = min(counts.values()) < MIN_TRAIN + MIN_TEST
    if len(counts) > SCALE and are_few and all(number_of(label) is not None for label in counts):
        raise DatasetError(
            f"The labels in {quoted(columns.label)} are {len(counts):,} different numbers such as {min(counts)}, and "
            "LoRA Lab learns classes, not quantities: put a few classes such as low and high in their place."
        )
    names, labels = named_classes([row.target for row in rows], f"The column {quoted(columns.label)}")
    check_classes(names)
    if columns.part is None:
        check_counts(names, labels, None, "texts")
        testing = drawn_for_testing(labels, len(names))
    else:
        testing = given_for_testing((row.part for row in rows), columns.part)
        check_counts(names, labels[~testing], labels[testing], "texts")
    return _dataset_of(names, rows, labels, testing, columns, objective), f"in {len(names)} classes from"


def _with_numbers(rows: Sequence[Row], columns: TextColumns, objective: str) -> tuple[TextDataset, str]:
    """The dataset of texts with numbers, and what it has, for a sentence. Raises: DatasetError: they are too few."""
    numbers = np.array([float(row.target) for row in rows], np.float32)
    if columns.part is not None:
        testing = given_for_testing((row.part for row in rows), columns.part)
    else:
        testing = np.zeros(len(rows), bool)
        # NumPy guarantees that the stream of RandomState never changes between versions.
        testing[np.random.RandomState([SPLIT_SEED]).permutation(len(rows))[: round(TEST_SHARE * len(rows))]] = True
    for part, own in (("training", numbers[~testing]), ("test", numbers[testing])):
        if len(own) < MIN_PER_PART:
            raise DatasetError(f"The {part} part has {len(own)} texts: it needs at least {MIN_PER_PART}, so add more.")
        if own.min() == own.max():
            raise DatasetError(
                f"All numbers of the {part} part in {quoted(columns.label)} are {own[0]:g}: there is nothing to learn."
            )
    line = f"with numbers from {numbers.min():g} to {numbers.max():g} of"
    return _dataset_of((), rows, numbers, testing, columns, objective), line


def _dataset_of(
    names: Sequence[str],
    rows: Sequence[Row],
    labels: Targets,
    testing: NDArray[np.bool_],
    columns: TextColumns,
    objective: str,
) -> TextDataset:
    """The dataset of n texts with (n,) labels or numbers, of which some are to be tested on."""
    parts = labels[~testing], labels[testing]
    for array in parts:
        array.flags.writeable = False
    train, test = (tuple(rows[row].text for row in np.flatnonzero(part).tolist()) for part in (~testing, testing))
    return TextDataset("upload", train, parts[0], test, parts[1], tuple(names), objective, columns)


@dataclass(frozen=True)
class Parts:
    """Which part each row of a table belongs to."""

    of_rows: list[str]
    """``train`` or ``test``."""
    faults: dict[int, str]
    """What is wrong with the cells of some rows, by their numbers from 0; goes on after ``Row 3 has``."""
    note: str | None
    """On a validation part, if there is one."""


def parts_of(table: TextTable, column: str | None) -> Parts:
    """Read a column of parts; without one every row is for training. Raises: DatasetError: there is no such column."""
    if column is None:
        return Parts(["train"] * len(table), {}, None)
    written = [cell or "" for cell in table.column(column)]
    named = [part_of(cell) for cell in written]
    of_rows, note = train_and_test([part or "train" for part in named])
    faults = {
        number: f"{written[number][:40]!r} in {quoted(column)}: the parts are train, test and validation"
        for number, part in enumerate(named)
        if part is None
    }
    return Parts(of_rows, faults, note)


def given_for_testing(parts: Iterable[str], column: str) -> NDArray[np.bool_]:
    """(n,) which rows to test on, by the part of each. Raises: DatasetError: the column says test of none."""
    given = np.array([part == "test" for part in parts], bool)
    if not given.any():
        raise DatasetError(f"The column {quoted(column)} says test of no row: choose no column for the part.")
    return given


def first_texts(texts: Sequence[str], labels: Labels, label: int, count: int) -> list[str]:
    """The first ``count`` texts of a class; ``labels`` has shape (n,)."""
    return [texts[row] for row in np.flatnonzero(labels == label)[:count]]
