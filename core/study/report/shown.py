"""What sections are made of: the settings of one question, and what is read or measured of them on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from core.forecast.forecast import Forecast
from core.results.arm import Arm, judged_by, named
from core.results.choice import chosen_arms
from core.results.results import Outcomes, untested
from core.results.row import Row
from core.results.scale import Objective
from core.rule.place import Place
from core.store.record import Curve
from core.study.arms.accuracies import Accuracies
from core.study.figures.palette import colours_of

CUSTOMERS = 100
"""Default number of customers for which storage is computed."""


@dataclass(frozen=True)
class Shown:
    """Settings that are shown, and all that tells of them."""

    arms: Sequence[Arm]
    """What is drawn, from top to bottom."""
    place: Place
    """The answer."""
    rows: Sequence[Row]
    """All of the question, also those of settings that are not drawn."""
    colours: Mapping[str, str]
    """Color of each setting, by key."""
    compared: Sequence[Arm] = ()
    """The settings that differences are of; those that are drawn where it is empty."""
    stopped: Sequence[Row] = ()
    """Stopped rows of settings that are drawn, which no mean counts."""
    masked: bool = False
    """Whether the source is judged among the outputs of its own classes."""
    customers: int = CUSTOMERS
    """Number of customers with a network of their own."""
    tested: Outcomes = untested
    """The measure of each test example of a row."""
    curves: Callable[[], Mapping[str, Curve]] = dict
    """Reads the curves of all finished rows, by run."""
    base: Callable[[], Accuracies | None] = lambda: None
    """Measures the base on the validation parts of target and source; None where that cannot be done."""
    forecasts: Callable[[], Mapping[str, Forecast]] = dict
    """Reads what runs were expected to take when they were queued, by run."""

    @classmethod
    def of(cls, found: Place, arms: Sequence[Arm] = ()) -> Shown:
        """What an answer tells alone. Args: arms: what is drawn; by default what validation chose."""
        drawn = arms or named(chosen_arms(found.rows))
        return cls(drawn, found, found.rows, colours_of(row.setting for row in found.rows))

    @property
    def objective(self) -> Objective:
        """What the settings learned, and by which measure they are judged."""
        return judged_by(self.rows)

    @property
    def differing(self) -> Sequence[Arm]:
        """The settings that differences are of."""
        return self.compared or self.arms

    @property
    def is_reported(self) -> bool:
        """Whether others report the results."""
        return self.arms[0].setting.spec is None
