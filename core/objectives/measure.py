"""Measures: numbers that say how good the answers of a network are, each with a name, a unit and a direction.

A measure knows answers and targets only, neither networks nor tasks. Its name also names its values in results, curves,
JSON and trackers: ``accuracy`` is that of the test part, ``accuracy_before`` that of the base, ``validation_accuracy``
that of the validation part, and ``source_accuracy`` that of the source task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.numbers import exact_text, number_text, percent, points_text

PLAIN_DIGITS = 2
"""Decimals that a value without a unit is written with, beyond those of a percentage: losses are near one."""

BEFORE = "_before"
"""Ending of the names of what the base reached before fine-tuning."""

VALIDATION = "validation_"
"""Beginning of the names of values on the validation part."""

SOURCE = "source_"
"""Beginning of the names of values on the source task."""

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network answered to the examples of one part."""

    predicted: NDArray[Any]
    """(n,) predicted label or number of each example."""
    targets: NDArray[Any]
    """(n,) true label or number of each example."""
    losses: NDArray[np.float32] | None = None
    """(n,) loss of each example; None for runs of versions that did not store it."""

    @property
    def known_losses(self) -> Values:
        """(n,) loss of each example; NaN where it was not stored."""
        return np.full(len(self.targets), np.nan) if self.losses is None else self.losses.astype(np.float64)


@dataclass(frozen=True)
class Measure:
    """A number by which answers are judged."""

    name: str
    """As in results and JSON: lower-case letters and underscores."""
    title: str
    """As people read it, as in ``Accuracy``."""
    each: Callable[[Answers], Values]
    """The measure of each example, (n,), such that intervals over examples can be computed: its mean is the measure, or
    for one that is no mean, its linearization at these answers (influence function)."""
    better: str
    """Words after the amount by which something is better, as in ``points more accurate``."""
    worse: str
    """Words after the amount by which something is worse."""
    margin: float
    """Default amount by which a setting may be worse and still be good enough."""
    max_margin: float
    """Maximum margin that can be chosen."""
    among: str = ""
    """What answers are chosen among, where that is not all outputs; as in ``its own classes only``."""
    about: str = ""
    """What the number says, in a sentence for help; empty where the title says it."""
    unit: str = "%"
    """Unit of values; empty for a plain number."""
    limits: tuple[float, float] = (0.0, 100.0)
    """Lowest and highest value that it can have."""
    higher_is_better: bool = True
    whole: Callable[[Answers], float] | None = None
    """Computes it of all answers together, where that is not the mean of :attr:`each`."""
    needs_losses: bool = False
    """Whether it is computed from the loss of each example."""

    @property
    def width(self) -> float:
        """Distance of its bounds: what one example is worth that is right or wrong. Infinite without bounds."""
        return self.limits[1] - self.limits[0]

    def of(self, answers: Answers) -> float:
        """The measure of some answers; NaN without examples."""
        if self.whole is not None:
            return self.whole(answers)
        return float(self.each(answers).mean()) if len(answers.targets) else float("nan")

    @property
    def sign(self) -> float:
        """1 where higher is better, else −1: differences times this are positive where something is better."""
        return 1.0 if self.higher_is_better else -1.0

    def text(self, value: float | None, digits: int = 2) -> str:
        """Format a value, as in ``97.31 %`` or ``0.2214``. Args: digits: decimals of a percentage; see PLAIN_DIGITS."""
        if self.unit == "%":
            return percent(value, digits)
        text = number_text(value, digits + PLAIN_DIGITS)
        return f"{text} {self.unit}" if self.unit else text

    def change_text(self, value: float | None, digits: int = 2) -> str:
        """Format a difference of two values with its sign, as in ``−1.32 points`` or ``+0.0310``; see :meth:`text`."""
        if self.unit == "%":
            return points_text(value, digits)
        text = self.text(value, digits)
        return f"+{text}" if value is not None and round(value, digits + PLAIN_DIGITS) > 0 else text

    def amount_text(self, value: float, digits: int = 2) -> str:
        """Format the size of a difference, without a sign, as in ``1.32 points`` or ``0.0310``."""
        return self.change_text(abs(value), digits).removeprefix("+")

    def hover_text(self, axis: str = "y") -> str:
        """How Plotly writes the value on an axis when it is pointed at, as in ``%{y:.2f} %``."""
        return f"%{{{axis}:.2f}} %" if self.unit == "%" else f"%{{{axis}:.4g}}"

    @property
    def values_noun(self) -> str:
        """What several values are called within a sentence, as in ``accuracies`` or ``loss values``."""
        return f"{self.noun[:-1]}ies" if self.noun.endswith("y") else f"{self.noun} values"

    @property
    def noun(self) -> str:
        """The title within a sentence, as in ``accuracy`` or ``macro-F1``."""
        return self.title[:1].lower() + self.title[1:] if not self.title[1:2].isupper() else self.title

    @property
    def axis(self) -> str:
        """The title with its unit, as in ``Accuracy (%)``."""
        return self.title + self.unit_suffix

    @property
    def unit_suffix(self) -> str:
        """The unit as it follows a title, as in `` (%)``; empty for a plain number."""
        return f" ({self.unit})" if self.unit else ""

    @property
    def column_format(self) -> str:
        """How a column of a table writes its numbers, as printf does."""
        return "%.2f %%" if self.unit == "%" else "%.4f"

    @property
    def difference_unit(self) -> str:
        """Unit of differences: points for percentages."""
        return "points" if self.unit == "%" else self.unit

    @property
    def difference_clause(self) -> str:
        """The unit of differences as a clause, as in ``, in points``; empty for a plain number."""
        return f", in {self.difference_unit}" if self.difference_unit else ""

    def margin_text(self, margin: float) -> str:
        """Write a margin with its unit, as in ``0.5 points`` or ``0.02``."""
        unit = "point" if self.unit == "%" and margin == 1 else self.difference_unit
        return f"{exact_text(margin)} {unit}" if unit else exact_text(margin)
