"""Adapter settings beside full fine-tuning: how a family of them is tested at a look, and which claims stand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from core.results.arm import Arm
from core.results.intervals import ERROR_RATE, MIN_SEEDS
from core.rule.claims import Difference, agree_in_sign, is_lopsided
from core.rule.family import Compared, Crossed, Found, crossed, holm, p_values, t_p
from core.rule.spending import CLAIM_SEEDS, Design, level_of
from core.store.looks import FULL, Look, Member, Shown

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
    """No choice; of a setting, that nothing was shown."""


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

    @property
    def standing(self) -> Rule:
        """What was shown of it; worse and yet within the margin counts as within."""
        return next((rule for rule in (Rule.HIGHER, Rule.WITHIN, Rule.LOWER) if self.claim(rule)), Rule.NONE)

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

    def design(self, settings: int) -> Design | None:
        """What determines what a further look at so many settings can show; None with fewer than three seeds."""
        return self._design(settings, self.crossed.spreads) if self.crossed.seeds >= MIN_SEEDS else None

    def limits(self, settings: int) -> Design | None:
        """The same without what seeds add, which two seeds tell; None where single answers are not known."""
        example = self.crossed.spreads[1] if self.crossed.seeds > 1 else 0.0
        return self._design(settings, (0.0, example, 0.0)) if self.crossed.examples > 1 else None

    def _design(self, settings: int, spreads: tuple[float, float, float]) -> Design:
        return Design(*spreads, self.crossed.examples, max(settings, 1), self.arm.setting.objective.primary.width)

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


def member_name(arm: Arm) -> str:
    """The name of a method and rank in the store, as in ``lora 4``."""
    return f"{arm.setting.method} {arm.setting.size}"


def member_of(arm: Arm) -> Member:
    """What a setting is tested as: its method and rank, with its number of epochs."""
    return member_name(arm), arm.setting.epochs


Named = Callable[[Arm], Member]
"""Returns what a setting is tested as."""


@dataclass(frozen=True)
class Family:
    """Settings that share an account of the error rate, and so are tested together."""

    account: tuple[Member, ...]
    """As in :attr:`core.store.looks.Look.account`."""
    arms: tuple[Arm, ...]
    """Those of them that have a setting; one that is gone or has failed stays in the family."""
    looks: tuple[Look, ...]
    """Earlier looks at it."""

    @property
    def members(self) -> tuple[Member, ...]:
        """Its settings beside full fine-tuning."""
        return tuple(member for member in self.account if member[0] != FULL)


def families_of(
    arms: Sequence[Arm],
    tried: Iterable[Arm],
    looks: Sequence[Look],
    name: Named = member_of,
    full: Arm | None = None,
) -> list[Family]:
    """The families of an experiment: those of earlier looks, and one of what was added since.

    What is added after a look, or chosen with another number of epochs than before, has an account of its own, and so
    have all where full fine-tuning has another number: up to 5 % more of false claims.

    Args:
        arms: the chosen adapter setting of each method and rank that has one.
        tried: all adapter settings: those that failed stay in the family.
        looks: earlier ones at the experiment.
        name: what a setting is tested as.
        full: full fine-tuning as chosen; None where members say themselves what they are compared with.
    """
    epochs = None if full is None else full.setting.epochs
    known = list(dict.fromkeys(look.account for look in sorted(looks, key=lambda look: look.at)))
    known = [account for account in known if epochs is None or _epochs_of_full(account) in (None, epochs)]
    taken = {member for account in known for member in account}
    added = tuple(sorted({name(arm) for arm in tried} - taken))
    if epochs is not None and any(own != epochs for _, own in added):
        added = ((FULL, epochs), *added)
    return [
        Family(
            account,
            tuple(arm for arm in arms if name(arm) in account),
            tuple(look for look in looks if look.account == account),
        )
        for account in [*known, *([added] if added else [])]
    ]


def _epochs_of_full(account: Sequence[Member]) -> int | None:
    """Number of epochs of full fine-tuning in an account: that of all members where it has none of its own."""
    own = dict(account).get(FULL)
    shared = {epochs for _, epochs in account}
    return own if own is not None or len(shared) > 1 else next(iter(shared), None)


Decision = Callable[[Family, Sequence[Candidate], float], tuple[Look, list[Candidate]]]
"""Tests a family, given its settings that have finished seeds in common and the margin. Returns the look and the
settings with the claims that stand. Another rule is another function of this kind; see :func:`look_at`."""


def look_at(family: Family, candidates: Sequence[Candidate], margin: float) -> tuple[Look, list[Candidate]]:
    """Test a family: its settings that have finished seeds in common, at least one.

    Nothing is tested twice with the same number of seeds: after an earlier look with as many, its claims are what is
    shown, but for neighboring learning rates that were not trained then.

    Returns:
        The look, and the candidates with what was found and the claims that stand.
    """
    seeds, failed = len(candidates[0].difference.seeds), len(family.members) - len(candidates)
    others = [look for look in family.looks if look.seeds != seeds]
    known = next((look for look in family.looks if look.seeds == seeds), None)
    level = level_of(seeds, [look.seeds for look in others]) if known is None else known.level
    found: list[Found | None] = [None] * len(candidates)
    if seeds > 1:
        width = candidates[0].arm.setting.objective.primary.width
        found = [*p_values([each.compared for each in candidates], margin, failed, width)]
    leans = leaning([each.difference.values for each in candidates], failed)
    shown = [each for candidate, test in zip(candidates, found, strict=True) for each in _shown(candidate, test, level)]
    stored = None if known is None else known.claims
    claims = shown if stored is None else [_further(each, shown) for each in stored]
    look = Look(family.account, seeds, level, tuple(claims))
    before = tuple(sorted({look.seeds for look in others}))
    tested = [
        replace(
            candidate,
            found=test,
            leans=own_leans,
            at=level,
            among=len(family.members),
            before=before,
            claims=tuple((stand := _claims(candidate, margin, look, others)).values()),
            is_again=any(each.settings == candidate.settings and each.rule not in stand for each in shown),
        )
        for candidate, test, own_leans in zip(candidates, found, leans, strict=True)
    ]
    return look, tested


def leaning(family: Sequence[Sequence[float]], failed: int = 0) -> list[bool]:
    """Tell which settings lean: 3 to 6 seeds agree in sign, and the t test rejects at 5 % after Holm's correction. It
    is a word for what was seen with too few seeds, and decides nothing. Args: family: differences by seed, of each
    setting.
    """
    by_t = holm([*(t_p(values) for values in family), *[1.0] * failed])
    return [
        MIN_SEEDS <= len(values) < CLAIM_SEEDS and p <= ERROR_RATE and agree_in_sign(values)
        for values, p in zip(family, by_t, strict=False)
    ]


def _shown(candidate: Candidate, test: Found | None, level: float) -> list[Shown]:
    """What is shown of a setting at a level."""
    if test is None or not level:
        return []
    side = Rule.HIGHER if candidate.crossed.mean > 0 else Rule.LOWER
    tests = (
        (side, test.differs, test.methods_differ, level),
        (Rule.WITHIN, test.within, test.methods_within, level / 2),
    )
    return [
        Shown(str(rule), candidate.settings, None if candidate.lacks(rule) else methods <= at)
        for rule, p, methods, at in tests
        if p <= at
    ]


def _further(stored: Shown, shown: Iterable[Shown]) -> Shown:
    """A claim of an earlier look with as many seeds, tested at neighboring rates where that was not done then."""
    tested = (each for each in shown if each.methods is not None)
    same = (each for each in tested if (each.rule, each.settings[:2]) == (stored.rule, stored.settings[:2]))
    return stored if stored.methods is not None else next(same, stored)


def _claims(candidate: Candidate, margin: float, look: Look, others: Sequence[Look]) -> dict[Rule, Claim]:
    """The claims of this look and of others that are about the settings as they are chosen now. A claim of this look
    also takes that the difference has its sign; one of another look does not hold where the present interval disagrees.
    """
    mean, interval = candidate.crossed.mean, candidate.crossed.interval()
    has_sign = {Rule.HIGHER: mean > 0, Rule.LOWER: mean < 0, Rule.WITHIN: mean > -margin}
    agrees = {Rule.HIGHER: interval.low > 0, Rule.LOWER: interval.high < 0, Rule.WITHIN: interval.low > -margin}
    found: dict[Rule, Claim] = {}
    for own in sorted([*others, look], key=lambda each: each.seeds):
        for shown in own.claims or ():
            rule = Rule(shown.rule)
            if shown.covers(*candidate.settings[:2]) and (own is not look or has_sign[rule]):
                first = found.get(rule, Claim(rule, own.seeds, about_methods=False, holds=agrees[rule]))
                about_methods, holds = first.about_methods or bool(shown.methods), first.holds or own is look
                found[rule] = replace(first, about_methods=about_methods, holds=holds)
    return found
