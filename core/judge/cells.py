"""One row of a table of results: its cells as values of a run."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from core.errors import JudgeError, printable
from core.judge.grouping import MAX_EPOCHS, Cells, Reported, RowState, trend_of
from core.judge.reading import Open, Reading
from core.judge.table import Table, number_in
from core.methods.registry import METHODS
from core.objectives.classification import ACCURACY
from core.run_spec import OptimSpec
from core.spec import Spec

MAX_METHOD = 120
"""Maximum number of characters of the name of a method, and of a value of a further setting."""

_OWN = {"kind", "rank", "alpha", "learning_rate", "epochs", "patience", "decay"}

_SPECS: tuple[type[Spec], ...] = (*METHODS, OptimSpec)

SETTINGS = tuple(
    dict.fromkeys(["layers", *(name for spec in _SPECS for name in spec.model_fields if name not in _OWN)])
)
"""Columns that tell settings apart: those that are called as fields of methods and of their training are here."""

STATES: dict[str, RowState] = {
    "": "finished",
    "finished": "finished",
    "completed": "finished",
    "success": "finished",
    **dict.fromkeys(("failed", "crashed", "error"), "failed"),
    **dict.fromkeys(("stopped", "killed", "preempted", "preempting"), "stopped"),
    **dict.fromkeys(("running", "pending", "queued", "scheduled"), "stopped"),
}
"""What becomes of a run, by what trackers call it; one that is under way counts as stopped."""

KINDS = {name.lower(): method.name() for method in METHODS for name in (method.name(), method.short, method.title)}
"""Kinds of methods of this lab, by all that they are called, in small letters."""


NOTHING = ("", "none", "null", "na", "n/a", "-", "–")
"""What trackers write into cells without a value."""


@dataclass(frozen=True)
class Names:
    """Columns of a table by what they hold; empty for what it has not."""

    method: str = ""
    rank: str = ""
    alpha: str = ""
    learning_rate: str = ""
    seed: str = ""
    measure: str = ""
    validation: str = ""
    epoch: str = ""
    part: str = ""
    run: str = ""
    state: str = ""


def cells_of(table: Table, place: int, reading: Reading, names: Names, found: Open) -> Cells:
    """Read one row.

    Args:
        table: has it.
        place: of the row.
        reading: how columns are read.
        names: of the columns.
        found: takes questions and notes.

    Raises:
        JudgeError: a cell does not hold what it has to.
    """
    where = table.where(place)

    def text(column: str) -> str:
        return table.columns[column][place] if column in table.columns else ""

    def number(column: str) -> float | None:
        return _checked_number(text(column), column, where)

    def whole(column: str, low: int, high: int) -> int | None:
        value = number(column)
        if value is not None and not (value == int(value) and low <= value <= high):
            raise JudgeError(
                f"{where}: {printable(text(column), 40)!r} in the column {printable(column)!r} is no whole number from "
                f"{low} to {high:,}."
            )
        return None if value is None else int(value)

    run = text(names.run) or text("folder")
    method = text(names.method)
    if len(method) > MAX_METHOD:
        raise JudgeError(f"{where}: the method has more than {MAX_METHOD} characters: shorten its name.")
    seed = whole(names.seed, 0, 2**63 - 1)
    rate = number(names.learning_rate)
    if rate is None and reading.rate_pattern:
        rate = _after(run, reading.rate_pattern, where)
    if rate is not None and not rate > 0:
        raise JudgeError(f"{where}: a learning rate is above 0, not {rate:g}.")
    state = STATES.get(text(names.state).lower())
    if state is None:
        raise JudgeError(
            f"{where}: the state {printable(text(names.state), 40)!r} is not known: say finished, failed or stopped."
        )
    if seed is None and names.seed and state == "finished" and not (reading.seed_pattern or reading.unseeded):
        seed = -1 - place  # no seed: the run is left out
    elif seed is None:
        seed = _seed(run, reading, found, names, where)
    known = {plain(name): plain(text(name))[:MAX_METHOD] for name in (*SETTINGS, *reading.settings) if text(name)}
    kind = KINDS.get(method.lower(), method)
    value = number(names.measure)
    if any(_is_broken(text(column)) for column in (names.measure, names.validation)) and state == "finished":
        state = "failed"
        found.notes.append(f"{where} has a measure that is no finite number and counts as a run that failed.")
    return Cells(
        Reported(
            run=run,
            method=plain(kind) if kind else "",
            seed=seed,
            rank=whole(names.rank, 1, 10**6) if has_rank(text(names.rank)) else None,
            alpha=number(names.alpha) or None,
            learning_rate=rate,
            settings=known,
            epochs=whole("epochs", 1, MAX_EPOCHS),
            patience=whole("patience", 0, MAX_EPOCHS) or 0,
            decay=text("decay") or text("lr_scheduler_type"),
            state=state,
            cause=plain(text("cause"))[:400] if text("cause") else "",
            archived=text("archived").lower() == "true",
            validation=number(names.validation),
            value=value,
            trend=trend_of(table.curves.get(run, {}).get(names.validation, {})),
            trained=whole("trainable_parameters", 0, 10**15),
            steps=whole("steps", 0, 10**12),
            accuracy=None if names.measure == ACCURACY.name else number(ACCURACY.name),
            largest_class=number("largest_class"),
        ),
        where,
        order if (order := number(names.epoch)) is not None else math.nan,
        text(names.part),
        place,
    )


def _seed(run: str, reading: Reading, found: Open, names: Names, where: str) -> int:
    """The seed of a run whose row has none: from its name, if somebody has confirmed the pattern."""
    if reading.seed_pattern:
        seed = _after(run, reading.seed_pattern, where)
        if seed != int(seed) or not 0 <= seed < 2**63:
            raise JudgeError(f"{where}: the seed in {printable(run)!r} is no whole number from 0 on.")
        return int(seed)
    if reading.unseeded:
        return 0
    if names.seed:
        raise JudgeError(f"{where} has no seed in the column {printable(names.seed)!r}.")
    if run and re.search(r"\d", run):
        text = (
            f"No column has seeds; runs are called as in {printable(run, 60)!r}. Say what stands before the seed there."
        )
        found.ask("seed_pattern", text)
        return 0
    text = (
        "No column has seeds. Say “one” if every setting has one run, all with one seed, or “order” if the first rows "
        "of all settings share a seed, and so do the second ones, and so on"
    )
    found.ask("unseeded", f"{text}.", ("one", "order"))
    return 0


def has_rank(cell: str) -> bool:
    """Whether a cell of a column of ranks has one: that of full fine-tuning is empty, 0 or nan."""
    value = number_in(cell)
    return cell.lower() not in (*NOTHING, "full") if value is None else value != 0 and not math.isnan(value)


NUMBER = r"[-_=]?([0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?)"


def _after(run: str, pattern: str, where: str) -> float:
    """The number that follows a text in the name of a run. Raises: JudgeError: there is none, or more than one."""
    numbers = re.findall(re.escape(pattern) + NUMBER, run[:1000], re.IGNORECASE)
    if len(set(numbers)) != 1:
        many = "no number follows" if not numbers else "several numbers follow"
        raise JudgeError(f"{where}: in {printable(run)!r} {many} {printable(pattern)!r}.")
    return float(numbers[0])


BRACKETS = str.maketrans("<>", "‹›")
"""What angle brackets in names are shown as: figures would take them for marks of their own."""


def plain(text: str) -> str:
    """A name from a table as pages, figures and reports show it: one line, printable, without angle brackets."""
    return " ".join("".join(filter(str.isprintable, text)).split()).translate(BRACKETS) or "?"


def _is_broken(text: str) -> bool:
    """Whether a cell is a number that is not finite, as where training diverged."""
    value = number_in(text)
    return value is not None and not math.isfinite(value)


def _checked_number(text: str, column: str, where: str) -> float | None:
    """A number in a cell; None for an empty one and for what is no finite number, as of a run that diverged."""
    if text.lower() in NOTHING:
        return None
    value = number_in(text)
    if value is None:
        hint = ": write a point for the decimals" if re.fullmatch(r"-?\d+,\d+", text) else ""
        raise JudgeError(f"{where}: {printable(text, 40)!r} in the column {printable(column)!r} is no number{hint}.")
    return value if math.isfinite(value) else None
