"""Answers: what is shown of full fine-tuning and adapters, at one place or along an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from core.methods.method import MethodSpec
from core.plan.axes import Axis, Point, VarySpec
from core.rule.candidate import Candidate, Rule
from core.rule.claims import Difference, Level, difference_of
from core.rule.place import Place
from core.store.looks import Look


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer to a question, as far as its rows can give one: of an experiment, or at each place of an axis."""

    margin: float
    """How much worse than full fine-tuning a setting may be and still be good enough."""
    places: tuple[Place, ...]
    """Along the axis; one without an axis."""
    vary: VarySpec | None = None
    """What was varied; None without an axis."""
    lines: Mapping[str, MethodSpec] = field(default_factory=dict)
    """The methods and ranks that are compared with full fine-tuning, by label, as they were asked for: where ranks are
    matched to numbers of parameters, others were trained at some points."""
    looks: tuple[Look, ...] = ()
    """The looks that this answer is, as the store keeps them."""
    reason: str = ""
    """Why nothing was compared; empty where something was."""
    unread: bool = False
    """Whether the test part is not to be shown yet, because runs are to follow."""

    @property
    def more(self) -> str:
        """What to know beside the reason, and what to do; empty without one."""
        return next((at.more for at in self.places if at.reason == self.reason), "") if self.reason else ""

    @property
    def axis(self) -> Axis:
        """What was varied. Raises: LookupError: nothing was."""
        if self.vary is None:
            raise LookupError("Nothing was varied.")
        return self.vary.axis

    @property
    def place(self) -> Place:
        """The only place of an experiment without an axis. Raises: LookupError: it has one."""
        if self.vary is not None:
            raise LookupError("Along an axis there are several places.")
        return self.places[0]

    @property
    def candidates(self) -> list[Candidate]:
        """Everything that is compared, point by point, each once."""
        return [each for at in self.places for each in at.candidates]

    @property
    def level(self) -> Level:
        """The level of what the study says: *shown* where anything was."""
        if any(each.standing is not Rule.NONE for each in self.candidates):
            return Level.SHOWN
        return Level.LEANING if any(each.leans for each in self.candidates) else Level.OPEN

    @property
    def seeds(self) -> int:
        """Number of seeds on which everything is compared; 0 where nothing is."""
        return max((len(each.difference.seeds) for each in self.candidates), default=0)

    def standings(self, line: str) -> list[Rule]:
        """What was shown of a method and rank, point by point."""
        return [at.by_line[line].standing if line in at.by_line else Rule.NONE for at in self.places]

    def turns(self, line: str) -> list[tuple[Point, Point, Rule, Rule]]:
        """Where a method and rank meets full fine-tuning or parts from it: between which points, and what was shown
        at these. Empty on an axis of choices, which has no order.
        """
        if not self.axis.is_scale:
            return []
        shown = zip([at.point for at in self.places], self.standings(line), strict=True)
        known = [(point, standing) for point, standing in shown if standing is not Rule.NONE]
        return [(one, two, before, after) for (one, before), (two, after) in pairwise(known) if before is not after]

    def change(self, line: str) -> Difference | None:
        """The difference from full fine-tuning at the last point minus that at the first, seed by seed: seen, never
        tested. None where one of them is not known, or the axis has no order.
        """
        ends = [at.by_line.get(line) for at in (self.places[0], self.places[-1])]
        known = [each.difference for each in ends if each is not None]
        if not self.axis.is_scale or len(known) < len(ends):
            return None
        before, after = (dict(zip(each.seeds, each.values, strict=True)) for each in known)
        return difference_of(line, line, after, before, known[0].what)

    def crossings(self, line: str) -> list[tuple[Point, Point]]:
        """Between which points the mean difference from full fine-tuning changes its sign: seen, not shown."""
        return crossings([(at.point, at.by_line[line].crossed.mean) for at in self.places if line in at.by_line])


def crossings(means: Sequence[tuple[Point, float]]) -> list[tuple[Point, Point]]:
    """Between which points a mean difference changes its sign. Args: means: point and mean, in the order of points."""
    return [(one, two) for (one, before), (two, after) in pairwise(means) if before * after < 0]
