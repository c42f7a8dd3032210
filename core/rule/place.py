"""A place of an answer: full fine-tuning or LoRA, which setting, how much that may claim, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Self

from core.methods.method import Role
from core.plan.axes import Point
from core.plan.experiment import MAX_NEW_SEEDS
from core.results.arm import Arm
from core.results.choice import best_arm, is_adapter, typical_row
from core.results.grid import can_be_longer, most_epochs
from core.results.row import Row
from core.rule.candidate import Candidate, Claim, Rule
from core.rule.claims import Level
from core.rule.controls import Controls
from core.rule.differences import AtEpochs
from core.rule.frontier import EqualAccuracy
from core.rule.settled import all_settled, has_better_epochs, has_hardly_begun, holds_on
from core.rule.spending import CLAIM_SEEDS, Design, level_of, next_look
from core.rule.tuning import RatesTried, rates_tried
from core.rule.withheld import NextStep, Reason
from core.store.looks import Look


class About(StrEnum):
    """What a claim is about, which the learning rates and the length of training decide."""

    METHODS = "methods"
    """Which method to use."""
    BUDGET = "budget"
    """What is reached with this number of updates: longer training might change it."""
    RATES = "rates"
    """The settings at their learning rates: others might change it."""
    RUNS = "runs"
    """The mean of these runs, of which few decide: their median says otherwise."""


@dataclass(frozen=True, eq=False)
class Place:
    """What is answered at one place of an axis, as far as its rows can tell; an experiment without an axis has one."""

    margin: float
    """How much worse than full fine-tuning a setting may be and still be good enough."""
    full: Arm | None = None
    """Full fine-tuning as the validation part chose it."""
    candidates: tuple[Candidate, ...] = ()
    """One adapter setting per method and rank, as the validation part chose it; the cheapest first."""
    best: Candidate | None = None
    """The candidate that is best on the validation part."""
    rule: Rule = Rule.NONE
    reason: str = ""
    """Why nothing was compared, in a sentence; empty where something was."""
    unread: bool = False
    """Whether the test part is not to be shown yet, because runs are to follow."""
    withheld: str = ""
    """Why no verdict is given on what was compared, in a sentence; empty where one is."""
    more: str = ""
    """What to know beside the reason of either, and what to do."""
    mend: NextStep | None = None
    """What would let there be a verdict where there is none."""
    looks: tuple[Look, ...] = ()
    """The looks that this verdict is, one for each family, as the store keeps them; none where nothing was tested."""
    recorded: tuple[int, ...] = ()
    """Numbers of seeds of all looks that were recorded before."""
    used: tuple[float, ...] = ()
    """What all looks so far have used of the error rate, for each account; none where nothing was tested."""
    controls: Controls | None = None
    """What tells whether the comparison means anything; None where nothing was compared."""
    answerable: int = 0
    """Number of seeds of a verdict that waits for runs that were stopped, and could be given without them."""
    at_equal: tuple[EqualAccuracy, ...] = ()
    """Forgetting of :attr:`told` at equal accuracy, by :func:`core.rule.frontier.equal_to_full`, if known."""
    at_equal_epochs: tuple[AtEpochs, ...] = ()
    """:attr:`told` beside full fine-tuning at equal numbers of epochs, where the chosen ones differ."""
    can_extend: bool = False
    """Whether there are learning rates beside chosen ones that were not tried, and can be."""
    point: Point = ""
    """Where on the axis it is; empty without an axis."""
    rows: Sequence[Row] = ()
    """All of the place; what does not depend on the axis is in those of every place."""
    arms: tuple[Arm, ...] = ()
    """The adapter settings that are compared, as the validation part chose them, tested or not."""
    by_line: Mapping[str, Candidate] = field(default_factory=dict)
    """What is compared with full fine-tuning, by the label of :attr:`core.rule.answer.Answer.lines`."""
    not_tested: Mapping[str, str] = field(default_factory=dict)
    """Why a setting that is compared was not tested along an axis, in a sentence, by the same label."""

    @cached_property
    def rates(self) -> RatesTried:
        """Which methods and ranks were trained at several learning rates, among which the validation part chose."""
        return rates_tried(row.setting for row in self.rows if row.setting.role in (Role.REFERENCE, Role.ADAPTER))

    @cached_property
    def leading(self) -> Arm | None:
        """The adapter setting that is best on the validation part, compared or not."""
        return best_arm(self.rows, is_adapter)

    def because(self, why: Reason) -> Self:
        """The same where nothing is compared, with the reason why."""
        return replace(self, reason=why.text, more=why.more)

    @property
    def told(self) -> Candidate | None:
        """The candidate that the verdict is about: the choice if that is an adapter, else the best one."""
        if self.rule is Rule.WITHIN:
            return next(candidate for candidate in self.candidates if candidate.claim(Rule.WITHIN))
        return self.best

    @property
    def claim(self) -> Claim | None:
        """The claim behind the choice."""
        return self.told.claim(self.rule) if self.told is not None else None

    @property
    def level(self) -> Level:
        """Level of the claim behind the choice; *leaning* or *open* without one."""
        if self.claim is not None:
            return Level.SHOWN
        return Level.LEANING if self.told is not None and self.told.leans else Level.OPEN

    @property
    def about(self) -> About:
        """What the claim is about."""
        claim, told = self.claim, self.told
        if self.is_given or (claim is not None and not claim.about_methods):
            return About.RATES
        if claim is not None and told is not None and told.few_decide(claim.rule, self.margin):
            return About.RUNS
        holds_on = self.holds_on and not any(map(has_better_epochs, self.compared))
        return About.METHODS if all_settled(self.compared) or holds_on else About.BUDGET

    @property
    def is_probable(self) -> bool:
        """Whether a choice without a claim is called probable: the setting leans with 3 to 6 seeds, or the interval of
        its difference excludes 0 with as many as a claim takes. It decides nothing and uses nothing.
        """
        told = self.told
        if told is None or self.claim is not None or self.reason or self.withheld:
            return False
        return told.leans or (self.seeds >= CLAIM_SEEDS and not told.difference.holds_zero)

    @property
    def is_reported(self) -> bool:
        """Whether others report its results."""
        return self.full is not None and self.full.setting.spec is None

    @property
    def is_given(self) -> bool:
        """Whether a compared setting was trained at one learning rate, so that nothing says it is a good one."""
        return any(arm.setting.label in self.rates.one for arm in self.compared)

    @property
    def lacking(self) -> list[Arm]:
        """The compared settings of which a claim about methods lacks a neighboring learning rate."""
        told, claim = self.told, self.claim
        if told is None or claim is None:
            return []
        needed = told.arm if claim.rule is Rule.LOWER else self.full
        return [
            arm
            for arm in self.compared
            if arm.setting.label in self.rates.one or (arm is needed and told.lacks(claim.rule))
        ]

    @property
    def compared(self) -> list[Arm]:
        """Full fine-tuning and the setting that the verdict is about."""
        return [arm for arm in (self.full, self.told.arm if self.told is not None else None) if arm is not None]

    @property
    def choice(self) -> Arm | None:
        """The setting to use; None where no claim about methods was shown."""
        if self.claim is None or self.about is not About.METHODS:
            return None
        return self.full if self.rule is Rule.LOWER else self.told.arm if self.told is not None else None

    @property
    def offered(self) -> Row | None:
        """The row whose adapter to take: of the setting that the answer is about, the typical one.

        Without an answer it is the setting that is best on the validation part.
        """
        setting = self.told.arm if self.told is not None else self.leading
        return typical_row(setting) if setting is not None else None

    @property
    def holds_on(self) -> bool | None:
        """Whether the difference behind the choice would be there with three times the epochs; see
        :func:`core.rule.settled.holds_on`. None without a choice, and where it is not known.
        """
        told, full = self.told, self.full
        if told is None or full is None or self.rule is Rule.NONE:
            return None
        return holds_on(told.difference, told.arm, full, self.margin if self.rule is Rule.WITHIN else None)

    @property
    def seeds(self) -> int:
        """Number of seeds behind the difference that the verdict is about; 0 without one."""
        return len(self.told.difference.seeds) if self.told is not None else 0

    @property
    def before(self) -> tuple[int, ...]:
        """Numbers of seeds of earlier looks: at the family of :attr:`told` where it was tested, else of all."""
        return self.told.before if self.told is not None and self.looks else self.recorded

    @property
    def spent(self) -> tuple[int, ...]:
        """The same with this look."""
        return tuple(sorted({*self.before, *([self.seeds] if self.looks else [])}))

    def settled(self, line: str) -> bool:
        """Whether full fine-tuning and a setting would gain nothing that matters by longer training."""
        found = self.by_line.get(line)
        return found is not None and self.full is not None and bool(all_settled([self.full, found.arm]))

    @property
    def proposed(self) -> int:
        """Number of seeds that a further look is proposed for; 0 where something is shown, where training comes first,
        and where no number of seeds can show anything: enough see no difference, and "good enough" is out of reach.
        """
        told = self.told
        if told is None or self.level is Level.SHOWN or self.withheld or self.reason or self.is_saturated:
            return 0
        is_exhausted = self.seeds >= CLAIM_SEEDS and self.needs_examples and told.difference.holds_zero
        return 0 if is_exhausted else self._next

    @property
    def _next(self) -> int:
        """Number of seeds of the next look that can claim something, no more than can be added at once."""
        most, proposed = self.seeds + MAX_NEW_SEEDS, next_look(self.seeds, self.spent)
        return most if proposed > most and level_of(most, self.spent) else proposed

    @property
    def is_saturated(self) -> bool:
        """Whether neither more seeds nor longer training help, because the test examples are too easy or too few: a
        setting has nothing left to gain with every seed, of two at least, or with as many seeds as can show something
        none of the examples tells both apart although neither is improving; and to agree on all of them would not show
        that the setting is good enough.
        """
        told, full = self.told, self.full
        if told is None or full is None or self.reason or self.withheld or self.level is not Level.OPEN:
            return False
        if self.seeds < 2 or told.crossed.examples < 2 or not told.difference.holds_zero:
            return False
        is_alike = not told.compared.chosen.any() and all_settled(self.compared) is not False
        if not (told.is_at_best(full) or (is_alike and self.seeds >= CLAIM_SEEDS)):
            return False
        alike = Design(0, 0, 0, told.crossed.examples, len(self.candidates), told.arm.setting.objective.primary.width)
        return not self.margin or alike.is_out_of_reach(self.margin, level_of(self._next, self.spent))

    @property
    def seeds_to_add(self) -> int:
        """Number of seeds that :attr:`proposed` takes beside those that are there; 0 where none is proposed."""
        return max(0, self.proposed - self.seeds)

    @property
    def can_be_longer(self) -> bool:
        """Whether runs can take three times the most epochs that were tried for the compared settings."""
        return all(can_be_longer(most_epochs(arm)) for arm in self.compared)

    @property
    def step(self) -> NextStep | None:
        """What a person can do so that there is a verdict, or one about the methods; None where there is one."""
        if self.reason or self.withheld or self.told is None:
            return self.mend
        longer = NextStep.LONGER if self.can_be_longer else None
        if better := [arm for arm in self.compared if has_better_epochs(arm)]:
            longer = NextStep.EPOCHS if better[0].rows[0].plan is not None else None
        if self.claim is None:
            if self.proposed and not (longer and any(map(has_hardly_begun, self.compared))):
                return NextStep.SEEDS
            return None if self.is_saturated or all_settled(self.compared) else longer
        match self.about:
            case About.METHODS:
                return None
            case About.BUDGET:
                return longer
            case _ if self.lacking:
                return NextStep.RATES if self.can_extend else None
            case _:
                return NextStep.SEEDS

    @property
    def design(self) -> Design | None:
        """What determines what a further look can show, from the spread of these runs; None where it is not known."""
        return self.told.design(len(self.candidates)) if self.told is not None and not self.reason else None

    @property
    def limits(self) -> Design | None:
        """What test examples keep any number of seeds from showing; None where it is not known."""
        return self.told.limits(len(self.candidates)) if self.told is not None and not self.reason else None

    @property
    def needs_examples(self) -> bool:
        """Whether "good enough" is out of reach with these test examples, whatever the number of seeds."""
        limits = self.limits
        if self.level is Level.SHOWN or limits is None:
            return False
        # Where all seeds agree on all examples, as at 100 %, the level of the next look alone decides.
        varies = (self.design or limits).varies
        return limits.is_out_of_reach(self.margin, None if varies else level_of(self._next, self.spent))
