"""Whether there are enough seeds for a claim."""

from __future__ import annotations

from core.answer.check import Check, Outcome
from core.answer.levels import level_text, p_percent, said
from core.numbers import counted
from core.rule.candidate import Candidate, Rule
from core.rule.place import Place
from core.rule.spending import CLAIM_SEEDS
from core.rule.withheld import NextStep


def check(found: Place) -> Check | None:
    """Holds where the claim was shown with these seeds; open where more could show it."""
    told, seeds = found.told, found.seeds
    if told is None or found.withheld:
        return None
    step = NextStep.SEEDS if found.step is NextStep.SEEDS else None
    if (claim := said(found)) is not None and told.found is not None:
        p, at = (told.found.within, told.at / 2) if claim.rule is Rule.WITHIN else (told.found.differs, told.at)
        if p > at:
            return Check(Outcome.HOLDS, f"Shown with {claim.seeds} seeds at an earlier look, and still so.", p)
        return Check(Outcome.HOLDS, f"{_tested(found, told)}: {p_percent(p)} (limit {level_text(at)}).", p)
    further = f"; {found.proposed} are proposed" if found.proposed else ""
    if seeds < CLAIM_SEEDS:
        return Check(Outcome.OPEN, f"{counted(seeds, 'seed')}: a claim takes at least {CLAIM_SEEDS}.", seeds, step)
    return Check(
        Outcome.OPEN, f"{_why(found, told)}{further}.", None if told.found is None else told.found.differs, step
    )


def _why(found: Place, told: Candidate) -> str:
    """Why so many seeds show nothing."""
    if not told.at:
        return f"A look at {found.seeds} seeds after one at {max(found.before, default=0)} shows nothing"
    if told.is_again:
        return f"These {found.seeds} seeds were looked at before, and count once"
    p = told.found.differs if told.found is not None else 1.0
    return f"{_tested(found, told)}: {p_percent(p)} (limit {level_text(told.at)})"


def _tested(found: Place, told: Candidate) -> str:
    """What was tested together, as in ``8 seeds, 3 settings``."""
    return f"{found.seeds} seeds{f', {told.among} settings' if told.among > 1 else ''}"
