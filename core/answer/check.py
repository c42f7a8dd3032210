"""A check: one thing that could undo what an answer claims, and how it came out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.numbers import capitalized, listed
from core.results.arm import Arm
from core.rule.place import Place
from core.rule.tuning import name_in_sentence
from core.rule.withheld import NextStep


class Outcome(StrEnum):
    """How a check came out."""

    FAILS = "fails"
    """What could undo the claim is there."""
    OPEN = "open"
    """It was looked at, and these runs do not tell."""
    UNKNOWN = "not measured"
    HOLDS = "holds"


MARKS = {Outcome.HOLDS: "✓", Outcome.OPEN: "○", Outcome.FAILS: "✗", Outcome.UNKNOWN: "–"}
"""The sign before the line of a check."""

LEGEND = ", ".join(f"{mark} {outcome}" for outcome, mark in MARKS.items())
"""What the signs mean."""

WORST_FIRST = tuple(Outcome)
"""Order of checks in a list, and which one of several places is told."""

MAX_CHECK_WORDS = 15
"""Maximum number of words of a check's line."""


@dataclass(frozen=True)
class Check:
    """One thing that could undo the claim."""

    outcome: Outcome
    line: str
    """At most :data:`MAX_CHECK_WORDS` words, with a full stop."""
    value: float | None = None
    """What the outcome rests on, in the unit that the line names; None where it is no number."""
    step: NextStep | None = None
    """What a person can do to change the outcome; None where nothing in the product does."""
    where: str = ""
    """At which place of an axis it came out so; empty where there is one place, and where it is so at all."""

    @property
    def words(self) -> str:
        """Its line, and before it where that is so."""
        return f"{capitalized(self.where)}: {self.line}" if self.where else self.line

    @property
    def text(self) -> str:
        """Its mark and its words."""
        return f"{MARKS[self.outcome]} {self.words}"


Checked = Callable[[Place], Check | None]
"""Makes a check of a place that compares settings; None where the check does not apply to it."""


def names(arms: Sequence[Arm]) -> str:
    """Settings within a sentence, as in ``full fine-tuning and LoRA r=4``."""
    return listed([name_in_sentence(arm.name) for arm in arms])
