"""The rows of a table of results as values of runs: which column is what, the measure and its unit, and each cell."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

import numpy as np

from core.errors import JudgeError, printable
from core.judge.reading import (
    COLUMNS,
    KINDS,
    KNOWN,
    MAX_MEASURE,
    NOTHING,
    TEST_NAMES,
    VALIDATION_NAMES,
    Columns,
    Reading,
    columns_text,
    has_rank,
    known_name,
    measure_name,
)
from core.judge.table import Table, number_in
from core.methods.registry import METHODS
from core.objectives.classification import ACCURACY
from core.objectives.registry import measures_by_name
from core.results.scale import PERCENT, TEST, Scale
from core.run_spec import OptimSpec
from core.spec import Spec
from core.store.curves import trends_of

RowState = Literal["finished", "stopped", "failed", "incomplete"]
"""Incomplete is what is left out because a cell is empty."""

MAX_EPOCHS = 10_000
"""Maximum number of epochs of a run."""

MAX_METHOD = 120
"""Maximum number of characters of the name of a method, and of a value of a further setting."""


MORE = (
    "epochs",
    "patience",
    "trainable_parameters",
    "steps",
    "decay",
    "cause",
    "archived",
    "accuracy",
    "largest_class",
)
"""Columns that are read beside those that a reading may name, under these names alone."""

_READ = {"kind", "rank", "alpha", "learning_rate", "epochs", "patience", "decay"}

_SPECS: tuple[type[Spec], ...] = (*METHODS, OptimSpec)

SETTINGS = ["layers", *(name for spec in _SPECS for name in spec.model_fields if name not in _READ)]
"""Columns that tell settings apart: those that are called as fields of methods and of their training are here."""

STATES: dict[str, RowState] = {
    **dict.fromkeys(("", "finished", "completed", "success"), "finished"),
    **dict.fromkeys(("failed", "crashed", "error"), "failed"),
    **dict.fromkeys(("stopped", "killed", "preempted", "preempting"), "stopped"),
    **dict.fromkeys(("running", "pending", "queued", "scheduled"), "stopped"),
}
"""What becomes of a run, by what trackers call it; one that is under way counts as stopped."""

BRACKETS = str.maketrans("<>", "‹›")
"""What angle brackets in names are shown as: figures would take them for marks of their own."""


def plain(text: str) -> str:
    """A name from a table as pages, figures and reports show it: one line, printable, without angle brackets."""
    return " ".join("".join(filter(str.isprintable, text)).split()).translate(BRACKETS) or "?"


@dataclass
class Reported:
    """One training run as it was reported. What nobody reported is None, or empty."""

    run: str
    """Its name among the rows, by which files beside the table refer to it."""
    method: str
    """Kind of a method of this lab, such as ``lora``, or any other name."""
    seed: int
    """Below 0 where its cell is empty."""
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

    @property
    def key(self) -> tuple[object, ...]:
        """What runs of one setting share: all but the seed and what came of it."""
        own = tuple(sorted(self.settings.items()))
        return self.method, self.rank, self.alpha, self.learning_rate, self.epochs, own

    @property
    def measured(self) -> tuple[float | None, float | None]:
        """The measure on both parts."""
        return self.value, self.validation

    def lacks(self, name: str) -> bool:
        """Whether nothing is reported of a field, or of a further setting."""
        return self.seed < 0 if name == "seed" else getattr(self, name, self.settings.get(name)) in (None, "")


def trend_of(curve: Mapping[float, float | None]) -> float | None:
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


@dataclass
class Line(Reported):
    """What a row of a table says of a run, at one epoch or on one part of the data."""

    at: int = 0
    """Place in the table."""
    epoch: float = math.nan
    part: str = ""

    @property
    def same(self) -> tuple[object, ...]:
        """What the lines of one run share."""
        return self.run, self.key, self.seed

    def reported(self, factor: float, name: str) -> Reported:
        """As a run, in the unit of the measure. Args: factor: of what is measured; name: where it has none."""
        own = {each.name: getattr(self, each.name) for each in fields(Reported)}
        scaled = {name: own[name] for name in ("value", "validation", "trend") if own[name] is not None and factor != 1}
        return Reported(**own | {"run": self.run or name} | {name: factor * value for name, value in scaled.items()})


class Cells(Columns):
    """The cells of a table, read as a reading says. Methods raise :class:`JudgeError` at one that cannot be."""

    def __init__(self, table: Table, reading: Reading) -> None:
        """Args: table: as a file has it; reading: what its columns are."""
        super().__init__(table, reading)
        self.names: dict[str, str] = {}
        """Columns by what they hold, empty for what the table has not; none while rows are to choose."""
        self.scale: Scale | None = None
        self._only()
        if self.questions:
            return
        self.complete()
        names = [name for name in (*COLUMNS, "state") if name not in ("measure", "validation")]
        exact = {
            name: next((each for each in KNOWN.get(name, (name,)) if each in self.table.columns), "") for name in MORE
        }
        self.names = {name: self.column(name) for name in names} | exact
        own = [self.checked(name, "settings") for name in reading.settings]
        self.settings = list(dict.fromkeys(name for name in (*SETTINGS, *own) if name in self.table.columns))
        """Columns with further settings."""
        self.names["measure"] = self._measure()
        self.names["validation"] = self._validation()
        if self.names["measure"]:
            self.scale = self._scale()

    def _only(self) -> None:
        """Keep the rows that are asked for; of a file with several experiments those of one."""
        if self.reading.only:
            name, _, value = self.reading.only.partition("=")
            cells = self.table.columns[self.checked(name, "only")]
            self.table = self.table.only([row for row, cell in enumerate(cells) if cell == value])
            if not len(self.table):
                raise JudgeError(f"No row has {printable(value)!r} in the column {printable(name)!r}.")
        elif len(groups := dict.fromkeys(self.table.columns.get("experiment", ()))) > 1:
            text = f"The file has runs of {len(groups)} experiments, and one is judged at a time."
            self.ask("only", text, [f"experiment={group}" for group in groups])

    def _measure(self) -> str:
        """The column with the measure that settings are compared by; asked for where none or several are known."""
        reading, columns = self.reading, self.table.columns
        shapes = (TEST_NAMES, VALIDATION_NAMES)[:: -1 if reading.evaluated == "validation" else 1]
        names = [[shape.format(name) for name in measures_by_name() for shape in each] for each in shapes]
        known = [self.column("measure")] if reading.measure else []
        known = known or self.called(names[0]) or self.called(names[1])
        if not reading.evaluated and any(re.match(r"(eval|val|validation)(_|$)", known_name(name)) for name in known):
            were = f"{columns_text(known)} {'were' if len(known) > 1 else 'was'} measured"
            text = f"On which part {were} is not known: on a test part, by which nothing was chosen, or for validation."
            self.ask("evaluated", text, ("test", "validation"))
        if len(known) == 1:
            return known[0]
        text = f"The file has {len(known)} measures, and settings are judged by one."
        if not known:
            taken = {*self.names.values(), reading.validation, *reading.settings}
            filled = {name: list(filter(None, cells)) for name, cells in columns.items() if name not in taken}
            known = [name for name, cells in filled.items() if cells and None not in map(number_in, cells)]
            text = "No column has the name of a known measure."
        if not known:
            raise JudgeError(f"No column of numbers can be the measure: the file has {columns_text(columns)}.")
        self.ask("measure", text, known)
        return ""

    def _validation(self) -> str:
        """The column with the measure on the validation part: the measure itself where it is said to be of it."""
        measure, is_validation = self.names["measure"], self.reading.evaluated == "validation"
        asked = self.column("validation") if self.reading.validation else ""
        if asked and measure and (asked == measure) is not is_validation:
            raise JudgeError(
                f"Measure is {printable(measure, 40)!r} and Validation is {printable(asked, 40)!r}: name two different "
                "columns and leave Evaluated on empty, or one as Measure and say with Evaluated on which part it is of."
            )
        names = ("validation", *(shape.format(measure_name(measure)) for shape in VALIDATION_NAMES))
        others = [name for name in self.called(names) if name != measure]
        return asked or (measure if is_validation else next(iter(others), ""))

    def _scale(self) -> Scale | None:
        """What the values of the measure mean; None where something has to be asked first."""
        column, reading = self.names["measure"], self.reading
        name, shown = measure_name(column), printable(column, MAX_MEASURE)
        read = (self.number(name, at) for name in ("measure", "validation") for at in range(len(self.table)))
        values = {value for value in read if value is not None}
        if not values:
            raise JudgeError(f"The column {printable(column)!r} has no numbers: no run has a result.")
        known, low, high = measures_by_name().get(name), min(values), max(values)
        is_share, is_percentage = 0 <= low <= high <= 1, 0 <= low <= high <= PERCENT
        unit: str = reading.unit or ("plain" if known is not None and known.unit != "%" else "")
        if not unit and known is not None and not values <= {0.0, 1.0}:
            unit = "fraction" if is_share else "%"
        if not unit:
            fits = ("%", "fraction", "plain") if is_share else ("%", "plain") if is_percentage else ("plain",)
            self.ask("unit", f"{shown} lies between {low:g} and {high:g}, and its unit is not known.", fits)
        if not {"fraction": is_share, "%": is_percentage}.get(unit, True):
            what = "fraction of 1" if unit == "fraction" else "percentage"
            raise JudgeError(f"{shown} lies between {low:g} and {high:g}, which is no {what}.")
        better = reading.better or (known and ("higher" if known.higher_is_better else "lower"))
        if not better:
            text = f"Whether higher or lower values of {shown} are better is not known."
            self.ask("better", text, ("higher", "lower"))
        within = reading.within if reading.within is not None or known is None else known.margin
        if within is None:
            text = f"The margin of {shown} is not known: how much worse than the reference is still good enough."
            self.ask("within", text)
        if not unit or not better or within is None:
            return None
        if unit != "plain" and within > PERCENT:
            raise JudgeError(f"The margin is in points, and at most {PERCENT:g}, not {within:g}.")
        part = reading.evaluated or TEST
        title = known.title if known is not None else plain(column)[:MAX_MEASURE]
        title = title if part == TEST else f"Validation {known.noun if known is not None else name}"
        factor = PERCENT if unit == "fraction" else 1.0
        return Scale(name, title, "" if unit == "plain" else "%", better == "higher", within, part, factor)

    def text(self, name: str, at: int) -> str:
        """A cell by what it holds; empty for what the table has not."""
        return self.table.columns[self.names[name]][at] if self.names[name] else ""

    def number(self, name: str, at: int) -> float | None:
        """A number in a cell; None for an empty one and for what is no finite number, as of a run that diverged."""
        text = self.text(name, at)
        if text.lower() in NOTHING:
            return None
        if (value := number_in(text)) is None:
            hint = ": write a point for the decimals" if re.fullmatch(r"-?\d+,\d+", text) else ""
            raise self._wrong(name, at, f"no number{hint}")
        return value if math.isfinite(value) else None

    def _whole(self, name: str, at: int, low: int, high: int) -> int | None:
        value = self.number(name, at)
        if value is not None and not (value == int(value) and low <= value <= high):
            raise self._wrong(name, at, f"no whole number from {low} to {high:,}")
        return None if value is None else int(value)

    def _wrong(self, name: str, at: int, what: str) -> JudgeError:
        shown, column = printable(self.text(name, at), 40), printable(self.names[name])
        return JudgeError(f"{self.table.where(at)}: {shown!r} in the column {column!r} is {what}.")

    def lines(self) -> list[Line]:
        """Every row of the table. Seeds are below 0 where their cells are empty."""
        return list(map(self._line, range(len(self.table))))

    def _line(self, at: int) -> Line:
        method, rate = self.text("method", at), self.number("learning_rate", at)
        if len(method) > MAX_METHOD:
            raise self._wrong("method", at, f"more than {MAX_METHOD} characters: shorten it")
        if rate is not None and not rate > 0:
            raise self._wrong("learning_rate", at, "no learning rate above 0")
        state = STATES.get(self.text("state", at).lower())
        if state is None:
            raise self._wrong("state", at, "not known: say finished, failed or stopped")
        seed = self._whole("seed", at, 0, 2**63 - 1)
        if seed is None and self.names["seed"] and state != "finished":
            raise self._wrong("seed", at, "no seed of a run that did not finish")
        measured = [number_in(self.text(name, at)) for name in ("measure", "validation")]
        if state == "finished" and any(value is not None and not math.isfinite(value) for value in measured):
            state = "failed"
            where = self.table.where(at)
            self.notes.append(f"{where} has a measure that is no finite number and counts as a run that failed.")
        cells = {name: self.table.columns[name][at] for name in self.settings}
        kind, cause, order = KINDS.get(method.lower(), method), self.text("cause", at), self.number("epoch", at)
        return Line(
            run=self.text("run", at),
            method=plain(kind) if kind else "",
            seed=-1 - at if seed is None else seed,
            rank=self._whole("rank", at, 1, 10**6) if has_rank(self.text("rank", at)) else None,
            alpha=self.number("alpha", at) or None,
            learning_rate=rate,
            settings={plain(name): plain(cell)[:MAX_METHOD] for name, cell in cells.items() if cell},
            epochs=self._whole("epochs", at, 1, MAX_EPOCHS),
            patience=self._whole("patience", at, 0, MAX_EPOCHS) or 0,
            decay=self.text("decay", at),
            state=state,
            cause=plain(cause)[:400] if cause else "",
            archived=self.text("archived", at).lower() == "true",
            validation=self.number("validation", at),
            value=self.number("measure", at),
            trained=self._whole("trainable_parameters", at, 0, 10**15),
            steps=self._whole("steps", at, 0, 10**12),
            accuracy=None if self.names["measure"] == ACCURACY.name else self.number(ACCURACY.name, at),
            largest_class=self.number("largest_class", at),
            at=at,
            epoch=math.nan if order is None else order,
            part=self.text("part", at),
        )
