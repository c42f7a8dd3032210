"""What all looks at the test part together may have claimed by chance, and which claims no longer hold."""

from __future__ import annotations

from core.answer.check import Check, Outcome
from core.answer.levels import level_text
from core.numbers import counted
from core.rule.candidate import Rule
from core.rule.place import Place
from core.rule.spending import CLAIM_SEEDS

CLAIMED = {Rule.WITHIN: "good enough", Rule.HIGHER: "better", Rule.LOWER: "worse"}


def check(found: Place) -> Check | None:
    """Fails where an earlier claim no longer holds; open where something was added after a look, which is a question of
    its own that may use 5 % more.
    """
    if found.withheld:
        return None
    for candidate in found.candidates:
        for claim in candidate.claims:
            if not claim.holds:
                line = f"{candidate.arm.name} was shown {CLAIMED[claim.rule]} with {claim.seeds} seeds, no longer now."
                return Check(Outcome.FAILS, line, claim.seeds)
    used = sum(found.used)
    if not used:
        return None
    number = len({seeds for seeds in found.spent if seeds >= CLAIM_SEEDS})
    questions = f", {len(found.used)} questions" if len(found.used) > 1 else ""
    line = f"{counted(number, 'look')}{questions}: the chance of any false claim is at most {level_text(used)}."
    return Check(Outcome.HOLDS if len(found.used) < 2 else Outcome.OPEN, line, used)
