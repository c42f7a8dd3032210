"""A table of results as rows, as far as it can be understood: what does not fit becomes questions."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from core.errors import JudgeError, printable
from core.judge.cells import KINDS, Names, cells_of, plain
from core.judge.grouping import Cells, Reported, RowState, mark_incomplete, number, of_epochs, of_parts, unique
from core.judge.methods import of_one_method, with_methods
from core.judge.reading import COLUMNS, Open, Reading, check_column, column_of, columns_text, known_name
from core.judge.run_names import with_settings
from core.judge.scale import name_of, scale_of
from core.judge.table import Table, number_in
from core.methods.full import FullSpec
from core.methods.method import Role
from core.methods.registry import METHODS
from core.numbers import counted, listed
from core.objectives.registry import measures_by_name
from core.results.scale import Scale

MAX_RUNS = 20_000
"""Maximum number of runs in a table."""

VALIDATION_NAMES = ("validation_{}", "val_{}", "eval_{}")
"""Names of the column of a measure on the validation part."""

TEST_NAMES = ("{}", "test_{}", "predict_{}")
"""Names of the column of a measure of this lab on the test part."""


@dataclass
class Understood(Open):
    """What is known of a table."""

    rows: list[Reported] = field(default_factory=list)
    scale: Scale | None = None


def understood(table: Table, reading: Reading) -> Understood:
    """Read the rows of a table.

    Raises:
        JudgeError: a value is not what it has to be, or the reading names a column that is not there.
    """
    found = Understood(notes=list(table.notes))
    table = _wanted(table, reading, found)
    if found.questions:
        return found
    table = with_settings(of_one_method(table, reading), reading, found)
    table = with_methods(table, reading, found)
    names = Names(
        **{
            name: column_of(table, reading, name)
            for name in (*COLUMNS, "state")
            if name not in ("measure", "validation")
        }
    )
    for name in reading.settings:
        check_column(table, name, reading.title_of("settings"))
    measure = _measure(table, reading, names, found)
    names = replace(names, measure=measure, validation=_validation(table, reading, measure))
    runs = _runs(table, reading, names, found)
    if measure and runs:
        values = (value for each in runs for value in (each.row.value, each.row.validation) if value is not None)
        found.scale = scale_of(measure, [value for value in values if math.isfinite(value)], reading, found.ask)
    if found.questions:
        return found
    columns = {**vars(names), "value": measure, "validation": names.validation or measure}
    mark_incomplete(runs, columns, reading.unseeded == "order", found)
    found.rows = _scaled(unique(runs, reading, found, table, vars(names)), found.scale)
    _reference(found, reading)
    states = Counter(row.state for row in found.rows)
    words: dict[RowState, str] = {"failed": "failed", "stopped": "stopped or still running"}
    if lost := [f"{states[state]:,} {text}" for state, text in words.items() if states[state]]:
        found.notes.append(f"Of {counted(len(found.rows), 'run')} these did not finish: {listed(lost)}.")
    if len(found.rows) > MAX_RUNS:
        raise JudgeError(f"The file has more than {MAX_RUNS:,} runs: leave some out.")
    return found


def _wanted(table: Table, reading: Reading, found: Understood) -> Table:
    """The rows that are asked for; of a file with several experiments those of one."""
    if reading.only:
        name, _, value = reading.only.partition("=")
        check_column(table, name, reading.title_of("only"))
        kept = [row for row, cell in enumerate(table.columns[name]) if cell == value]
        if not kept:
            raise JudgeError(f"No row has {printable(value)!r} in the column {printable(name)!r}.")
        return table.only(kept)
    groups = list(dict.fromkeys(table.columns.get("experiment", ())))
    if len(groups) > 1:
        text = f"The file has runs of {len(groups)} experiments, and one is judged at a time."
        found.ask("only", text, [f"experiment={group}" for group in groups])
    return table


def _numbers(table: Table) -> list[str]:
    """Names of columns that hold numbers alone, and some."""
    return [
        name
        for name, cells in table.columns.items()
        if any(cells) and all(not cell or number_in(cell) is not None for cell in cells)
    ]


def _measure(table: Table, reading: Reading, names: Names, found: Understood) -> str:
    """The column with the measure that settings are compared by; asked for where none or several are known."""
    shapes = [TEST_NAMES, VALIDATION_NAMES][:: -1 if reading.evaluated == "validation" else 1]
    known = [column_of(table, reading, "measure")] if reading.measure else []
    known = known or _shaped(table, shapes[0]) or _shaped(table, shapes[1])
    if not reading.evaluated and any(re.match(r"(eval|val|validation)(_|$)", known_name(name)) for name in known):
        were = f"{columns_text(known)} {'were' if len(known) > 1 else 'was'} measured"
        text = f"On which part {were} is not known: on a test part, by which nothing was chosen, or for validation."
        found.ask("evaluated", text, ("test", "validation"))
    if len(known) > 1:
        found.ask("measure", f"The file has {len(known)} measures, and settings are judged by one.", known)
        return ""
    if known:
        return known[0]
    taken = {*vars(names).values(), reading.validation, *reading.settings}
    offered = [name for name in _numbers(table) if name not in taken]
    if not offered:
        raise JudgeError(f"No column of numbers can be the measure: the file has {columns_text(table.columns)}.")
    found.ask("measure", "No column has the name of a known measure.", offered)
    return ""


def _validation(table: Table, reading: Reading, measure: str) -> str:
    """The column with the measure on the validation part: that of the measure itself where it is said to be of it.

    Raises:
        JudgeError: one column is said to be of both parts, or two of the validation part.
    """
    asked = column_of(table, reading, "validation") if reading.validation else ""
    is_validation = reading.evaluated == "validation"
    if asked and measure and (asked == measure) is not is_validation:
        raise JudgeError(
            f"Measure is {printable(measure, 40)!r} and Validation is {printable(asked, 40)!r}: name two different "
            "columns and leave Evaluated on empty, or one as Measure and say with Evaluated on which part it is of."
        )
    if asked or is_validation:
        return asked or measure
    by_name = {known_name(name): name for name in table.columns}
    shapes = ("validation", *(shape.format(name_of(measure)) for shape in VALIDATION_NAMES))
    return next((by_name[shape] for shape in shapes if shape in by_name and by_name[shape] != measure), "")


def _shaped(table: Table, shapes: Sequence[str]) -> list[str]:
    """Columns that are called as measures of this lab, in one of these shapes."""
    by_name = {known_name(name): name for name in table.columns}
    names = (shape.format(measure) for measure in measures_by_name() for shape in shapes)
    return [by_name[name] for name in names if name in by_name]


def _runs(table: Table, reading: Reading, names: Names, found: Understood) -> list[Cells]:
    """One row for each run, of which a table may have several: for epochs and for parts."""
    before = len(found.questions)
    cells = [cells_of(table, place, reading, names, found) for place in range(len(table))]
    if len(found.questions) > before:
        return []
    if reading.unseeded and not names.seed and not reading.seed_pattern:
        number(cells, is_one=reading.unseeded == "one")
    if names.part:
        cells = of_parts(cells, reading, found)
    if names.epoch and len(found.questions) == before:
        known = measures_by_name().get(name_of(names.measure))
        is_lower = reading.better == "lower" or (not reading.better and known is not None and known.sign < 0)
        cells = of_epochs(cells, reading, found, table, vars(names), -1.0 if is_lower else 1.0)
    return cells


def _reference(found: Understood, reading: Reading) -> None:
    """Ask for the reference where none of several methods is full fine-tuning."""
    methods = list(dict.fromkeys(row.method for row in found.rows))
    if reading.reference:
        if reference_of(reading) not in methods:
            raise JudgeError(
                f"No run is of the method {printable(reading.reference)!r}; the file has {columns_text(methods)}."
            )
        return
    full = {method.name() for method in METHODS if method.role is Role.REFERENCE}
    if not full & set(methods) and len(methods) > 1:
        found.ask(
            "reference", "No run is called full, so that it is not known what the others are compared with.", methods
        )


def reference_of(reading: Reading) -> str:
    """The method that others are compared with, as rows call it."""
    asked = reading.reference or FullSpec.name()
    return KINDS.get(asked.lower()) or plain(asked)


def _scaled(rows: Sequence[Reported], scale: Scale | None) -> list[Reported]:
    """Rows in the unit of the measure."""
    if scale is None or scale.factor == 1.0:
        return list(rows)

    def by(value: float | None) -> float | None:
        return None if value is None else scale.factor * value

    return [replace(row, value=by(row.value), validation=by(row.validation), trend=by(row.trend)) for row in rows]
