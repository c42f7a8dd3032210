"""All checks, and those of an answer. A new one is a module with a function ``check``, and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from core.answer.check import WORST_FIRST, Check, Checked
from core.answer.checks import (
    base_gain,
    bases,
    budget,
    calibration,
    equal_epochs,
    examples,
    forgetting,
    head,
    looks,
    neighbors,
    outliers,
    pretraining,
    rates,
    seeds,
    trivial,
)
from core.rule.answer import Answer
from core.rule.place import Place

CHECKS: Mapping[str, Checked] = {
    "rates": rates.check,
    "neighbors": neighbors.check,
    "budget": budget.check,
    "equal epochs": equal_epochs.check,
    "seeds": seeds.check,
    "examples": examples.check,
    "trivial": trivial.check,
    "base": base_gain.check,
    "head": head.check,
    "pretraining": pretraining.check,
    "forgetting": forgetting.check,
    "calibration": calibration.check,
    "bases": bases.check,
    "outliers": outliers.check,
    "looks": looks.check,
}
"""By name, in the order of a list of equal outcomes."""

KEPT = 64
"""Number of places whose checks are kept in memory."""


def checks_of(found: Answer | Place) -> dict[str, Check]:
    """The checks of an answer by name, those that fail first; none while nothing is compared.

    Of several places along an axis the worst outcome is told, and where it is.
    """
    if isinstance(found, Place):
        return dict(_at(found))
    places = [(at, _at(at)) for at in found.places]
    if found.vary is None:
        return dict(places[0][1])
    told: dict[str, Check] = {}
    for name in CHECKS:
        own = [(at, checks[name]) for at, checks in places if name in checks]
        if not own:
            continue
        worst = min((check for _, check in own), key=_order)
        points = [at.point for at, check in own if check.outcome is worst.outcome]
        is_everywhere = len(points) == len(found.places)
        where = "" if is_everywhere else f"at {found.axis.texts(points[:1])}"
        where += f" and {len(points) - 1} more" if where and len(points) > 1 else ""
        told[name] = replace(worst, where=where)
    return _sorted(told)


@lru_cache(maxsize=KEPT)
def _at(found: Place) -> Mapping[str, Check]:
    if found.reason or found.unread or found.told is None:
        return {}
    return _sorted({name: own for name, check in CHECKS.items() if (own := check(found)) is not None})


def _sorted(checks: Mapping[str, Check]) -> dict[str, Check]:
    return dict(sorted(checks.items(), key=lambda pair: _order(pair[1])))


def _order(check: Check) -> int:
    return WORST_FIRST.index(check.outcome)
