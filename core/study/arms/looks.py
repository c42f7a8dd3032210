"""Looks at the test part: which settings are tested together, at which level, and what that shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from core.store.looks import Look
from core.study.arms.arm import Arm
from core.study.arms.candidate import Candidate, Claim, Rule
from core.study.arms.family import member_name
from core.study.stats.family import Found, leaning, p_values
from core.study.stats.spending import level_of

Named = Callable[[Arm], str]
"""Returns what a member of a family is called in the store."""


@dataclass(frozen=True)
class Family:
    """Settings that one question compares with full fine-tuning, and so are tested together."""

    names: tuple[str, ...]
    """Of all members, as in :attr:`core.store.looks.Look.family`."""
    arms: tuple[Arm, ...]
    """Those of them that have a setting; one that is gone or has failed stays in the family."""
    looks: tuple[Look, ...]
    """Earlier looks at it."""


def families_of(
    arms: Sequence[Arm], tried: Iterable[Arm], looks: Sequence[Look], epochs: int, name: Named = member_name
) -> list[Family]:
    """The families of an experiment: those of earlier looks, and one of what was added since.

    Settings that are added after a look have an account of their own: up to 5 % more of false claims.

    Args:
        arms: the chosen adapter setting of each method and rank that has one.
        tried: all adapter settings: those that failed stay in the family.
        looks: earlier ones at the experiment.
        epochs: number of epochs of the settings; looks with another number are at another question.
        name: what a member is called in the store.
    """
    own = [look for look in sorted(looks, key=lambda look: look.at) if look.epochs == epochs]
    known = list(dict.fromkeys(look.family for look in own))
    taken = {name for names in known for name in names}
    added = tuple(sorted({name(arm) for arm in tried} - taken))
    return [
        Family(
            names,
            tuple(arm for arm in arms if name(arm) in names),
            tuple(look for look in own if look.family == names),
        )
        for names in [*known, *([added] if added else [])]
    ]


def look_at(
    family: Family, candidates: Sequence[Candidate], margin: float, epochs: int, name: Named = member_name
) -> tuple[Look, list[Candidate]]:
    """Test a family.

    Args:
        family: what is tested together.
        candidates: its settings that have finished seeds in common, at least one.
        margin: how much worse than full fine-tuning a setting may be.
        epochs: number of epochs of the settings.
        name: what a member is called in the store.

    Returns:
        The look, and the candidates with what was found.
    """
    seeds, failed = len(candidates[0].difference.seeds), len(family.names) - len(candidates)
    level = level_of(seeds, [look.seeds for look in family.looks])
    found: list[Found | None] = [None] * len(candidates)
    if seeds > 1:
        width = candidates[0].arm.spec.objective.primary.width
        found = [*p_values([each.compared for each in candidates], margin, failed, width)]
    before = tuple(sorted({look.seeds for look in family.looks if look.seeds != seeds}))
    known = next((look for look in family.looks if look.seeds == seeds), None)
    claims: dict[str, dict[str, bool | None]] = {}
    tested = []
    leans_of = leaning([each.difference.values for each in candidates], failed)
    for candidate, test, leans in zip(candidates, found, leans_of, strict=True):
        own = name(candidate.arm)
        shown = _shown(candidate, test, level) if test is not None else {}
        is_again = known is not None and bool(shown.keys() - {Rule(rule) for rule in known.claims.get(own, {})})
        if known is not None:  # nothing is tested twice with the same number of seeds
            # ... but at neighboring rates that were not trained then, for the first time.
            stored = {Rule(rule): methods for rule, methods in known.claims.get(own, {}).items()}
            shown = {rule: shown.get(rule) if methods is None else methods for rule, methods in stored.items()}
        if shown:
            claims[own] = {str(rule): about_methods for rule, about_methods in shown.items()}
        stays = _claims(candidate, margin, own, shown, seeds, family.looks)
        placed = replace(candidate, at=level, among=len(family.names), before=before, is_again=is_again)
        tested.append(replace(placed, found=test, leans=leans, claims=stays))
    return Look(epochs, family.names, seeds, level, claims), tested


def _shown(candidate: Candidate, test: Found, level: float) -> dict[Rule, bool | None]:
    """What is shown at a level, with whether it is about methods; None where that was not tested."""
    side = Rule.HIGHER if candidate.crossed.mean > 0 else Rule.LOWER
    tests = (
        (side, test.differs, test.methods_differ, level),
        (Rule.WITHIN, test.within, test.methods_within, level / 2),
    )
    if not level:
        return {}
    shown = [(rule, methods <= at) for rule, p, methods, at in tests if p <= at]
    return {rule: None if candidate.lacks(rule) else about_methods for rule, about_methods in shown}


def _claims(
    candidate: Candidate,
    margin: float,
    name: str,
    shown: Mapping[Rule, bool | None],
    seeds: int,
    earlier: Sequence[Look],
) -> tuple[Claim, ...]:
    """What is shown now, and what was shown at earlier looks with fewer seeds."""
    first: dict[Rule, tuple[int, bool | None]] = {}
    for look in sorted(earlier, key=lambda look: look.seeds):
        for rule, methods in look.claims.get(name, {}).items():
            first.setdefault(Rule(rule), (look.seeds, methods))
    for rule, methods in shown.items():
        known = first.get(rule)
        first[rule] = (seeds, methods) if known is None else (known[0], known[1] or methods)
    interval = candidate.crossed.interval()
    holds = {
        Rule.HIGHER: interval.low > 0,
        Rule.LOWER: interval.high < 0,
        Rule.WITHIN: interval.low > -margin,
    }
    return tuple(
        Claim(rule, at, bool(methods) and not candidate.lacks(rule), rule in shown or holds[rule])
        for rule, (at, methods) in first.items()
    )
