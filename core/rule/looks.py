"""Looks at the test part: what shares an account of the error rate, what a look tests, and which claims stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from core.results.arm import Arm
from core.rule.candidate import Candidate, Claim, Rule
from core.rule.differences import member_of
from core.rule.family import Found, leaning, p_values
from core.rule.spending import level_of
from core.store.looks import FULL, Look, Member, Shown

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

    Settings that are added after a look, or that are chosen with another number of epochs than before, have an account
    of their own, and so have all where full fine-tuning has another: up to 5 % more of false claims.

    Args:
        arms: the chosen adapter setting of each method and rank that has one.
        tried: all adapter settings: those that failed stay in the family.
        looks: earlier ones at the experiment.
        name: what a setting is tested as.
        full: full fine-tuning as it was chosen; None where members say themselves what they are compared with.
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
    """Test a family.

    Nothing is tested twice with the same number of seeds: after an earlier look with as many, its claims are what is
    shown, but for neighboring learning rates that were not trained then, at which they are tested for the first time.

    Args:
        family: what is tested together.
        candidates: its settings that have finished seeds in common, at least one.
        margin: how much worse than full fine-tuning a setting may be.

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
    """The claims of this look and of others that are about the setting and full fine-tuning as they are chosen now.

    A claim of this look also takes that the difference has its sign: other settings than those that were tested may be
    chosen now. One of another look is said not to hold where the present interval does not agree.
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
