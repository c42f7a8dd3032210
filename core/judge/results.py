"""Reported results as they are kept: the runs of all files that were read, what lies beside them, and their rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import msgspec
import pandas as pd

from core.errors import JudgeError, printable
from core.judge.beside import About, about_of, is_beside, with_beside
from core.judge.cells import Reported
from core.judge.reading import Open, Reading
from core.judge.sources import Given
from core.judge.table import ABOUT
from core.judge.understood import MAX_RUNS, Understood, reference_of
from core.methods.method import Role
from core.methods.registry import METHODS
from core.numbers import counted
from core.objectives.classification import ACCURACY, LARGEST_CLASS
from core.objectives.measure import VALIDATION, Values
from core.results.results import Results
from core.results.row import Row
from core.results.scale import TEST, Scale
from core.results.setting import Setting, setting_text, short_name
from core.store.judged import Judged, ReadFile
from core.store.looks import Look

MAX_NOTES = 12
"""Maximum number of notes that are kept."""

UNKNOWN_DECAY, NOUN = "not reported", "example"
"""What stands for how the learning rate fell, and for what one test example is called, where nobody says it."""

_KNOWN = {method.name(): method for method in METHODS}


@dataclass(frozen=True)
class KeptResults:
    """Reported results: all that a verdict is computed of but the measures of single test examples."""

    rows: tuple[Reported, ...]
    scale: Scale
    reference: str
    """The method that the others are compared with."""
    reading: str
    """JSON of the :class:`core.judge.reading.Reading`, by which a further file is read, too."""
    noun: str = NOUN
    """What one test example is called."""
    examples: int | None = None
    """Number of test examples, where they are not known singly."""
    seeds: tuple[int, ...] = ()
    """Planned ones, where somebody says so."""
    searched: bool = False
    """Whether a search of this lab found the learning rates."""
    notes: tuple[str, ...] = ()
    """What was assumed or left out, a sentence each."""
    format: int = 1

    def to_rows(self) -> list[Row]:
        """As rows of results, like those of runs of this lab."""
        return [self._row(place, each) for place, each in enumerate(self.rows)]

    def to_json(self) -> str:
        """As it is stored."""
        return msgspec.json.encode(self).decode()

    def _row(self, place: int, each: Reported) -> Row:
        name, is_finished = self.scale.primary.name, each.state == "finished"
        measures = {ACCURACY.name: each.accuracy, name: each.value, VALIDATION + name: each.validation}
        if measures[ACCURACY.name] is not None:  # what is compared with the share
            measures[LARGEST_CLASS] = each.largest_class
        return Row(
            id=each.run,
            setting=self._setting(each),
            seed=each.seed,
            state="failed" if each.state == "incomplete" else each.state,
            cause=each.cause or None,
            archived=each.archived or each.state == "stopped",  # others have left it out
            plan="complete" if self.searched else None,
            created=float(place),
            has_result=is_finished,
            measures={name: value for name, value in measures.items() if value is not None} if is_finished else {},
            trends={VALIDATION + name: each.trend} if is_finished and each.trend is not None else {},
            trained=(each.trained or 0) if is_finished else 0,
            steps=(each.steps or 0) if is_finished else 0,
        )

    def _setting(self, each: Reported) -> Setting:
        known, noun = _KNOWN.get(each.method), self.noun or NOUN
        short = known.short if known is not None else each.method
        is_control = known is not None and known.role is Role.CONTROL
        own = ("kind", "is_reference", "rank", "alpha")
        method: dict[str, object] = {"rank": each.rank, "alpha": each.alpha}
        method |= {f"{name} (column)" if name in own else name: text for name, text in each.settings.items()}
        method = {name: value for name, value in method.items() if value is not None}
        rate, epochs, decay = each.learning_rate or 0.0, each.epochs or 1, each.decay or UNKNOWN_DECAY
        optim = {"learning_rate": rate, "epochs": epochs, "patience": each.patience, "decay": decay}
        return Setting(
            key=_key(each.method, method, optim, self.scale, noun),
            objective=self.scale,
            method=each.method,
            label=short if each.rank is None else f"{short} r={each.rank}",
            title=known.title if known is not None else each.method,
            role=Role.REFERENCE if each.method == self.reference else Role.CONTROL if is_control else Role.ADAPTER,
            learning_rate=rate,
            epochs=epochs,
            size=each.rank,
            rank=each.rank,
            alpha=each.alpha,
            alpha_text="" if each.alpha is None else f"alpha {each.alpha:g}",
            patience=each.patience,
            decay=decay,
            learns=noun,
            texts={short_name(name): setting_text(name, value) for name, value in (method | optim).items()},
        )


def _key(kind: str, method: Mapping[str, object], optim: Mapping[str, object], scale: Scale, noun: str) -> str:
    """The key of a setting, which looks of earlier versions have in the store: it is never to change."""
    default = {"learning_rate": 0.0, "epochs": 1, "patience": 0, "decay": UNKNOWN_DECAY}
    objective: dict[str, object] = {
        "column": scale.name,
        "higher": scale.higher,
        "kind": "reported",
        "measure": "",
        "shown": scale.title,
    }
    objective |= {"unit": scale.unit, "within": None} | ({"part": scale.part} if scale.part != TEST else {})
    values = {
        "method": {**method, "kind": kind},
        "network": {"kind": "reported"} | ({"noun": noun} if noun != NOUN else {}),
        "objective": objective,
        "optim": {name: value for name, value in optim.items() if value != default[name]},
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


@lru_cache(maxsize=64)
def results_of(content: str) -> KeptResults:
    """Read what :meth:`KeptResults.to_json` wrote. Raises: JudgeError: a newer version wrote it."""
    try:
        return msgspec.json.decode(content, type=KeptResults)
    except msgspec.DecodeError as error:
        raise JudgeError("These results were kept by a newer LoRA Lab: update it to see them.") from error


@dataclass
class Gathered(Open):
    """What was read of some files."""

    files: list[ReadFile] = field(default_factory=list)
    results: KeptResults | None = None
    """None while there are questions."""
    measures: dict[str, Values] = field(default_factory=dict)
    """The measure of each test example by run."""
    looks: tuple[Look, ...] = ()

    def answered(self) -> KeptResults:
        """The results. Raises: JudgeError: something is open; it has all questions."""
        if self.results is None:
            raise JudgeError(" ".join(question.sentence for question in self.questions))
        return self.results


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
    found = Gathered(files=[file.about for file in files], measures=dict(measures or {}))
    old = results_of(before.content) if before is not None else None
    abouts = [about_of(file.table) for file in files if ABOUT in file.table.columns]
    if len(abouts) > 1:
        raise JudgeError("Several of the files say what results are: judge one experiment at a time.")
    about = abouts[0] if abouts else About(seeds=old.seeds, searched=old.searched) if old is not None else About()
    for more in (about.reading, Reading.from_json(old.reading).model_dump(exclude_defaults=True) if old else {}):
        reading = Reading.of(**more | reading.model_dump(exclude_defaults=True))
    found.looks = about.looks
    tables = [file for file in files if ABOUT not in file.table.columns]
    beside = [file.table for file in tables if is_beside(file.table)]
    rows, scale = (list(old.rows), old.scale) if old is not None else ([], None)
    for file in (file for file in tables if not is_beside(file.table)):
        name = printable(file.name)
        try:
            own = Understood(file.table, reading)
        except JudgeError as error:
            raise JudgeError(f"{name}: {error}") from error
        found.questions += [question for question in own.questions if question not in found.questions]
        found.notes += [f"{name}: {note}" if "an empty cell" in note else note for note in own.notes]
        if own.questions:
            continue
        if scale is not None and own.scale != scale:
            raise JudgeError(f"{name} is judged by another measure than the results before it.")
        scale = own.scale
        rows = _joined(rows, own.rows, reading, found, is_named=bool(beside) and "run" in file.table.columns)
    if found.questions:
        return found
    if scale is None or not rows:
        raise JudgeError(
            "None of the files is a table of results: it takes one with a method and a measure for each run."
        )
    if len(rows) > MAX_RUNS:
        raise JudgeError(f"The files have more than {MAX_RUNS:,} runs: leave some out.")
    for table in beside:
        rows, each = with_beside(rows, table, scale)
        found.measures |= each
    if len(sizes := {len(each) for each in found.measures.values()}) > 1:
        many = f"Some runs have {min(sizes):,} test examples and others {max(sizes):,}"
        raise JudgeError(f"{many}: results are compared on the same ones.")
    notes = list(dict.fromkeys([*(old.notes if old is not None else ()), *found.notes]))
    left = [f"And {counted(len(notes) - MAX_NOTES, 'more note')} of this kind."] * (len(notes) > MAX_NOTES)
    found.results = KeptResults(
        rows=tuple(row for row in rows if row.state != "incomplete"),
        scale=scale,
        reference=old.reference if old is not None else reference_of(reading),
        reading=reading.to_json(),
        noun=reading.noun or NOUN,
        examples=reading.examples,
        seeds=about.seeds,
        searched=about.searched,
        notes=(*notes[:MAX_NOTES], *left),
    )
    return found


def _joined(
    rows: Sequence[Reported], more: Sequence[Reported], reading: Reading, found: Gathered, is_named: bool
) -> list[Reported]:
    """Rows with those of a further file; of what both have with other values it is asked which counts."""
    joined, names, differing = {(row.key, row.seed): row for row in rows}, {row.run for row in rows}, 0
    for row in more:
        name, known = row.run, joined.get((row.key, row.seed))
        if known is None:
            if is_named and name in names:
                raise JudgeError(f"Two files have a run called {printable(name)!r}: give runs names of their own.")
            while name in names:
                name = f"{name}+"
            names.add(name)
            joined[row.key, row.seed] = replace(row, run=name)
        elif (known.value, known.validation) != (row.value, row.validation):
            differing += 1
            if reading.repeated == "last":
                joined[row.key, row.seed] = replace(row, run=known.run)
    if differing and not reading.repeated:
        text = f"{counted(differing, 'run')} of the further file have other values than there were for their seeds"
        found.ask("repeated", f"{text}: say which count.", ("first", "last"))
    return [*joined.values()]


def results_of_frame(frame: pd.DataFrame, reading: Reading | None = None) -> Results:
    """Results of a DataFrame with one line for each run, read as a file is.

    Args:
        frame: with a method, a seed and a measure for each run, under names that :mod:`core.judge.reading` knows.
        reading: what its columns are, where their names do not tell.

    Raises:
        JudgeError: something in it cannot be read, or is not known; the message says what to do.
    """
    found = gather([Given("the table.csv", frame.to_csv(index=False).encode())], reading or Reading())
    return Results(tuple(found.answered().to_rows()))
