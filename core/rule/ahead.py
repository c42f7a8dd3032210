"""What can be done next at a place of an answer, and what a further look could show."""

from __future__ import annotations

from dataclasses import dataclass

from core.plan.experiment import MAX_NEW_SEEDS
from core.results.epochs import most_epochs
from core.results.length import can_be_longer
from core.rule.claims import Level
from core.rule.place import About, Place
from core.rule.power import Design
from core.rule.settled import all_settled, has_better_epochs, has_hardly_begun
from core.rule.spending import CLAIM_SEEDS, level_of, next_look
from core.rule.withheld import NextStep


@dataclass(frozen=True)
class Ahead:
    """What is ahead of a place."""

    at: Place

    @property
    def look(self) -> int:
        """Number of seeds that a further look is proposed for; 0 where something is shown, where training comes first,
        and where no number of seeds can show anything.
        """
        if not self.at.seeds or self.at.level is Level.SHOWN or self.at.withheld or self.at.reason:
            return 0
        return 0 if self._is_exhausted or self.is_saturated else self._proposed

    @property
    def _proposed(self) -> int:
        """Number of seeds of the next look that can claim something, no more than can be added at once."""
        most, proposed = self.at.seeds + MAX_NEW_SEEDS, next_look(self.at.seeds, self.at.spent)
        return most if proposed > most and level_of(most, self.at.spent) else proposed

    @property
    def _is_exhausted(self) -> bool:
        """Whether more seeds can show nothing: enough see no difference, and "good enough" is out of reach."""
        return (
            self.at.seeds >= CLAIM_SEEDS
            and self.needs_examples
            and self.at.told is not None
            and self.at.told.difference.holds_zero
        )

    @property
    def is_saturated(self) -> bool:
        """Whether neither more seeds nor longer training help, because the test examples are too easy or too few: a
        setting has nothing left to gain with every seed, of two at least, or with as many seeds as can show something
        none of the examples tells both apart although neither is improving; and to agree on all of them would not show
        that the setting is good enough.
        """
        told, full = self.at.told, self.at.full
        if told is None or full is None or self.at.reason or self.at.withheld or self.at.level is not Level.OPEN:
            return False
        if self.at.seeds < 2 or told.crossed.examples < 2 or not told.difference.holds_zero:
            return False
        is_alike = not told.compared.chosen.any() and all_settled(self.at.compared) is not False
        if not (told.is_at_best(full) or (is_alike and self.at.seeds >= CLAIM_SEEDS)):
            return False
        alike = Design(
            0, 0, 0, told.crossed.examples, len(self.at.candidates), told.arm.setting.objective.primary.width
        )
        return not self.at.margin or alike.is_out_of_reach(self.at.margin, level_of(self._proposed, self.at.spent))

    @property
    def seeds_to_add(self) -> int:
        """Number of seeds that :attr:`look` takes beside those that are there; 0 where none is proposed."""
        return max(0, self.look - self.at.seeds)

    @property
    def can_be_longer(self) -> bool:
        """Whether runs can take three times the most epochs that were tried for the compared settings."""
        return all(can_be_longer(most_epochs(arm)) for arm in self.at.compared)

    @property
    def step(self) -> NextStep | None:
        """What a person can do so that there is a verdict, or one about the methods; None where there is one."""
        if self.at.reason or self.at.withheld or self.at.told is None:
            return self.at.mend
        longer = NextStep.LONGER if self.can_be_longer else None
        if better := [arm for arm in self.at.compared if has_better_epochs(arm)]:
            longer = NextStep.EPOCHS if better[0].rows[0].plan is not None else None
        if self.at.claim is None:
            if self.look and not (longer and any(map(has_hardly_begun, self.at.compared))):
                return NextStep.SEEDS
            return None if self.is_saturated or all_settled(self.at.compared) else longer
        match self.at.about:
            case About.METHODS:
                return None
            case About.BUDGET:
                return longer
            case _ if self.at.lacking:
                return NextStep.RATES if self.at.can_extend else None
            case _:
                return NextStep.SEEDS

    @property
    def design(self) -> Design | None:
        """What determines what a further look can show, from the spread of these runs; None where it is not known."""
        return self.at.told.design(len(self.at.candidates)) if self.at.told is not None and not self.at.reason else None

    @property
    def limits(self) -> Design | None:
        """What test examples keep any number of seeds from showing; None where it is not known."""
        return self.at.told.limits(len(self.at.candidates)) if self.at.told is not None and not self.at.reason else None

    @property
    def needs_examples(self) -> bool:
        """Whether "good enough" is out of reach with these test examples, whatever the number of seeds."""
        limits = self.limits
        if self.at.level is Level.SHOWN or limits is None:
            return False
        # Where all seeds agree on all examples, as at 100 %, the level of the next look alone decides.
        varies = (self.design or limits).varies
        return limits.is_out_of_reach(self.at.margin, None if varies else level_of(self._proposed, self.at.spent))
