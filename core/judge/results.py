"""Reported results as they are kept: the rows of all files that were read, what they mean, and how they were read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import msgspec

from core.errors import JudgeError, printable
from core.judge.beside import about_of, is_about, is_curves, is_each, measures_of, with_curves
from core.judge.grouping import Reported, key_of
from core.judge.reading import Question, Reading
from core.judge.reported import rows_of_reported
from core.judge.sources import Given, read
from core.judge.table import Table
from core.judge.understood import MAX_RUNS, Understood, reference_of, understood
from core.numbers import counted
from core.objectives.measure import Values
from core.results.row import Row
from core.results.scale import Scale
from core.store.judged import Judged, ReadFile
from core.store.looks import Look

MAX_NOTES = 12
"""Maximum number of notes that are kept."""

FORMAT = 1
"""Version of the JSON below."""


@dataclass(frozen=True)
class KeptResults:
    """Reported results: all that a verdict is computed of but the measures of single test examples."""

    rows: tuple[Reported, ...]
    scale: Scale
    reference: str
    """The method that the others are compared with."""
    reading: str
    """JSON of the :class:`core.judge.reading.Reading`, by which a further file is read, too."""
    noun: str = "example"
    """What one test example is called."""
    examples: int | None = None
    """Number of test examples, where they are not known singly."""
    seeds: tuple[int, ...] = ()
    """Planned ones, where somebody says so."""
    searched: bool = False
    """Whether a search of this lab found the learning rates."""
    notes: tuple[str, ...] = ()
    """What was assumed or left out, a sentence each."""
    format: int = FORMAT

    def to_rows(self) -> list[Row]:
        """As rows of results, like those of runs of this lab."""
        return rows_of_reported(self.rows, self.scale, self.reference, self.noun, self.searched)

    def to_json(self) -> str:
        """As it is stored."""
        return msgspec.json.encode(self).decode()


@lru_cache(maxsize=64)
def results_of(content: str) -> KeptResults:
    """Read what :meth:`KeptResults.to_json` wrote. Raises: JudgeError: a newer version wrote it."""
    try:
        return msgspec.json.decode(content, type=KeptResults)
    except msgspec.DecodeError as error:
        raise JudgeError("These results were kept by a newer LoRA Lab: update it to see them.") from error


@dataclass
class Gathered:
    """What was read of some files."""

    files: list[ReadFile]
    questions: list[Question] = field(default_factory=list)
    """Nothing is judged while there are any."""
    results: KeptResults | None = None
    measures: dict[str, Values] = field(default_factory=dict)
    """The measure of each test example by run."""
    looks: tuple[Look, ...] = ()
    tables: list[tuple[str, Table]] = field(default_factory=list)
    """Tables of results by the names of their files, for a preview."""


def gather(
    files: Sequence[Given],
    reading: Reading,
    before: Judged | None = None,
    measures: Mapping[str, Values] | None = None,
) -> Gathered:
    """Read some files together: tables of results, and what lies beside them.

    Args:
        files: at least one.
        reading: how to read the tables.
        before: results that these files are added to.
        measures: of the test examples of these results.

    Raises:
        JudgeError: a file cannot be read, or contradicts itself or another one.
    """
    if not files:
        raise JudgeError("There is no file to judge.")
    return gathered(
        [(file.name, read(file)) for file in files], [file.about for file in files], reading, before, measures
    )


def gathered(
    tables: Sequence[tuple[str, Table]],
    files: Sequence[ReadFile],
    reading: Reading,
    before: Judged | None = None,
    measures: Mapping[str, Values] | None = None,
) -> Gathered:
    """The same for tables that were read already; see :func:`gather`."""
    found = Gathered(list(files))
    old = results_of(before.content) if before is not None else None
    abouts = [about_of(table) for _, table in tables if is_about(table)]
    if len(abouts) > 1:
        raise JudgeError("Several of the files say what results are: judge one experiment at a time.")
    if abouts:
        reading = _filled(reading, abouts[0].reading)
        found.looks = abouts[0].looks
    if old is not None:
        reading = _filled(reading, Reading.from_json(old.reading).model_dump(exclude_defaults=True))
    rest = [(name, table) for name, table in tables if not is_about(table)]
    beside = [table for _, table in rest if is_each(table) or is_curves(table)]
    found.tables = [(name, table) for name, table in rest if not any(table is other for other in beside)]
    rows, scale, notes = list(old.rows) if old is not None else [], old.scale if old is not None else None, list[str]()
    for name, table in found.tables:
        own = _understood(name, table, reading)
        found.questions += [question for question in own.questions if question not in found.questions]
        notes += [f"{printable(name)}: {note}" if "an empty cell" in note else note for note in own.notes]
        if own.questions:
            continue
        if scale is not None and own.scale != scale:
            raise JudgeError(f"{printable(name)} is judged by another measure than the results before it.")
        scale = own.scale
        rows = _joined(rows, own.rows, reading, found, is_named=bool(beside) and "run" in table.columns)
    if found.questions:
        return found
    if scale is None or not rows:
        raise JudgeError(
            "None of the files is a table of results: it takes one with a method and a measure for each run."
        )
    if len(rows) > MAX_RUNS:
        raise JudgeError(f"The files have more than {MAX_RUNS:,} runs: leave some out.")
    found.measures = dict(measures or {})
    for table in beside:
        if is_each(table):
            found.measures |= measures_of(table, rows, scale)
        else:
            rows = with_curves(rows, table, scale)
    if len({len(each) for each in found.measures.values()}) > 1:
        raise JudgeError("Some runs have other numbers of test examples: results are compared on the same ones.")
    found.results = KeptResults(
        tuple(row for row in rows if row.state != "incomplete"),
        scale,
        old.reference if old is not None else reference_of(reading),
        reading.to_json(),
        reading.noun or "example",
        reading.examples,
        abouts[0].seeds if abouts else old.seeds if old is not None else (),
        abouts[0].searched if abouts else old is not None and old.searched,
        _noted([*(old.notes if old is not None else ()), *notes]),
    )
    return found


def _noted(notes: Sequence[str]) -> tuple[str, ...]:
    """Notes, each once; of many the first."""
    different = list(dict.fromkeys(notes))
    more = len(different) - MAX_NOTES
    return tuple([*different[:MAX_NOTES], f"And {counted(more, 'more note')} of this kind."] if more > 0 else different)


def _filled(reading: Reading, more: Mapping[str, object]) -> Reading:
    """A reading whose empty fields have other values."""
    given = reading.model_dump(exclude_defaults=True)
    return Reading.of(**{**more, **given})


def _understood(name: str, table: Table, reading: Reading) -> Understood:
    """A table of results. Raises: JudgeError: the message names its file."""
    try:
        return understood(table, reading)
    except JudgeError as error:
        raise JudgeError(f"{printable(name)}: {error}") from error


def _joined(
    rows: list[Reported], more: Sequence[Reported], reading: Reading, found: Gathered, is_named: bool
) -> list[Reported]:
    """Rows with those of a further file; of what both have with other values, ``found`` gets the question which counts.

    Raises:
        JudgeError: two runs have one name, by which a file refers to one of them.
    """
    known = {(key_of(row), row.seed): place for place, row in enumerate(rows)}
    names = {row.run for row in rows}
    joined = list(rows)
    differing = 0
    for row in more:
        place = known.get((key_of(row), row.seed))
        if place is None:
            name = row.run
            if is_named and name in names:
                raise JudgeError(f"Two files have a run called {printable(name)!r}: give runs names of their own.")
            while name in names:
                name = f"{name}+"
            names.add(name)
            joined.append(replace(row, run=name))
        elif (joined[place].value, joined[place].validation) != (row.value, row.validation):
            differing += 1
            if reading.repeated == "last":
                joined[place] = replace(row, run=joined[place].run)
    if differing and not reading.repeated:
        text = f"{counted(differing, 'run')} of the further file have other values than there were for their seeds"
        found.questions.append(Question("repeated", f"{text}: say which count.", ("first", "last")))
    return joined
