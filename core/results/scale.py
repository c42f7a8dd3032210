"""The measure of results from elsewhere: its unit, its direction and its margin."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from core.objectives.classification import ACCURACY
from core.objectives.measure import SOURCE, VALIDATION, Measure, Values
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import measures_by_name

PERCENT = 100.0

TEST = "test"


@dataclass(frozen=True)
class Scale:
    """By what results from elsewhere are judged; it has the attributes of an objective that judging takes."""

    name: str
    """Lower-case letters, digits and underscores."""
    title: str
    unit: str
    """``%``, or empty for a plain number."""
    higher: bool
    """Whether higher is better."""
    within: float
    """The margin, in the unit."""
    part: str = TEST
    """Part of the data that the measure is of: the test part, or the validation part where no other is reported."""
    factor: float = field(default=1.0, compare=False)
    """What values in the table are multiplied by."""

    kind: ClassVar[str] = "reported"
    has_classes: ClassVar[bool] = False
    masked: ClassVar[None] = None

    @property
    def primary(self) -> Measure:
        """The measure: one of this lab where it is called alike, with its words."""
        known = measures_by_name().get(self.name)
        is_known = known is not None and (known.unit, known.higher_is_better) == (self.unit, self.higher)
        if known is not None and is_known and self.part == TEST:
            return known
        noun = self.title[:1].lower() + self.title[1:] if not self.title[1:2].isupper() else self.title
        better, worse = (f"{side} in {noun}" for side in (("higher", "lower") if self.higher else ("lower", "higher")))
        return Measure(
            name=self.name,
            title=self.title,
            each=_unknown,
            better=better,
            worse=worse,
            margin=self.within,
            max_margin=math.inf,
            unit=self.unit,
            limits=(0.0, PERCENT) if self.unit == "%" else (-math.inf, math.inf),
            higher_is_better=self.higher,
        )

    @property
    def margin(self) -> float:
        """How much worse than the reference is still good enough."""
        return self.within

    @property
    def validated(self) -> str:
        """Name of the measure on the validation part."""
        return VALIDATION + self.primary.name

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The measure alone."""
        return (self.primary,)

    @property
    def all_measures(self) -> dict[str, Measure]:
        """Accuracy beside the measure: it tells what has learned nothing."""
        return {ACCURACY.name: ACCURACY, self.primary.name: self.primary}

    @property
    def has_test_part(self) -> bool:
        """Whether the measure is of a test part, by which no setting was chosen."""
        return self.part == TEST

    def on_source(self, masked: bool = False) -> str:
        """Name of the measure on the source, which nobody reports. Args: masked: changes nothing."""
        return SOURCE + self.primary.name


Objective = ObjectiveSpec | Scale
"""What results are judged by."""


def _unknown(answers: object) -> Values:
    raise NotImplementedError("A reported measure is not computed here.")
