"""Adapter settings beside full fine-tuning, and what was shown of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from core.results.arm import Arm
from core.results.intervals import MIN_SEEDS
from core.rule.claims import Difference, Level, is_lopsided
from core.rule.crossed import Crossed, crossed
from core.rule.family import Compared, Found
from core.rule.power import Design

EASY = 0.05
"""Share of a measure's range that is left to its best value where test examples are called easy."""

FEW_EXAMPLES = 3
"""Number of test examples, per seed, that a difference may be of so that other examples may well have none: the rule of
three; see :func:`core.rule.family.fewest_p`."""


class Rule(StrEnum):
    """The part of the rule that decided."""

    WITHIN = "within"
    """The choice is the cheapest adapter setting that is within the margin of full fine-tuning."""
    HIGHER = "higher"
    """The choice is the adapter setting that is best on the validation part; it is better than full fine-tuning."""
    LOWER = "lower"
    """The choice is full fine-tuning: the adapter setting that is best on the validation part is worse."""
    NONE = "none"
    """No choice."""


@dataclass(frozen=True)
class Claim:
    """Something that was shown of a setting, and stays said while it is about the settings that are chosen."""

    rule: Rule
    seeds: int
    """Number of seeds of the look at which it was first shown."""
    about_methods: bool
    """Whether it was shown at the neighboring learning rates as well; False where none was trained."""
    holds: bool
    """Whether the present 95 % interval over seeds and test examples agrees with it."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """An adapter setting that is compared with full fine-tuning."""

    arm: Arm
    difference: Difference
    """Its primary measure on the test part minus that of full fine-tuning."""
    compared: Compared
    """The same by seed and test example, positive where it is better, also at the neighbors of the learning rates."""
    settings: tuple[str, ...]
    """Keys of all that is compared there: full fine-tuning and the setting, then both at these neighbors."""
    found: Found | None = None
    """What was tested at this look; None where nothing was."""
    claims: tuple[Claim, ...] = ()
    at: float = 0.0
    """The level of this look at its family; 0 where nothing can be claimed."""
    among: int = 1
    """Number of settings in its family, those that failed included."""
    before: tuple[int, ...] = ()
    """Numbers of seeds of earlier looks at its family."""
    is_again: bool = False
    """Whether something would be shown now that was not by a look with as many seeds, before something changed."""
    full_lacks: bool = False
    """Whether full fine-tuning was not trained at a neighbor of its learning rate."""
    own_lacks: bool = False
    """Whether the setting was not trained at a neighbor of its own."""
    leans: bool = False
    """Whether it leans: with 3 to 6 seeds, all agree in sign and the t test rejects at 5 % at this look alone."""

    @cached_property
    def crossed(self) -> Crossed:
        """The difference over seeds and test examples, positive where it is better."""
        return crossed(self.compared.chosen)

    def claim(self, *rules: Rule) -> Claim | None:
        """The claim of one of these rules that holds."""
        return next((claim for claim in self.claims if claim.rule in rules and claim.holds), None)

    def few_decide(self, rule: Rule, margin: float) -> bool:
        """Whether few seeds decide what a rule says: the median of their differences is on another side of 0 than the
        mean, or of the margin where that is the rule.
        """
        return is_lopsided((self.compared.chosen.mean(1) + (margin if rule is Rule.WITHIN else 0.0)).tolist())

    def lacks(self, rule: Rule) -> bool:
        """Whether what a claim about methods takes was not trained: the neighbors of what would have to be badly tuned
        for the claim to be wrong, the setting where that is worse, else full fine-tuning.
        """
        return self.own_lacks if rule is Rule.LOWER else self.full_lacks

    @property
    def neighbors(self) -> str:
        """What a claim about methods was tested at beside what was chosen, in words."""
        epochs = any(
            each is not None for own in (self.compared.full_around, self.compared.own_around) for each in own[2:]
        )
        return f"neighboring learning rates{' and numbers of epochs' if epochs else ''}"

    @property
    def within(self) -> Level:
        """The level at which it falls short by less than the margin."""
        return Level.SHOWN if self.claim(Rule.WITHIN) else Level.OPEN

    @property
    def level(self) -> Level:
        """The level at which it differs."""
        if self.claim(Rule.HIGHER, Rule.LOWER):
            return Level.SHOWN
        return Level.LEANING if self.leans else Level.OPEN

    def design(self, settings: int) -> Design | None:
        """What determines what a further look can show, from the spread of its runs; None with fewer than three seeds.

        Args:
            settings: number of those that are tested together.
        """
        width = self.arm.setting.objective.primary.width
        if self.crossed.seeds < MIN_SEEDS:
            return None
        return Design(*self.crossed.spreads, self.crossed.examples, max(settings, 1), width)

    def limits(self, settings: int) -> Design | None:
        """The same without what seeds add, so that two seeds tell it, and of one the number of test examples alone.

        None where single answers are not known. Args: settings: see :meth:`design`.
        """
        if self.crossed.examples < 2:
            return None
        example = self.crossed.spreads[1] if self.crossed.seeds > 1 else 0.0
        width = self.arm.setting.objective.primary.width
        return Design(0.0, example, 0.0, self.crossed.examples, max(settings, 1), width)

    def is_easy(self, full: Arm) -> bool:
        """Whether the test examples are easy: the better mean of both is within :data:`EASY` of the measure's best."""
        measure = self.arm.setting.objective.primary
        left = min(abs(measure.limits[measure.higher_is_better] - arm.tested.mean) for arm in (self.arm, full))
        return math.isfinite(measure.width) and left <= EASY * measure.width

    def is_at_best(self, full: Arm) -> bool:
        """Whether it or full fine-tuning has the best value of the measure with every seed, and the other one is worse
        by at most :data:`FEW_EXAMPLES` test examples.
        """
        measure, seeds = self.arm.setting.objective.primary, self.difference.seeds
        best = measure.limits[measure.higher_is_better]
        if not any(all(arm.by_seed(measure.name)[seed] == best for seed in seeds) for arm in (self.arm, full)):
            return False
        return abs(self.difference.interval.mean) <= FEW_EXAMPLES * measure.width / self.crossed.examples
