"""Rows of a table of results that belong together: epochs and parts of a run, what is repeated, and what is missing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from core.errors import JudgeError, printable
from core.judge.reading import Open, Reading, columns_text, setting_like
from core.judge.table import Table
from core.numbers import counted, seeds_text
from core.store.curves import trends_of

RowState = Literal["finished", "stopped", "failed", "incomplete"]
"""Incomplete is what is left out because a cell is empty."""


@dataclass(frozen=True)
class Reported:
    """One training run as it was reported. What nobody reported is None, or empty."""

    run: str
    """Its name among the rows, by which files beside the table refer to it."""
    method: str
    """Kind of a method of this lab, such as ``lora``, or any other name."""
    seed: int
    rank: int | None = None
    alpha: float | None = None
    learning_rate: float | None = None
    settings: dict[str, str] = field(default_factory=dict)
    """Further settings that tell it from others, by the names of their columns."""
    epochs: int | None = None
    """Number of epochs that were asked for: runs with different numbers are never compared."""
    patience: int = 0
    """Epochs without a lower loss after which it would have stopped by itself; then its curve says nothing of longer
    training."""
    decay: str = ""
    """How its learning rate fell, as in ``constant`` or ``cosine``."""
    state: RowState = "finished"
    cause: str = ""
    """Why it failed."""
    archived: bool = False
    """Whether somebody left it out who knew what that means; see :attr:`core.store.record.Run.archived`."""
    validation: float | None = None
    """The measure on the validation part, by which settings are chosen, in the measure's unit."""
    value: float | None = None
    """The measure on the test part."""
    trend: float | None = None
    """What three times the epochs would add at most; see :func:`core.store.curves.trends_of`."""
    trained: int | None = None
    """Number of trainable parameters."""
    steps: int | None = None
    """Number of updates."""
    accuracy: float | None = None
    """Percent of the test part that is right, where the measure is another one: it tells what has learned nothing."""
    largest_class: float | None = None
    """Percent of the test part that is of its most frequent class."""


MAX_EPOCHS = 10_000
"""Maximum number of epochs of a run."""


@dataclass
class Cells:
    """What the rows of a table say of one run."""

    row: Reported
    place: str
    order: float = math.nan
    part: str = ""
    at: int = 0
    """Place of its row in the table."""


def key_of(row: Reported) -> tuple[object, ...]:
    """What rows of one setting share: all but the seed and what came of it."""
    return row.method, row.rank, row.alpha, row.learning_rate, row.epochs, tuple(sorted(row.settings.items()))


def number(cells: Sequence[Cells], is_one: bool) -> None:
    """Give rows without seeds one: 0 for all, or their places among the rows of their settings.

    Args:
        cells: of all rows.
        is_one: whether all have one seed.

    Raises:
        JudgeError: a setting has several runs with one seed.
    """
    count: Counter[tuple[object, ...]] = Counter()
    for each in cells:
        setting = (*key_of(each.row), each.part, each.order if not math.isnan(each.order) else None)
        if is_one and count[setting]:
            raise JudgeError(
                f"{each.place}: its setting has several runs, so they have several seeds: add a column with seeds, or "
                "choose “order” as what rows without seeds are, if those of all settings are in the order of the seeds."
            )
        each.row = replace(each.row, seed=count[setting])
        count[setting] += 1


def of_parts(cells: list[Cells], reading: Reading, found: Open) -> list[Cells]:
    """Rows of the test part, with what those of the validation part say of the same run and epoch."""
    parts = list(dict.fromkeys(each.part for each in cells))
    test = reading.test or next((part for part in parts if part.lower() == "test"), "")
    chosen_by = reading.chosen_by or next((part for part in parts if part.lower() == "validation"), "")
    if test not in parts:
        if test:
            raise JudgeError(f"No row is of the part {printable(test)!r}; the file has {columns_text(parts)}.")
        found.ask("test", "Rows are of several parts, and settings are compared on one.", parts)
        return cells
    others = [part for part in parts if part not in (test, chosen_by)]
    if others and not reading.test:
        found.ask("test", f"Rows are of the parts {columns_text(parts)}, and settings are compared on one.", parts)
        return cells
    values = {
        (each.row.run, key_of(each.row), each.row.seed, each.order): each.row.value
        for each in cells
        if chosen_by and each.part == chosen_by
    }
    kept = []
    for each in cells:
        if each.part == test:
            key = (each.row.run, key_of(each.row), each.row.seed, each.order)
            each.row = replace(each.row, validation=values.get(key, each.row.validation))
            kept.append(each)
    return kept


def of_epochs(
    cells: list[Cells], reading: Reading, found: Open, table: Table, read: Mapping[str, str], sign: float
) -> list[Cells]:
    """The row of each run that counts, with what its validation curve says of longer training.

    Where no run has rows of several epochs, as where each row has the last one, all rows are kept.

    Args:
        cells: of all epochs.
        reading: says which counts.
        found: takes questions.
        table: where the rows are from.
        read: its columns that are read, by what they hold.
        sign: 1 where higher values are better, else −1.

    Raises:
        JudgeError: the best epoch is asked for where nothing ranks them.
    """
    by_run: dict[tuple[object, ...], dict[float, list[Cells]]] = {}
    for each in cells:
        own = by_run.setdefault((each.row.run, key_of(each.row), each.row.seed), {})
        own.setdefault(each.order, []).append(each)
    ended = [orders for orders in by_run.values() if any(e.row.state == "finished" for o in orders.values() for e in o)]
    lengths = {max(orders) for orders in ended or by_run.values()}
    same = len(lengths) == 1 and max(lengths) <= MAX_EPOCHS and all(map(float.is_integer, lengths))
    length = int(max(lengths)) if same else None
    if max(map(len, by_run.values())) == 1:
        for each in cells:
            each.row = replace(each.row, epochs=each.row.epochs or length)
        return cells
    groups = []
    for orders in by_run.values():
        for same_epoch in orders.values():
            if len({(each.row.value, each.row.validation) for each in same_epoch}) > 1 and not reading.repeated:
                ask_repeated(same_epoch, found, table, read)
        groups.append([each[0 if reading.repeated == "first" else -1] for each in orders.values()])
    has_validation = bool(read["validation"] or read["part"])
    if not reading.take:
        options = ("last", "best") if has_validation else ("last",)
        found.ask("take", "Runs have several rows, one for each epoch or step, and one of them counts.", options)
        return cells
    if reading.take == "best" and not has_validation:
        raise JudgeError("The best epoch is chosen on the validation part, and no column has it: take the last.")
    kept = []
    for group in groups:
        ordered = sorted(group, key=lambda each: each.order)
        tested = [each for each in ordered if each.row.value is not None] or ordered
        counts, validation = tested[-1], tested[-1].row.validation
        ranked = [each for each in ordered if each.row.validation is not None]
        if reading.take == "best" and ranked:
            best = max(ranked, key=lambda each: sign * (each.row.validation or 0.0))
            validation = best.row.validation
            if len(tested) > 1:  # otherwise the network of the best epoch was tested at the end
                counts = best
        curve = {each.order: each.row.validation for each in group if math.isfinite(each.order)}
        epochs = counts.row.epochs or length
        counts.row = replace(counts.row, validation=validation, trend=trend_of(curve), epochs=epochs)
        kept.append(counts)
    return kept


def trend_of(curve: Mapping[int, float] | Mapping[float, float | None]) -> float | None:
    """What three times the epochs would add to a measure; see :func:`core.store.curves.trends_of`.

    Args:
        curve: the measure by epoch, from 1; None where it was not measured.
    """
    if not curve or not all(epoch == int(epoch) and 1 <= epoch <= MAX_EPOCHS for epoch in curve):
        return None
    values = np.full(int(max(curve)), np.nan)
    for epoch, value in curve.items():
        values[int(epoch) - 1] = np.nan if value is None else value
    return trends_of({"measure": values}).get("measure")


def unique(
    cells: Sequence[Cells], reading: Reading, found: Open, table: Table, read: Mapping[str, str]
) -> list[Reported]:
    """Rows of which each setting has one for each seed; what is repeated is asked for, unless it is the same.

    Args:
        cells: of all runs.
        reading: says which row counts.
        found: takes the question and the notes.
        table: where the rows are from.
        read: its columns that are read, by what they hold; empty for what it has no column of.
    """
    groups: dict[tuple[object, ...], list[Cells]] = {}
    for each in cells:
        groups.setdefault((key_of(each.row), each.row.seed), []).append(each)
    kept, repeated = [], 0
    for own in groups.values():
        finished = [each for each in own if each.row.state == "finished"] or own
        different = {(each.row.value, each.row.validation) for each in finished}
        if len(different) > 1 and not reading.repeated:
            ask_repeated(finished, found, table, read)
        repeated += len(own) - 1
        kept.append((finished[0] if reading.repeated == "first" else finished[-1]).row)
    if repeated and not found.questions:
        found.notes.append(f"{counted(repeated, 'row')} repeated a setting and seed and did not count.")
    return [replace(row, run=row.run or f"run-{place}") for place, row in enumerate(kept, 1)]


def ask_repeated(cells: Sequence[Cells], found: Open, table: Table, read: Mapping[str, str]) -> None:
    """Ask which of some rows of one setting and seed counts; see :func:`unique`."""
    row = cells[0].row
    places = [f"{each.place} ({printable(each.row.run, 40)})" if each.row.run else each.place for each in cells]
    several = f"{printable(row.method)!r} has {len(cells)} different rows with seed {row.seed}"
    text = f"{several}, as {places[0]} and {places[-1]}."
    found.ask("repeated", f"{text} {_forgotten(table, [each.at for each in cells], read)}", ("first", "last"))


def _forgotten(table: Table, rows: Sequence[int], read: Mapping[str, str]) -> str:
    """What to do about repeated rows, by the columns in which they differ: one of them may be a forgotten setting.

    Named are columns with a name like that of a setting, and those whose values come again in other rows, as those of
    settings do and measures and times do not.
    """
    like: dict[str, str] = {}
    others = []
    for name, cells in table.columns.items():
        if name not in read.values() and len({cells[row] for row in rows}) > 1:
            if field := next((each for each in setting_like(name) if not read[each]), ""):
                like[name] = field
            elif 2 * len(set(cells)) <= len(table):
                others.append(name)
    if not like and not others:
        return (
            "They differ in no column that looks like a setting: say which counts, or name a column that tells them "
            "apart as a further setting."
        )
    asked = [f"Is {printable(name, 40)!r} the {field.replace('_', ' ')}?" for name, field in like.items()][:3]
    differ = f"They differ in {columns_text([*like, *others])}."
    return " ".join([differ, *asked, "Name what is a setting, as its field or a further setting, or say which counts."])


def mark_incomplete(cells: Sequence[Cells], columns: Mapping[str, str], is_ordered: bool, found: Open) -> None:
    """Mark finished runs that lack something, and all of their seeds, so that no setting is chosen for having more.

    Taken are a method, seed and measure, a validation measure that others of the setting have, and what others of the
    method have, such as a rank, where the setting without it would have less than half as many runs. A seed stays if
    its setting has no measure at all, or none would be left.

    Raises:
        JudgeError: none is left, or the order of the rows of a setting says their seeds, and a setting is not known.
    """
    rows = [each.row for each in cells]
    sizes = Counter(map(key_of, rows))
    largest = {setting[0]: size for setting, size in reversed(sizes.most_common())}
    own = dict.fromkeys(["rank", "alpha", "learning_rate", "epochs", *(name for row in rows for name in row.settings)])
    known = {(row.method, name) for row in rows for name in own if not _lacks(row, name)}
    validated = {key_of(row) for row in rows if row.validation is not None}
    lacking: dict[int, str] = {}
    for place, row in enumerate(rows):
        few = 2 * sizes[key_of(row)] < largest[row.method]
        taken = ["method", *(name for name in own if few and (row.method, name) in known), "value", "seed"]
        taken += ["validation"] * (key_of(row) in validated)
        if row.state == "finished" and (names := [name for name in taken if _lacks(row, name)]):
            lacking[place], cells[place].row = names[0], replace(row, state="incomplete")
    done = {(key_of(each.row), each.row.seed) for each in cells if each.row.state == "finished"}
    seeds, count = {seed for _, seed in done}, Counter(setting for setting, _ in done)
    lost, notes = set[int](), list[str]()
    for place, name in lacking.items():
        row, setting = rows[place], key_of(rows[place])
        if (setting, row.seed) not in done:  # where it is, the run was repeated
            run = ", ".join(filter(None, [printable(row.method), f"seed {row.seed}" * (row.seed >= 0)]))
            where = f"in the column {printable(columns.get(name) or name)!r}"
            notes.append(f"{cells[place].place} ({run}) has an empty cell {where}")
            if not done or (is_ordered and name in ("method", *own)):
                why = "the order of the rows says their seeds" if done else "no other run has all that it takes"
                raise JudgeError(f"{notes[-1]}: fill it in, because {why}.")
            if row.seed in seeds and (row.value is not None or count[setting]):
                lost.add(row.seed)
            if row.seed < 0 and count[setting] == len(seeds) - 1:
                lost |= {seed for seed in seeds if (setting, seed) not in done}
                count[setting] += 1
    lost = lost if seeds - lost else set()
    for each in (each for each in cells if each.row.state == "finished" and each.row.seed in lost):
        each.row = replace(each.row, state="incomplete")
    what = f"All runs of {seeds_text(sorted(lost))}" if lost else "Runs"
    notes.insert(0, f"{what} are left out because of an empty cell; where such a run failed, say so in a column state")
    found.notes += [f"{note}." for note in notes if len(notes) > 1]


def _lacks(row: Reported, name: str) -> bool:
    return row.seed < 0 if name == "seed" else getattr(row, name, row.settings.get(name)) in (None, "")
