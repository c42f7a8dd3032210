"""How a table of results is read: which column is what, and the answers to what a table leaves open."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from core.errors import JudgeError, printable
from core.judge.table import Table
from core.numbers import listed
from core.spec import Spec, bounds

MAX_COLUMN = 200
"""Maximum number of characters of the name of a column, or of a value that is looked for in one."""

MAX_NAMED = 12
"""Maximum number of columns that a sentence names."""


def _named(title: str, description: str, most: int = MAX_COLUMN) -> Any:
    """A field with the name of a column, or with a value in one."""
    return Field("", max_length=most, title=title, description=description)


class Reading(Spec):
    """Names of columns, empty for those that have a known name or are not there, and answers, empty where none is
    needed. Title and description of each field are those of its option and of its field on the page.
    """

    method: str = _named(
        "Method", "Column with the method or setting of each run; full or lora where all runs are of one method."
    )
    rank: str = _named("Rank", "Column with the rank.")
    alpha: str = _named("Alpha", "Column with alpha.")
    learning_rate: str = _named("Learning rate", "Column with the learning rate.")
    seed: str = _named("Seed", "Column with the seed of each run.")
    measure: str = _named("Measure", "Column with the measure on the test part, by which settings are compared.")
    validation: str = _named(
        "Validation", "Column with the same measure on the validation part, by which settings are chosen."
    )
    epoch: str = _named("Epoch or step", "Column with the epoch or step of each row.")
    part: str = _named("Part", "Column that says of which part of the data a row is.")
    run: str = _named("Run", "Column with a name for each run.")
    settings: tuple[str, ...] = Field(
        (), max_length=40, title="Further settings", description="Columns that tell settings apart, such as layers."
    )
    only: str = _named(
        "Only rows with", "A column and its value, as in model=llama-8b: all other rows are left out.", 2 * MAX_COLUMN
    )
    test: str = _named("Test part", "Value of the part that is the test part.")
    chosen_by: str = _named("Validation part", "Value of the part that is the validation part.")
    take: Literal["", "last", "best"] = Field(
        "",
        title="Epoch taken",
        description="Of a run with several epochs: the last one, or that which is best on the validation part.",
    )
    repeated: Literal["", "first", "last"] = Field(
        "", title="Repeated runs", description="Which row counts where a setting has several with one seed."
    )
    unseeded: Literal["", "one", "order"] = Field(
        "",
        title="Without seeds",
        description="Where no column has seeds: one run for each setting, all with one seed; or the rows of each "
        "setting in order, where the first ones share a seed, and so on.",
    )
    in_names: Literal["", "read", "ignore"] = Field(
        "",
        title="Settings in names",
        description="Of names of runs or folders such as lora-lr0.001-r8-seed3, where no column has these settings.",
    )
    seed_pattern: str = _named(
        "Seed in names", "What stands before the seed in the name of a run or folder, as in seed for lora-seed3."
    )
    rate_pattern: str = _named(
        "Learning rate in names",
        "What stands before the learning rate in the name of a run or folder, as in lr for lora-lr0.001.",
    )
    reference: str = _named("Reference", "The method that the others are compared with.")
    evaluated: Literal["", "test", "validation"] = Field(
        "",
        title="Evaluated on",
        description="Whether the measure is of a test part or of the validation part.",
    )
    unit: Literal["", "%", "fraction", "plain"] = Field(
        "",
        title="Unit",
        description="Of the measure: percent, a fraction of 1 that is shown in percent, or a plain number.",
    )
    better: Literal["", "higher", "lower"] = Field("", title="Better", description="Whether higher or lower is better.")
    within: float | None = Field(
        None,
        ge=0,
        title="Margin",
        description="How much worse than the reference a setting may be and still be good enough.",
    )
    examples: int | None = Field(
        None,
        ge=2,
        le=10**9,
        title="Test examples",
        description="Number of test examples, where no file has them singly.",
    )
    noun: str = Field(
        "",
        max_length=30,
        pattern=r"^[A-Za-z-]*$",
        title="Called",
        description="What one test example is called, as in question.",
    )

    def title_of(self, name: str) -> str:
        """Title of a field."""
        return bounds(type(self), name).title


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
    "run": ("run", "run_name", "name", "output_dir"),
    "state": ("state", "status"),
}
"""Names by which columns are known, as trainers write them, where they are not the name of the field alone."""

GROUPS = r"^(config|params|metrics|summary|args|hyperparameters)[./]"
"""Pattern of what trackers write before the name of a setting or a measure."""


def known_name(column: str) -> str:
    """The name of a column as known ones are written: without its group, in lower case, with underscores."""
    bare = re.sub(GROUPS, "", re.sub(r"\s*\(last\)$", "", column.strip().lower()))
    return re.sub(r"[\s/.-]+", "_", bare)


def setting_like(column: str) -> list[str]:
    """Fields of settings whose known names are a part of the name of a column, as in ``optimizer.lr``."""
    name = f"_{known_name(column)}_"
    fields = ("rank", "alpha", "learning_rate", "seed")
    return [field for field in fields if any(f"_{known}_" in name for known in KNOWN[field])]


def column_of(table: Table, reading: Reading, name: str) -> str:
    """The column of a table that a field names, or that has a known name; empty where there is none.

    Args:
        table: has it.
        reading: may name it.
        name: of a field, or ``state``, which has a known name only.

    Raises:
        JudgeError: the table has no such column.
    """
    if asked := getattr(reading, name, ""):
        check_column(table, asked, reading.title_of(name))
        return str(asked)
    by_name = {known_name(column): column for column in reversed(table.columns)}
    return next((by_name[known] for known in KNOWN.get(name, (name,)) if known in by_name), "")


def check_column(table: Table, name: str, title: str) -> None:
    """Check that a table has a column. Raises: JudgeError: it has none of that name."""
    if name not in table.columns:
        raise JudgeError(
            f"{title}: there is no column {printable(name)!r}; the file has {columns_text(table.columns)}."
        )


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
    def option(self) -> str:
        """The option of the command line that answers it."""
        return f"--{self.field.replace('_', '-')}"

    @property
    def sentence(self) -> str:
        """The question for a terminal."""
        choose = f" with one of {columns_text(self.options, MAX_SHOWN)}" if self.options else ""
        return f"{self.text} Say {self.option}{choose}."


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


def check_answered(questions: Iterable[Question]) -> None:
    """Check that nothing is open. Raises: JudgeError: something is; it has all questions."""
    if open_ := [question.sentence for question in questions]:
        raise JudgeError(" ".join(open_))
