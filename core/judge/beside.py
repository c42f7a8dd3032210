"""Files beside a table of results: the measure of each test example, the validation part after each epoch, and what an
experiment was planned as.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import msgspec
import numpy as np
import pandas as pd

from core.errors import JudgeError, printable
from core.judge.cells import Reported, trend_of
from core.judge.reading import Reading
from core.judge.table import ABOUT, Table, number_in
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

KEYS = ("method", "rank", "alpha", "learning_rate", "seed")
"""Columns by which the run of an example is found where none is called ``run``."""

TOLERANCE = 0.06
"""By how much the mean over test examples may differ from what is reported, in the measure's unit, and by that share of
it: measures are reported with few decimals."""

MAX_LOOKS = 1000


class About(msgspec.Struct, frozen=True):
    """What an experiment was planned as, from whoever reports it."""

    reading: dict[str, Any] = {}
    """Fields of a :class:`core.judge.reading.Reading`."""
    seeds: tuple[Annotated[int, msgspec.Meta(ge=0)], ...] = ()
    """The planned ones."""
    looks: Annotated[tuple[Any, ...], msgspec.Meta(max_length=MAX_LOOKS)] = ()
    """Looks that were taken, with what they have shown; see :class:`core.store.looks.Look`."""
    searched: bool = False
    """Whether a search found the learning rates."""


def about_of(table: Table) -> About:
    """Read what results are. Raises: JudgeError: something in it is not what it has to be."""
    try:
        found = msgspec.json.decode(table.columns[ABOUT][0], type=About)
        Reading.of(**found.reading)
        return msgspec.structs.replace(found, looks=tuple(map(_look, found.looks)))
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise JudgeError(
            "The file says what results are, but its “reading”, “seeds” or “looks” are not what they have to be: "
            "export it again."
        ) from error


def _look(values: Mapping[str, Any]) -> Look:
    look = look_of(values)
    known = all(each.rule in ("within", "higher", "lower") for each in look.claims or ())
    if not (type(look.seeds) is int and look.seeds > 0 and 0 <= look.level <= 1 and known):
        raise ValueError("a look has a number of seeds, a level, and claims of three kinds")
    return look


def is_beside(table: Table) -> bool:
    """Whether a table has test examples one by one, or values after each epoch, of runs that are in another table."""
    columns = table.columns.keys()
    return _is_each(table) or ({"run", "epoch"} <= columns and not {"method", "setting"} & columns)


def _is_each(table: Table) -> bool:
    return ITEM in table.columns or {EACH, "run"} <= table.columns.keys()


def with_beside(rows: list[Reported], table: Table, scale: Scale) -> tuple[list[Reported], dict[str, Values]]:
    """Rows with what a table beside them says of longer training, or the measure of each test example by run, (n,).

    Raises:
        JudgeError: a cell is no number, an epoch or an example is there twice, a run is not in the table of results,
            runs lack examples, or their mean is not what is reported.
    """
    return (rows, _measures(table, rows, scale)) if _is_each(table) else (_with_curves(rows, table, scale), {})


def _with_curves(rows: Sequence[Reported], table: Table, scale: Scale) -> list[Reported]:
    others = [name for name in table.columns if name not in ("run", "epoch")]
    if not others:
        raise JudgeError("The file with epochs has no column beside run and epoch: add the validation measure.")
    measured_in = next((name for name in others if name.startswith("validation")), others[0])
    curves: dict[str, dict[float, float | None]] = {}
    cells = zip(table.columns["run"], table.columns["epoch"], table.columns[measured_in], strict=True)
    for place, (run, at, measured) in enumerate(cells):
        epoch, value, own = number_in(at), number_in(measured or "nan"), curves.setdefault(run, {})
        if epoch is None or value is None or epoch in own or not math.isfinite(epoch):
            shown = f"{printable(at, 40)!r} or {printable(measured, 40)!r}"
            raise JudgeError(f"{table.where(place)}: {shown} is no number, or the run has that epoch twice.")
        own[epoch] = scale.factor * value if math.isfinite(value) else None
    return [replace(row, trend=trend_of(curves[row.run])) if row.run in curves else row for row in rows]


def _measures(table: Table, rows: Sequence[Reported], scale: Scale) -> dict[str, Values]:
    frame, each = pd.DataFrame(table.columns), EACH in table.columns
    name = next((name for name in (EACH, scale.name, *VALUES) if name in frame), "")
    if not name:
        raise JudgeError(f"The file with test examples has no column {scale.name} and none called {', '.join(VALUES)}.")
    if "run" not in frame:
        frame["run"] = _runs_of(frame, rows)
    lost, twice = frame["run"] == "", frame.duplicated(["run"] if each else ["run", ITEM])
    if (lost | twice).any():
        where = table.where(int((lost | twice).to_numpy().argmax()))
        raise JudgeError(f"{where} is of no single run of the results, or its run has that test example twice.")
    if each:
        texts = {
            run: cell.split() if " " in cell else list(cell)
            for run, cell in zip(frame["run"], frame[EACH], strict=True)
        }
    else:
        wide = frame.pivot(index="run", columns=ITEM, values=name)
        wide = wide.reindex(index=frame["run"].unique(), columns=frame[ITEM].unique())
        if (missing := wide.isna().sum(axis=1)).any():
            lacks = f"{printable(str(missing.idxmax()))!r} lacks {counted(int(missing.max()), 'test example')}"
            raise JudgeError(f"{lacks} that another run has: results are compared on the same ones.")
        texts = dict(zip(wide.index, wide.to_numpy().tolist(), strict=True))
    found = {run: _values(cells, scale, run) for run, cells in texts.items() if cells}
    known = {row.run: row.value for row in rows} | {TRIVIAL: None}
    for run, values in found.items():
        if run not in known:
            raise JudgeError(f"The test examples are of a run {printable(run)!r}, which the results do not have.")
        value, mean = known[run], float(values.mean())
        if value is not None and abs(mean - value) > TOLERANCE * max(1.0, abs(value)):
            raise JudgeError(
                f"The test examples of {printable(run)!r} have a mean of {mean:.4g}, and its result is {value:.4g}: "
                "they are of another run, or the measure is no mean of them."
            )
    return found


def _runs_of(frame: pd.DataFrame, rows: Sequence[Reported]) -> list[str]:
    """The run of each row by some of its values; empty where these tell no single one."""
    frame = frame.rename(columns={"setting": "method"})
    keys = [key for key in KEYS if key in frame]
    if not keys:
        raise JudgeError("The file with test examples does not say of which run: add a column run, or method and seed.")
    runs: dict[tuple[object, ...], str] = {}
    for row in rows:
        key = tuple(_normal(getattr(row, name)) for name in keys)
        runs[key] = "" if key in runs else row.run
    return [runs.get(tuple(map(_normal, cells)), "") for cells in frame[keys].itertuples(index=False)]


def _normal(value: object) -> object:
    """A value as it is compared: numbers alike however they are written, and names whatever their case."""
    text = "" if value is None else str(value).lower()
    number = number_in(text)
    return text if number is None else number


def _values(texts: Sequence[str], scale: Scale, run: str) -> Values:
    words = [text.strip().lower() for text in texts]
    if scale.unit == "%" and {*words} <= RIGHT.keys():
        return np.array([PERCENT * RIGHT[word] for word in words])
    numbers = list(map(number_in, words))
    found = np.array(numbers, float)  # nan where a word is none
    if not len(found) or not np.isfinite(found).all():
        raise JudgeError(f"{printable(run)}: a test example has no finite number, and is neither right nor wrong.")
    return found if scale.factor == 1.0 else found * scale.factor
