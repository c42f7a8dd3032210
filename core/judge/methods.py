"""Methods of runs where no column names them: told by their ranks, or by one answer for all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from core.errors import printable
from core.judge.cells import KINDS, has_rank
from core.judge.reading import KNOWN, Open, Reading, column_of, known_name
from core.judge.table import Table, number_in
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec

METHODS = KINDS | {name: name for name in ("qlora", "rslora", "adalora", "vera", "ia3", "oft", "boft", "loha", "lokr")}
"""Methods by the words that they are known by in names."""

NO_METHOD = {*KNOWN["run"], "folder", "state", "status", "experiment", "part", "user", "tags", "created", "notes"}
"""Names of columns that trackers write and that are never a method."""


def kinds_in(name: str) -> set[str]:
    """The methods among the words of a name."""
    return {METHODS[word] for word in re.split(r"[^a-z0-9]+", name.lower()) if word in METHODS}


def by_rank(table: Table, reading: Reading) -> list[str]:
    """The method of each row: LoRA with a rank, full fine-tuning without. Empty where no row has a rank."""
    ranked = list(map(has_rank, table.columns.get(column_of(table, reading, "rank"), ())))
    return [LoRASpec.name() if each else FullSpec.name() for each in ranked] if any(ranked) else []


def of_one_method(table: Table, reading: Reading) -> Table:
    """A table with a column of the method that the reading says for all of its runs, if it does."""
    asked = reading.method
    if asked in table.columns or asked.lower() not in METHODS:
        return table
    return replace(table, columns=table.columns | {asked: [asked] * len(table)})


def with_methods(table: Table, reading: Reading, found: Open) -> Table:
    """A table with a column of methods; where nothing tells them, ``found`` gets the question."""
    if column_of(table, reading, "method"):
        return table
    if (cells := by_rank(table, reading)) and not any(_differ(each, cells) for each in table.columns.values()):
        full, shown = cells.count(FullSpec.name()), printable(column_of(table, reading, "rank"), 40)
        without = f", and {full:,} without as full fine-tuning" if full else ""
        found.notes.append(f"{len(cells) - full:,} rows with a rank in {shown!r} count as LoRA{without}.")
        return replace(table, columns=table.columns | {"method": cells})
    text = "No column says the method. Choose the one that does, or full or lora if all runs are of one method."
    columns = [name for name, cells in table.columns.items() if _can_be_method(name, cells)]
    found.ask("method", text, [*columns, FullSpec.name(), LoRASpec.name()])
    return table


def _differ(words: Sequence[str], methods: Sequence[str]) -> bool:
    """Whether a column names several methods, and another one than this for some row."""
    kinds = list(map(kinds_in, words))
    several = len(set[str]().union(*kinds)) > 1
    return several and any(kind and kind != {method} for kind, method in zip(kinds, methods, strict=True))


def _can_be_method(name: str, cells: Sequence[str]) -> bool:
    """Whether a column may have methods: a few words that come again, and no paths or names of runs."""
    values = set(filter(None, cells))
    if known_name(name) in NO_METHOD or any(number_in(each) is not None or "/" in each for each in values):
        return False
    return 1 < len(values) <= len(cells) / 2 or (bool(values) and all(map(kinds_in, values)))
