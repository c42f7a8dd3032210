"""How a table of results is read: which column is what, and the answers to what a table leaves open."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from core.errors import JudgeError, printable
from core.judge.table import Table, number_in
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.registry import METHODS
from core.numbers import listed
from core.spec import Spec, bounds

MAX_COLUMN = 200
"""Maximum number of characters of the name of a column, or of a value that is looked for in one."""

MAX_NAMED = 12
"""Maximum number of columns that a sentence names."""


def _field(title: str, description: str, default: Any = "", **bounds: Any) -> Any:
    """A field; one without bounds has the name of a column, or a value in one."""
    return Field(default, title=title, description=description, **(bounds or {"max_length": MAX_COLUMN}))


class Reading(Spec):
    """Names of columns, empty for those that have a known name or are not there, and answers, empty where none is
    needed. Title and description of each field are those of its option and of its field on the page.
    """

    method: str = _field(
        "Method", "Column with the method or setting of each run; full or lora where all runs are of one method."
    )
    rank: str = _field("Rank", "Column with the rank.")
    alpha: str = _field("Alpha", "Column with alpha.")
    learning_rate: str = _field("Learning rate", "Column with the learning rate.")
    seed: str = _field("Seed", "Column with the seed of each run.")
    measure: str = _field("Measure", "Column with the measure on the test part, by which settings are compared.")
    validation: str = _field(
        "Validation", "Column with the same measure on the validation part, by which settings are chosen."
    )
    epoch: str = _field("Epoch or step", "Column with the epoch or step of each row.")
    part: str = _field("Part", "Column that says of which part of the data a row is.")
    run: str = _field("Run", "Column with a name for each run.")
    settings: tuple[str, ...] = _field(
        "Further settings", "Columns that tell settings apart, such as layers.", (), max_length=40
    )
    only: str = _field(
        "Only rows with",
        "A column and its value, as in model=llama-8b: all other rows are left out.",
        max_length=2 * MAX_COLUMN,
    )
    test: str = _field("Test part", "Value of the part that is the test part.")
    chosen_by: str = _field("Validation part", "Value of the part that is the validation part.")
    take: Literal["", "last", "best"] = _field(
        "Epoch taken", "Of a run with several epochs: the last one, or that which is best on the validation part."
    )
    repeated: Literal["", "first", "last"] = _field(
        "Repeated runs", "Which row counts where a setting has several with one seed."
    )
    unseeded: Literal["", "one", "order"] = _field(
        "Without seeds",
        "Where no column has seeds: one run for each setting, all with one seed; or the rows of each setting in "
        "order, where the first ones share a seed, and so on.",
    )
    in_names: Literal["", "read", "ignore"] = _field(
        "Settings in names",
        "Of names of runs or folders such as lora-lr0.001-r8-seed3, where no column has these settings.",
    )
    seed_pattern: str = _field(
        "Seed in names", "What stands before the seed in the name of a run or folder, as in seed for lora-seed3."
    )
    rate_pattern: str = _field(
        "Learning rate in names",
        "What stands before the learning rate in the name of a run or folder, as in lr for lora-lr0.001.",
    )
    reference: str = _field("Reference", "The method that the others are compared with.")
    evaluated: Literal["", "test", "validation"] = _field(
        "Evaluated on", "Whether the measure is of a test part or of the validation part."
    )
    unit: Literal["", "%", "fraction", "plain"] = _field(
        "Unit", "Of the measure: percent, a fraction of 1 that is shown in percent, or a plain number."
    )
    better: Literal["", "higher", "lower"] = _field("Better", "Whether higher or lower is better.")
    within: float | None = _field(
        "Margin", "How much worse than the reference a setting may be and still be good enough.", None, ge=0
    )
    examples: int | None = _field(
        "Test examples", "Number of test examples, where no file has them singly.", None, ge=2, le=10**9
    )
    noun: str = _field(
        "Called", "What one test example is called, as in question.", max_length=30, pattern=r"^[A-Za-z-]*$"
    )


COLUMNS = ("method", "rank", "alpha", "learning_rate", "seed", "measure", "validation", "epoch", "part", "run")
"""Fields of a :class:`Reading` that name columns."""

KNOWN: dict[str, tuple[str, ...]] = {
    "method": ("method", "setting"),
    "rank": ("rank", "r", "lora_r", "lora_rank"),
    "alpha": ("alpha", "lora_alpha"),
    "learning_rate": ("learning_rate", "lr"),
    "seed": ("seed", "random_seed"),
    "measure": (),
    "epoch": ("epoch", "step"),
    "run": ("run", "run_name", "name", "output_dir", "folder"),
    "state": ("state", "status"),
    "decay": ("decay", "lr_scheduler_type"),
}
"""Names by which columns are known, as trainers write them, where they are not the name of the field alone."""

TEST_NAMES = ("{}", "test_{}", "predict_{}")
VALIDATION_NAMES = ("validation_{}", "val_{}", "eval_{}")
"""Names of the columns of a measure on the test part and on the validation part."""

GROUPS = r"^(config|params|metrics|summary|args|hyperparameters)[./]"
"""Pattern of what trackers write before the name of a setting or a measure."""

MAX_MEASURE = 60
"""Maximum number of characters of the name of a measure."""


def known_name(column: str) -> str:
    """The name of a column as known ones are written: without its group, in lower case, with underscores."""
    bare = re.sub(GROUPS, "", re.sub(r"\s*\(last\)$", "", column.strip().lower()))
    return re.sub(r"[\s/.-]+", "_", bare)


def measure_name(column: str) -> str:
    """The name of a measure from that of its column, without the part that it is of."""
    bare = re.sub(r"^(test|eval|predict|validation|val)_", "", known_name(column))
    return re.sub(r"[^a-z0-9]+", "_", bare).strip("_")[:MAX_MEASURE] or "measure"


def called(table: Table, names: Iterable[str]) -> list[str]:
    """The columns of a table that have some known names, in the order of these names."""
    by_name = {known_name(column): column for column in reversed(table.columns)}
    return [by_name[name] for name in names if name in by_name]


def column_of(table: Table, reading: Reading, name: str) -> str:
    """The column of a table that a field names, or that has a known name; empty where there is none.

    Raises:
        JudgeError: the table has no such column.
    """
    if asked := str(getattr(reading, name, "")):
        return checked(table, asked, name)
    return next(iter(called(table, KNOWN.get(name, (name,)))), "")


def checked(table: Table, column: str, field: str) -> str:
    """A column that a table has. Raises: JudgeError: it has none; the message names the field that asked for it."""
    if column in table.columns:
        return column
    title, there = bounds(Reading, field).title, columns_text(table.columns)
    raise JudgeError(f"{title}: there is no column {printable(column)!r}; the file has {there}.")


def columns_text(names: Iterable[str], most: int = 40) -> str:
    """Names of columns in a sentence, the first ones of many. Args: most: characters of a name that are shown."""
    every = list(names)
    more = [f"{len(every) - MAX_NAMED:,} more"] * (len(every) > MAX_NAMED)
    return listed([*(repr(printable(name, most)) for name in every[:MAX_NAMED]), *more])


MAX_OFFERED = 200
"""Maximum number of answers to choose from."""

MAX_SHOWN = 160
"""Maximum number of characters of an answer to choose."""


@dataclass(frozen=True)
class Question:
    """A question about a table, which a field of the reading answers."""

    field: str
    """Name of the field of :class:`Reading`."""
    text: str
    """One sentence: what does not fit, and what has to be said."""
    options: tuple[str, ...] = ()
    """Answers to choose from; empty for a free text."""

    @property
    def sentence(self) -> str:
        """The question for a terminal, with the option that answers it."""
        choose = f" with one of {columns_text(self.options, MAX_SHOWN)}" if self.options else ""
        return f"{self.text} Say --{self.field.replace('_', '-')}{choose}."


@dataclass
class Open:
    """What a table leaves open, and what was assumed or left out of it."""

    questions: list[Question] = field(default_factory=list)
    """Nothing is judged while there are any."""
    notes: list[str] = field(default_factory=list)
    """A sentence each."""

    def ask(self, name: str, text: str, options: Iterable[str] = ()) -> None:
        """Add a question; of one field only the first, and of very many answers the first ones."""
        given = tuple(options)
        if len(given) > MAX_OFFERED:
            text += f" The first {MAX_OFFERED} of {len(given):,} answers are offered; others can be typed."
        if all(question.field != name for question in self.questions):
            self.questions.append(Question(name, text, given[:MAX_OFFERED]))


MAX_LOOKED_AT = 1000
"""Maximum number of characters of a name that are looked at."""

KINDS = {name.lower(): method.name() for method in METHODS for name in (method.name(), method.short, method.title)}
"""Kinds of methods of this lab, by all that they are called, in small letters."""

WORDS = KINDS | {name: name for name in ("qlora", "rslora", "adalora", "vera", "ia3", "oft", "boft", "loha", "lokr")}
"""Methods by the words that they are known by in names."""

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

AFTER = r"[-_=]?([0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?)"
"""Pattern of a number behind what somebody says stands before it."""

NOTHING = ("", "none", "null", "na", "n/a", "-", "–")
"""What trackers write into cells without a value."""


def has_rank(cell: str) -> bool:
    """Whether a cell of a column of ranks has one: that of full fine-tuning is empty, 0 or nan."""
    value = number_in(cell)
    return cell.lower() not in (*NOTHING, "full") if value is None else value != 0 and not math.isnan(value)


def kinds_in(name: str) -> set[str]:
    """The methods among the words of a name."""
    return {WORDS[word] for word in re.split(r"[^a-z0-9]+", name.lower()) if word in WORDS}


def _pattern(name: str) -> re.Pattern[str]:
    words = sorted({*KNOWN.get(name, ()), *SHORT.get(name, ())}, key=len, reverse=True)
    known = "|".join(word.replace("_", "[ _.-]?") for word in words)
    return re.compile(rf"(?<![a-z0-9])(?:{known})[ _=:-]{{0,2}}({NUMBERS[name]})(?![a-z0-9]|\.\d)")


PATTERNS = {name: _pattern(name) for name in NUMBERS}


def settings_in(run: str) -> dict[str, str]:
    """The settings in the name of a run, as texts; without those that it has twice, with different values.

    >>> settings_in("lora-lr0.001-r8-seed3")
    {'method': 'lora', 'rank': '8', 'learning_rate': '0.001', 'seed': '3'}
    """
    name = run[:MAX_LOOKED_AT].lower()
    found = {"method": kinds_in(name)} | {setting: set(pattern.findall(name)) for setting, pattern in PATTERNS.items()}
    single = {setting: values.pop() for setting, values in found.items() if len(values) == 1}
    if "learning_rate" in single and not 0 < float(single["learning_rate"]) < math.inf:
        del single["learning_rate"]
    return single


def completed(table: Table, reading: Reading, found: Open) -> Table:
    """A table with columns of what the reading, the names of its runs or their ranks say.

    A column of the table is always taken instead. ``found`` gets the questions, and notes on what was assumed.

    Raises:
        JudgeError: a name has no number where the reading says that it has one.
    """
    if reading.method not in table.columns and reading.method.lower() in WORDS:
        table = table.with_columns({reading.method: [reading.method] * len(table)})
    for setting, before in (("seed", reading.seed_pattern), ("learning_rate", reading.rate_pattern)):
        table = _with_numbers(table, reading, setting, before) if before else table
    return _with_methods(_with_settings(table, reading, found), reading, found)


def _with_numbers(table: Table, reading: Reading, setting: str, before: str) -> Table:
    """A table with a setting in all rows, from the names of runs where its cell is empty."""
    column, names = column_of(table, reading, setting), _names(table, reading)
    cells = list(table.columns[column]) if column else [""] * len(table)
    for place, name in enumerate(names):
        if not cells[place]:
            numbers = set(re.findall(re.escape(before) + AFTER, name[:MAX_LOOKED_AT], re.IGNORECASE))
            if len(numbers) != 1:
                many = "several numbers follow" if numbers else "no number follows"
                raise JudgeError(f"{table.where(place)}: in {printable(name)!r} {many} {printable(before)!r}.")
            cells[place] = numbers.pop()
    return table.with_columns({column or setting: cells})


def _names(table: Table, reading: Reading) -> list[str]:
    return table.columns.get(column_of(table, reading, "run"), [""] * len(table))


def _with_settings(table: Table, reading: Reading, found: Open) -> Table:
    """A table with a column for each setting that only the names of its runs have, once somebody has said so.

    Methods are read if every name has one, because a run without one has no setting.
    """
    names = _names(table, reading)
    if reading.in_names == "ignore" or not any(names):
        return table
    by_name = {name: settings_in(name) for name in dict.fromkeys(names)}
    told = {name for name in ("method", *NUMBERS) if column_of(table, reading, name)}
    told |= {"seed"} if reading.unseeded else set()
    columns = {name: [by_name[run].get(name, "") for run in names] for name in ("method", *NUMBERS) if name not in told}
    columns = {name: cells for name, cells in columns.items() if (all if name == "method" else any)(cells)}
    if not columns or (columns.keys() == {"method"} and columns["method"] == _by_rank(table, reading)):
        return table
    titles = {name: name.replace("_", " ") for name in columns}
    many = {name: sum(map(bool, cells)) for name, cells in columns.items() if name not in ("rank", "alpha")}
    lacking = [
        f"Only {n:,} of {len(names):,} names say the {titles[name]}." for name, n in many.items() if n < len(names)
    ]
    if not reading.in_names:
        run = max(by_name, key=lambda name: len(by_name[name].keys() & columns.keys()))
        values = listed([f"{titles[name]} {by_name[run][name]}" for name in columns if name in by_name[run]])
        text = f"Only names of runs have some settings: {printable(run, 60)!r} has {values}."
        found.ask("in_names", " ".join([text, *lacking]), ("read", "ignore"))
    found.notes += [f"Names of runs say {listed([*titles.values()])}.", *lacking]
    return table.with_columns(columns)


def _by_rank(table: Table, reading: Reading) -> list[str]:
    """The method of each row: LoRA with a rank, full fine-tuning without. Empty where no row has a rank."""
    ranked = list(map(has_rank, table.columns.get(column_of(table, reading, "rank"), ())))
    return [LoRASpec.name() if each else FullSpec.name() for each in ranked] if any(ranked) else []


def _with_methods(table: Table, reading: Reading, found: Open) -> Table:
    """A table with a column of methods: by rank, unless a column names others, else as ``found`` is asked."""
    if column_of(table, reading, "method"):
        return table
    if (cells := _by_rank(table, reading)) and not any(_differ(each, cells) for each in table.columns.values()):
        full, shown = cells.count(FullSpec.name()), printable(column_of(table, reading, "rank"), 40)
        without = f", and {full:,} without as full fine-tuning" if full else ""
        found.notes.append(f"{len(cells) - full:,} rows with a rank in {shown!r} count as LoRA{without}.")
        return table.with_columns({"method": cells})
    text = "No column says the method. Choose the one that does, or full or lora if all runs are of one method."
    columns = [name for name, cells in table.columns.items() if _can_be_method(cells)]
    found.ask("method", text, [*columns, FullSpec.name(), LoRASpec.name()])
    return table


def _differ(cells: Sequence[str], methods: Sequence[str]) -> bool:
    """Whether a column names several methods, and another one than this for some row."""
    kinds = list(map(kinds_in, cells))
    several = len(set[str]().union(*kinds)) > 1
    return several and any(kind and kind != {method} for kind, method in zip(kinds, methods, strict=True))


def _can_be_method(cells: Sequence[str]) -> bool:
    """Whether a column may have methods: words of which few come again and again, or that are known."""
    values = set(filter(None, cells))
    is_few = 1 < len(values) <= len(cells) / 2 and not any(number_in(each) is not None for each in values)
    return is_few or (bool(values) and all(map(kinds_in, values)))
