"""Files beside a table of results: the measure of each test example, the validation part after each epoch, and what an
experiment was planned as.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.errors import JudgeError, SpecError, printable
from core.judge.grouping import Reported, trend_of
from core.judge.reading import Reading
from core.judge.table import Table, number_in
from core.numbers import counted
from core.objectives.measure import Values
from core.results.scale import PERCENT, Scale
from core.store.looks import Look, look_of

ITEM, EACH, TRIVIAL = "item", "examples", "trivial"
"""Column with the test example of a row; column with those of a run in one cell; name of the run that stands for
answers that need no input."""

VALUES = ("right", "correct", "value", "loss", "score")
"""Names of the column with the measure of one test example, beside that of the measure itself."""

RIGHT = {"true": 1.0, "false": 0.0, "right": 1.0, "wrong": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}
"""What says that an answer is right."""

TOLERANCE = 0.06
"""By how much the mean over test examples may differ from what is reported, in the measure's unit, and by that share of
it: measures are reported with few decimals."""

ABOUT = "lora_lab_results"
"""Key of a JSON object that says what results are, with the version of its format."""

MAX_LOOKS = 1000


def is_each(table: Table) -> bool:
    """Whether a table has test examples one by one."""
    return ITEM in table.columns or (EACH in table.columns and "run" in table.columns)


def is_curves(table: Table) -> bool:
    """Whether a table has values after each epoch, of runs that are in another table."""
    return {"run", "epoch"} <= table.columns.keys() and not {"method", "setting"} & table.columns.keys()


def is_about(table: Table) -> bool:
    """Whether a file says what results are."""
    return len(table.objects) == 1 and ABOUT in table.objects[0]


@dataclass(frozen=True)
class About:
    """What an experiment was planned as, from whoever reports it."""

    reading: dict[str, Any]
    """Fields of a :class:`core.judge.reading.Reading`."""
    seeds: tuple[int, ...] = ()
    """The planned ones."""
    looks: tuple[Look, ...] = ()
    """Looks that were taken, with what they have shown."""
    searched: bool = False
    """Whether a search found the learning rates."""


def about_of(table: Table) -> About:
    """Read what results are. Raises: JudgeError: something in it is not what it has to be."""
    values = table.objects[0]
    wrong = "The file says what results are, but {} is not what it has to be: export it again."
    reading = values.get("reading", {})
    try:
        Reading.of(**reading)
    except (SpecError, TypeError) as error:
        raise JudgeError(wrong.format("“reading”")) from error
    seeds = values.get("seeds", [])
    if not isinstance(seeds, list) or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise JudgeError(wrong.format("“seeds”"))
    looks = values.get("looks", [])
    if not isinstance(looks, list) or len(looks) > MAX_LOOKS or not all(isinstance(look, dict) for look in looks):
        raise JudgeError(wrong.format("“looks”"))
    try:
        return About(reading, tuple(seeds), tuple(_look(look) for look in looks), values.get("searched") is True)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise JudgeError(wrong.format("“looks”")) from error


def _look(values: Mapping[str, Any]) -> Look:
    """A look. Raises: KeyError, TypeError, ValueError: it is none."""
    look = look_of(values)
    known = all(each.rule in ("within", "higher", "lower") for each in look.claims or ())
    if not (type(look.seeds) is int and look.seeds > 0 and 0 <= look.level <= 1 and known):
        raise ValueError("a look has a number of seeds, a level, and claims of three kinds")
    return look


def with_curves(rows: Sequence[Reported], table: Table, scale: Scale) -> list[Reported]:
    """Rows with what their curves say of longer training.

    Raises:
        JudgeError: a cell is no number, or a run has an epoch twice.
    """
    others = [name for name in table.columns if name not in ("run", "epoch")]
    column = next((name for name in others if name.startswith("validation")), others[0] if others else "")
    if not column:
        raise JudgeError("The file with epochs has no column beside run and epoch: add the validation measure.")
    curves: dict[str, dict[float, float | None]] = {}
    for place in range(len(table)):
        epoch = _number(table, "epoch", place)
        own = curves.setdefault(table.columns["run"][place], {})
        if epoch in own or not math.isfinite(epoch):
            raise JudgeError(f"{table.where(place)}: its run has that epoch twice, or it is no epoch.")
        value = _number(table, column, place) if table.columns[column][place] else math.nan
        own[epoch] = scale.factor * value if math.isfinite(value) else None
    return [replace(row, trend=trend_of(curves[row.run])) if row.run in curves else row for row in rows]


def _number(table: Table, column: str, place: int) -> float:
    text = table.columns[column][place]
    if (number := number_in(text)) is None:
        where = table.where(place)
        raise JudgeError(f"{where}: {printable(text, 40)!r} in the column {printable(column)!r} is no number.")
    return number


def measures_of(table: Table, rows: Sequence[Reported], scale: Scale) -> dict[str, Values]:
    """The measure of each test example, (n,), by run, in the unit of the measure; all runs have the same examples.

    Args:
        table: one row for each run and example, or one for each run with all in one cell.
        rows: the runs.
        scale: of the measure.

    Raises:
        JudgeError: a run is not in the table of results, examples differ between runs, or their mean is not what is
            reported.
    """
    found = _in_cells(table, scale) if EACH in table.columns else _in_rows(table, rows, scale)
    known = {row.run: row for row in rows}
    for run, each in found.items():
        if run == TRIVIAL:
            continue
        if run not in known:
            raise JudgeError(f"The test examples are of a run {printable(run)!r}, which the results do not have.")
        value, mean = known[run].value, float(each.mean())
        if value is not None and abs(mean - value) > TOLERANCE * max(1.0, abs(value)):
            raise JudgeError(
                f"The test examples of {printable(run)!r} have a mean of {mean:.4g}, and its result is {value:.4g}: "
                "they are of another run, or the measure is no mean of them."
            )
    if len({len(each) for each in found.values()}) > 1:
        sizes = sorted({len(each) for each in found.values()})
        raise JudgeError(
            f"Some runs have {sizes[0]:,} test examples and others {sizes[-1]:,}: results are compared on the same "
            "ones."
        )
    return found


def _in_cells(table: Table, scale: Scale) -> dict[str, Values]:
    found: dict[str, Values] = {}
    for place, (run, cell) in enumerate(zip(table.columns["run"], table.columns[EACH], strict=True)):
        if not cell:
            continue
        if run in found:
            raise JudgeError(f"{table.where(place)}: the run {printable(run)!r} has test examples twice.")
        words = cell.split() if " " in cell else list(cell)
        found[run] = _values(words, scale, table.where(place))
    return found


KEYS = ("method", "setting", "rank", "alpha", "learning_rate", "seed")
"""Columns by which the run of an example is found where none is called ``run``."""


def _in_rows(table: Table, rows: Sequence[Reported], scale: Scale) -> dict[str, Values]:
    name = next((name for name in (scale.name, *VALUES) if name in table.columns), "")
    if not name:
        raise JudgeError(f"The file with test examples has no column {scale.name} and none called {', '.join(VALUES)}.")
    keys = ["run"] if "run" in table.columns else [key for key in KEYS if key in table.columns]
    if not keys:
        raise JudgeError("The file with test examples does not say of which run: add a column run, or method and seed.")
    runs = {} if keys == ["run"] else _by_keys(keys, rows)
    items: dict[str, dict[str, str]] = {}
    for place in range(len(table)):
        if keys == ["run"]:
            run = table.columns["run"][place]
        else:
            run = runs.get(tuple(_normal(table.columns[each][place]) for each in keys), "")
        if not run:
            raise JudgeError(f"{table.where(place)} is of no single run of the results: add a column run to both.")
        own = items.setdefault(run, {})
        item = table.columns[ITEM][place]
        if item in own:
            raise JudgeError(f"{table.where(place)}: the run has the test example {printable(item, 40)!r} twice.")
        own[item] = table.columns[name][place]
    order = list(next(iter(items.values())))
    for run, own in items.items():
        if own.keys() != set(order):
            missing = len(set(order) ^ own.keys())
            raise JudgeError(
                f"{printable(run)!r} differs from another run in {counted(missing, 'test example')}: results are "
                "compared on the same ones."
            )
    return {run: _values([own[item] for item in order], scale, printable(run)) for run, own in items.items()}


def _by_keys(keys: Sequence[str], rows: Sequence[Reported]) -> dict[tuple[str, ...], str]:
    """Names of runs by some of their values, of those that these tell apart."""
    found: dict[tuple[str, ...], str] = {}
    for row in rows:
        values = {"method": row.method, "setting": row.method, "rank": row.rank, "alpha": row.alpha, "seed": row.seed}
        values["learning_rate"] = row.learning_rate
        key = tuple(_normal("" if values[each] is None else str(values[each])) for each in keys)
        found[key] = "" if key in found else row.run
    return found


def _normal(text: str) -> str:
    """A cell as it is compared: numbers alike however they are written, and names whatever their case."""
    number = number_in(text)
    return text.lower() if number is None else repr(number)


def _values(words: Iterable[str], scale: Scale, where: str) -> Values:
    texts = [word.strip().lower() for word in words]
    try:
        if scale.unit == "%" and {*texts} <= RIGHT.keys():
            return np.array([PERCENT * RIGHT[text] for text in texts])
        found = np.array([float(text) for text in texts])
    except ValueError as error:
        raise JudgeError(f"{where}: a test example has no number, and is neither right nor wrong.") from error
    if not len(found) or not np.isfinite(found).all():
        raise JudgeError(f"{where}: a test example has no finite number.")
    return found if scale.factor == 1.0 else found * scale.factor
