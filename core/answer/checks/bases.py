"""Whether each seed has a base of its own, so that the claim is about bases like these and not about one of them."""

from __future__ import annotations

from core.answer.check import Check, Outcome
from core.rule.place import Place


def check(found: Place) -> Check | None:
    """Open where all runs start from one network."""
    spec = found.compared[0].setting.spec
    if spec is None:
        return None
    if spec.own_base:
        return Check(Outcome.HOLDS, "Each seed has a base of its own.")
    if spec.is_direct:
        return Check(Outcome.OPEN, "All runs start from one imported network: others may differ.")
    return Check(Outcome.OPEN, "All runs start from one base: other bases may differ.")
