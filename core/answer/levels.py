"""The level of an answer in words: what it means, what limits it, and p-values in the unit of levels."""

from __future__ import annotations

from core.numbers import percent
from core.rule.candidate import Claim, Rule
from core.rule.claims import Level
from core.rule.place import About, Place

PROBABLY = "probably"
"""Of a choice that was not shown; see :attr:`core.rule.place.Place.is_probable`."""

MEANINGS = {
    str(Level.SHOWN): "The test over seeds and test examples rejects at the level of its look, corrected for all "
    "settings. At most 5 % of experiments without a difference ever get there.",
    str(Level.LEANING): "All seeds point the same way, but 3 to 6 are too few for a claim: this decides nothing.",
    PROBABLY: "The interval leaves out 0, or 3 to 6 seeds lean, which is not enough for a claim and decides nothing. "
    "Without any difference an answer says so in 2 to 10 % of experiments with 3 seeds, in 5 to 23 % of those that are "
    "read with each of 3 to 6 seeds, and in 1 to 6 % of those with 7, 8 or 16 seeds.",
    str(Level.OPEN): "These runs do not support a claim.",
}
"""What each level means, for a tooltip; the rates are simulated in docs/statistics.md."""

ALL_MEANINGS = " ".join(f"**{level.capitalize()}**: {meaning}" for level, meaning in MEANINGS.items())
"""The same of all levels, for the heading of a column; Markdown."""

SCOPES = dict(zip(About, ("", " for this budget", " at these rates", " in the mean of these runs"), strict=True))
"""What a claim is limited to, as the end of a clause."""


def level_words(found: Place) -> str:
    """The level of an answer, and what it is limited to, as in ``shown at these rates``; empty where there is none."""
    if found.reason or found.withheld:
        return ""
    if found.claim is not None:
        return f"{found.level}{SCOPES[found.about]}"
    return PROBABLY if found.is_probable else str(Level.OPEN)


def meaning_of(found: Place) -> str:
    """What its level means."""
    return MEANINGS[PROBABLY if found.is_probable else str(found.level)]


def said(found: Place) -> Claim | None:
    """The claim of the headline: that a setting is better rather than good enough, where that is shown as far."""
    better = found.told.claim(Rule.HIGHER) if found.told is not None and found.claim is not None else None
    return better if better and (better.about_methods or found.about is About.RATES) else found.claim


def level_text(level: float) -> str:
    """The level of a look, as in ``3.1 %``."""
    return percent(100 * level, 1 if level >= 0.001 else 2)


def p_percent(p: float) -> str:
    """A p-value in the unit of the levels that it is compared with, as in ``p = 0.8 %``."""
    return "p < 0.1 %" if p < 0.001 else f"p = {level_text(p)}"
