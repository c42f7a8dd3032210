"""Settings in the names of runs and folders, as people write them there for W&B and the Trainer.

>>> settings_in("lora-lr0.001-r8-seed3")
{'method': 'lora', 'rank': '8', 'learning_rate': '0.001', 'seed': '3'}
>>> settings_in("full_lr3e-4_s1")
{'method': 'full', 'learning_rate': '3e-4', 'seed': '1'}
>>> settings_in("gaudy-sow-371")
{}
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from core.errors import printable
from core.judge.methods import by_rank, kinds_in
from core.judge.reading import KNOWN, Open, Reading, column_of, known_name
from core.judge.table import Table
from core.methods.full import FullSpec
from core.numbers import listed

MAX_LOOKED_AT = 1000
"""Maximum number of characters of a name that are looked at."""

SHORT: dict[str, tuple[str, ...]] = {"alpha": ("a",), "seed": ("s",), "epochs": ("epochs", "epoch", "ep")}
"""What stands before a setting in names only, besides the names of its column."""

NUMBERS = {
    "rank": r"[1-9]\d{0,5}",
    "alpha": r"\d{1,9}(?:\.\d+)?",
    "learning_rate": r"(?:\d{1,9}(?:\.\d+)?|\.\d+)(?:e[-+]?\d{1,3})?",
    "seed": r"\d{1,18}",
    "epochs": r"[1-9]\d{0,3}",
}
"""Settings, and the pattern of their values: such that no value is out of the bounds of its column."""


def _pattern(name: str) -> re.Pattern[str]:
    words = sorted({*KNOWN.get(name, ()), *SHORT.get(name, ())}, key=len, reverse=True)
    known = "|".join(word.replace("_", "[ _.-]?") for word in words)
    return re.compile(rf"(?<![a-z0-9])(?:{known})[ _=:-]{{0,2}}({NUMBERS[name]})(?![a-z0-9]|\.\d)")


PATTERNS = {name: _pattern(name) for name in NUMBERS}


def settings_in(run: str) -> dict[str, str]:
    """The settings in the name of a run, as texts; without those that it has twice, with different values."""
    name = run[:MAX_LOOKED_AT].lower()
    found = {"method": kinds_in(name)} | {setting: set(pattern.findall(name)) for setting, pattern in PATTERNS.items()}
    single = {setting: values.pop() for setting, values in found.items() if len(values) == 1}
    if "learning_rate" in single and not 0 < float(single["learning_rate"]) < math.inf:
        del single["learning_rate"]
    return single


def with_settings(table: Table, reading: Reading, found: Open) -> Table:
    """A table with a column for each setting that only the names of its runs have.

    Unless the reading says so already, ``found`` gets the question whether they are to be read. A column of the table
    is always taken instead of names. Methods are read if every name has one, because a run without one has no setting.

    Args:
        table: its column of runs, or of folders, has the names.
        reading: names columns, and answers the question.
        found: takes the question, and notes on names without a setting that others have.
    """
    names = table.columns.get(column_of(table, reading, "run") or "folder", [])
    if reading.in_names == "ignore" or not any(names):
        return table
    by_name = {name: settings_in(name) for name in dict.fromkeys(names)}
    told, columns = _told(table, reading), dict[str, list[str]]()
    for setting in (name for name in ("method", *NUMBERS) if name not in told):
        cells = [by_name[name].get(setting, "") for name in names]
        if all(cells) if setting == "method" else any(cells):
            columns[setting] = cells
    if not columns or (columns.keys() == {"method"} and columns["method"] == by_rank(table, reading)):
        return table
    lacking = [_lacking(table, names, setting, cells) for setting, cells in columns.items() if not all(cells)]
    lacking = list(filter(None, lacking))
    if not reading.in_names:
        example = max(by_name, key=lambda name: len(by_name[name].keys() & columns.keys()))
        values = listed([f"{_title(name)} {by_name[example][name]}" for name in columns if name in by_name[example]])
        text = f"Only names of runs have some settings: {printable(example, 60)!r} has {values}."
        found.ask("in_names", " ".join([text, *lacking]), ("read", "ignore"))
    found.notes += [f"Names of runs say {listed([*map(_title, columns)])}.", *lacking]
    return replace(table, columns=table.columns | columns)


def _told(table: Table, reading: Reading) -> set[str]:
    """Settings that the table has columns of, or of which the reading says how they are found."""
    told = {name for name in ("method", *NUMBERS) if name != "epochs" and column_of(table, reading, name)}
    told |= {"epochs"} & set(map(known_name, table.columns))
    told |= {"seed"} if reading.seed_pattern or reading.unseeded else set()
    return told | ({"learning_rate"} if reading.rate_pattern else set())


def _title(name: str) -> str:
    return name.replace("_", " ")


def _lacking(table: Table, names: Sequence[str], setting: str, cells: Sequence[str]) -> str:
    """How many names have a setting, and the first that has not; empty where it is a rank or alpha that only full
    fine-tuning lacks, which has none.
    """
    without = {name: row for row, (name, cell) in reversed([*enumerate(zip(names, cells, strict=True))]) if not cell}
    if setting in ("rank", "alpha") and all(kinds_in(name) == {FullSpec.name()} for name in without):
        return ""
    every, (name, row) = len(set(names)), min(without.items(), key=lambda each: each[1])
    first = f"{table.where(row)} has none in {printable(name, 60)!r}"
    return f"{_title(setting).capitalize()} is in {every - len(without):,} of {every:,} names ({first})."
