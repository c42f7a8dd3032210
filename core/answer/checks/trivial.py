"""Whether both sides are better than answers that need no input."""

from __future__ import annotations

from core.answer.check import Check, Outcome, names
from core.numbers import capitalized, percent
from core.rule.ahead import Ahead
from core.rule.balance import largest_class
from core.rule.place import Place


def check(found: Place) -> Check | None:
    """Fails where the interval of a setting does not lie above the trivial answer."""
    controls, share = found.controls, largest_class(found.compared[0].rows[0])
    if controls is None:
        return None
    what = f"always naming one class ({percent(share, 1)})" if share is not None else "answers that need no input"
    if controls.unlearned:
        does = "does" if len(controls.unlearned) == 1 else "do"
        line = f"{capitalized(names(controls.unlearned))} {does} not clearly beat {what}."
        return Check(Outcome.FAILS, line, share, Ahead(found).step)
    if not controls.knows_trivial:
        return Check(Outcome.UNKNOWN, "What answers without any input reach is not known.")
    return Check(Outcome.HOLDS, f"Both beat {what}.", share)
