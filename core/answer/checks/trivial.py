"""Whether both sides are better than answers that need no input."""

from __future__ import annotations

from core.answer.check import Check, Outcome, names
from core.numbers import capitalized
from core.rule.controls import largest_class, trivial_words
from core.rule.place import Place


def check(found: Place) -> Check | None:
    """Fails where the interval of a setting does not lie above the trivial answer."""
    controls, one = found.controls, found.compared[0]
    if controls is None:
        return None
    share, what = largest_class(one.rows[0]), trivial_words(one)
    if controls.unlearned:
        does = "does" if len(controls.unlearned) == 1 else "do"
        line = f"{capitalized(names(controls.unlearned))} {does} not clearly beat {what}."
        return Check(Outcome.FAILS, line, share, found.step)
    if not controls.knows_trivial:
        return Check(Outcome.UNKNOWN, "The score of a trivial answer is not known.")
    return Check(Outcome.HOLDS, f"Both beat {what}.", share)
