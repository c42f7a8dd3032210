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

MAX_COLUMN = 400
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

    method: str = _field("Method", "Column with the method of each run; full or lora where all runs are of one method.")
    rank: str = _field("Rank", "Column with the rank.")
    alpha: str = _field("Alpha", "Column with alpha.")
    learning_rate: str = _field("Learning rate", "Column with the learning rate.")
    seed: str = _field("Seed", "Column with the seed of each run.")
    measure: str = _field("Measure", "Column with the measure on the test part, by which settings are compared.")
    validation: str = _field("Validation", "Column with that measure on the validation part, which chooses settings.")
    epoch: str = _field("Epoch or step", "Column with the epoch or step of each row.")
    part: str = _field("Part", "Column that says of which part of the data a row is.")
    run: str = _field("Run", "Column with a name for each run.")
    settings: tuple[str, ...] = _field("Further settings", "Columns that tell settings apart, such as layers.", ())
    only: str = _field("Only rows with", "A column and its value, as in model=llama-8b: other rows are left out.")
    test: str = _field("Test part", "Value of the part that is the test part.")
    chosen_by: str = _field("Validation part", "Value of the part that is the validation part.")
    take: Literal["", "last", "best"] = _field(
        "Epoch taken", "Of a run with several epochs: the last one, or that which is best on the validation part."
    )
    repeated: Literal["", "first", "last"] = _field("Repeated runs", "Which of several rows with one seed counts.")
    unseeded: Literal["", "one", "order"] = _field(
        "Without seeds",
        "Where no column has seeds: one run for each setting, all with one seed; or the rows of each setting in "
        "order, where the first ones share a seed, and so on.",
    )
    in_names: Literal["", "read", "ignore"] = _field(
        "Settings in names", "Of runs or folders such as lora-lr0.001-r8-seed3, where no column has these settings."
    )
    seed_pattern: str = _field("Seed in names", "What stands before the seed in names of runs, as in lora-seed3.")
    rate_pattern: str = _field("Learning rate in names", "What stands before the rate in them, as lr in lora-lr0.001.")
    reference: str = _field("Reference", "The method that the others are compared with.")
    evaluated: Literal["", "test", "validation"] = _field("Evaluated on", "Part of the data that the measure is of.")
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
    noun: str = _field("Called", "What a test example is called, as question.", max_length=30, pattern=r"^[A-Za-z-]*$")


COLUMNS = ("method", "rank", "alpha", "learning_rate", "seed", "measure", "validation", "epoch", "part", "run")
"""Fields of a :class:`Reading` that name columns."""

KNOWN: dict[str, tuple[str, ...]] = {
    "method": ("method", "setting"),
    "rank": ("rank", "r", "lora_r", "lora_rank"),
    "alpha": ("alpha", "lora_alpha"),
    "learning_rate": ("learning_rate", "lr"),
    "seed": ("seed", "random_seed"),
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


def columns_text(names: Iterable[str], most: int = 40) -> str:
    """Names of columns in a sentence, the first ones of many. Args: most: characters of a name that are shown."""
    every = list(names)
    more = [f"{len(every) - MAX_NAMED:,} more"] * (len(every) > MAX_NAMED)
    return listed([*(repr(printable(name, most)) for name in every[:MAX_NAMED]), *more])


MAX_OFFERED = 200
"""Maximum number of answers to choose from."""


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
        choose = f" with one of {columns_text(self.options, 160)}" if self.options else ""
        return f"{self.text} Say --{self.field.replace('_', '-')}{choose}."


@dataclass
class Open:
    """What tables leave open, and what was assumed or left out of them."""

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


class Columns(Open):
    """The columns of a table: those that it has, and what the names of its runs say."""

    def __init__(self, table: Table, reading: Reading) -> None:
        """Args: table: as a file has it; reading: what its columns are."""
        super().__init__(notes=list(table.notes))
        self.table, self.reading = table, reading

    def column(self, name: str) -> str:
        """The column that a field names, which has to be there, or that has a known name; else an empty text."""
        if asked := str(getattr(self.reading, name, "")):
            return self.checked(asked, name)
        return next(iter(self.called(KNOWN.get(name, (name,)))), "")

    def called(self, names: Iterable[str]) -> list[str]:
        """The columns that have some known names, in the order of these names."""
        by_name = {known_name(column): column for column in reversed(self.table.columns)}
        return [by_name[name] for name in names if name in by_name]

    def checked(self, column: str, asking: str) -> str:
        """A column that is there. Raises: JudgeError: it is not; the message names the field that asked for it."""
        if column in self.table.columns:
            return column
        title, there = bounds(Reading, asking).title, columns_text(self.table.columns)
        raise JudgeError(f"{title}: there is no column {printable(column)!r}; the file has {there}.")

    def complete(self) -> None:
        """Add columns of what the reading, names of runs, or ranks say; one that is there is taken instead."""
        asked = self.reading.method
        if asked not in self.table.columns and asked.lower() in WORDS:
            self.table = self.table.with_columns({asked: [asked] * len(self.table)})
        runs = self.table.columns.get(self.column("run"), [""] * len(self.table))
        for setting, before in (("seed", self.reading.seed_pattern), ("learning_rate", self.reading.rate_pattern)):
            column = self.column(setting)
            if before:
                cells = self.table.columns.get(column, [""] * len(runs))
                found = [
                    cell or self._after(before, run, at) for at, (cell, run) in enumerate(zip(cells, runs, strict=True))
                ]
                self.table = self.table.with_columns({column or setting: found})
        if self.reading.in_names != "ignore" and any(runs):
            self._add_settings(runs)
        if not self.column("method"):
            self._add_methods()

    def _after(self, before: str, run: str, at: int) -> str:
        """The number that follows a text in the name of a run."""
        numbers = set(re.findall(re.escape(before) + AFTER, run, re.IGNORECASE))
        if len(numbers) != 1:
            many = "several numbers follow" if numbers else "no number follows"
            raise JudgeError(f"{self.table.where(at)}: in {printable(run)!r} {many} {printable(before)!r}.")
        return str(numbers.pop())

    def _add_settings(self, runs: Sequence[str]) -> None:
        """Add a column for each setting that only the names of runs have, once somebody has said so.

        Methods are read if every name has one, because a run without one has no setting.
        """
        by_name = {run: settings_in(run) for run in dict.fromkeys(runs)}
        names = [name for name in ("method", *NUMBERS) if not self.column(name)]
        names = [name for name in names if name != "seed" or not self.reading.unseeded]
        columns = {name: [by_name[run].get(name, "") for run in runs] for name in names}
        columns = {name: cells for name, cells in columns.items() if (all if name == "method" else any)(cells)}
        if not columns or (columns.keys() == {"method"} and columns["method"] == self._by_rank()):
            return
        titles = {name: name.replace("_", " ") for name in columns}
        many = {name: sum(map(bool, cells)) for name, cells in columns.items() if name not in ("rank", "alpha")}
        lacking = [
            f"Only {n:,} of {len(runs):,} names say the {titles[name]}." for name, n in many.items() if n < len(runs)
        ]
        if not self.reading.in_names:
            run = max(by_name, key=lambda run: len(by_name[run].keys() & columns.keys()))
            values = listed([f"{title} {by_name[run][name]}" for name, title in titles.items() if name in by_name[run]])
            text = f"Only names of runs have some settings: {printable(run, 60)!r} has {values}."
            self.ask("in_names", " ".join([text, *lacking]), ("read", "ignore"))
        self.notes += [f"Names of runs say {listed([*titles.values()])}.", *lacking]
        self.table = self.table.with_columns(columns)

    def _by_rank(self) -> list[str]:
        """The method of each row: LoRA with a rank, full fine-tuning without. Empty where no row has a rank."""
        ranked = list(map(has_rank, self.table.columns.get(self.column("rank"), ())))
        return [LoRASpec.name() if each else FullSpec.name() for each in ranked] if any(ranked) else []

    def _add_methods(self) -> None:
        """Add a column of methods: by rank, unless a column names several and others; else one is asked for."""
        methods, columns = self._by_rank(), self.table.columns
        kinds = {name: list(map(kinds_in, cells)) for name, cells in columns.items()}
        several = (own for own in kinds.values() if len(set[str]().union(*own)) > 1)
        pairs = (pair for own in several for pair in zip(own, methods, strict=False))
        if methods and not any(kind and kind != {method} for kind, method in pairs):
            full, shown = methods.count(FullSpec.name()), printable(self.column("rank"), 40)
            without = f", and {full:,} without as full fine-tuning" if full else ""
            self.notes.append(f"{len(methods) - full:,} rows with a rank in {shown!r} count as LoRA{without}.")
            self.table = self.table.with_columns({"method": methods})
            return
        text = "No column says the method. Choose the one that does, or full or lora if all runs are of one method."
        words = {name: {*cells} - {""} for name, cells in columns.items()}
        few = (name for name, own in words.items() if 1 < len(own) <= len(self.table) / 2 or all(kinds[name]))
        offered = [name for name in few if not any(number_in(word) is not None for word in words[name])]
        self.ask("method", text, [*offered, FullSpec.name(), LoRASpec.name()])


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
    name = run.lower()
    found = {"method": kinds_in(name)} | {setting: set(pattern.findall(name)) for setting, pattern in PATTERNS.items()}
    single = {setting: values.pop() for setting, values in found.items() if len(values) == 1}
    if "learning_rate" in single and not 0 < float(single["learning_rate"]) < math.inf:
        del single["learning_rate"]
    return single
