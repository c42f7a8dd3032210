"""Differences of arms as tables: what is shown, and what was seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from core.methods.method import Role
from core.numbers import NOTHING, counted
from core.results.arm import Arm, grouped
from core.results.intervals import MIN_SEEDS, Interval
from core.results.measures import Quantity, bare_text, digits_of, ends_text
from core.rule.candidate import Candidate, Rule
from core.rule.claims import Difference, off_text, p_text
from core.rule.place import Place
from core.rule.withheld import against_full, paired_differences, rank_extremes

SEEN = "seen, not tested"
"""Of differences that no verdict is about, such as those of ranks among each other."""


def finding_text(difference: Difference, candidate: Candidate | None = None) -> str:
    """What was found: that something is shown of a setting, or what was seen.

    Args:
        difference: in any quantity.
        candidate: the setting as it was tested, where the difference is that of the verdict.
    """
    side = "higher" if difference.interval.mean > 0 else "lower"
    if candidate is not None and candidate.claim(Rule.HIGHER, Rule.LOWER):
        return f"Shown: {side}"
    if candidate is not None and candidate.claim(Rule.WITHIN):
        return "Shown: within the margin"
    is_alike = len(difference.seeds) < MIN_SEEDS and not difference.interval.half_width  # which is no interval
    if difference.holds_zero or is_alike:
        return f"Not told apart with {counted(len(difference.seeds), 'seed')}"
    return f"Leaning: {side}" if candidate is not None and candidate.leans else f"Seen: {side}"


def differences_table(differences: Sequence[Difference], tested: Mapping[str, Candidate] | None = None) -> pd.DataFrame:
    """One row per difference, in words: mean, 95 % interval, finding, its corrected p, win probability.

    What they are compared with has a column where it differs between rows; otherwise the table's title names it.

    Args:
        differences: in one quantity.
        tested: the settings of a verdict by label of the difference, where these are its differences.
    """
    columns = {"Setting": [d.a for d in differences]}
    if len({d.b for d in differences}) > 1:
        columns["Compared with"] = [d.b for d in differences]
    found = tested or {}
    columns |= {
        "Difference": [_mean_text(d) if d.interval.n else NOTHING for d in differences],
        "95 % interval": [interval_text(d.interval, d.what) for d in differences],
        "Finding": [finding_text(d, found.get(d.a)) for d in differences],
    }
    if found:
        tests = [found[d.a].found if d.a in found else None for d in differences]
        both = zip(tests, columns["Finding"], strict=True)
        columns["p"] = [p_text(p.within if "within" in said else p.differs) if p else NOTHING for p, said in both]
    columns["Beats it"] = [NOTHING if math.isnan(d.win) else f"{round(100 * d.win)} %" for d in differences]
    return pd.DataFrame(columns, dtype=object)


def full_differences(arms: Sequence[Arm], name: str, found: Place | None = None) -> list[Difference]:
    """Every LoRA arm minus full fine-tuning, then every control.

    Args:
        arms: the settings.
        name: of the quantity.
        found: the verdict on them, where the quantity is its measure: intervals are then over test examples as well.
    """
    pairs = against_full(arms)
    ordered = [pair for role in (Role.ADAPTER, Role.CONTROL) for pair in pairs if pair[0].role is role]
    seen = {candidate.arm.key: candidate.difference for candidate in found.candidates} if found is not None else {}
    return [
        replace(seen[arm.key], a=arm.label, b=full.label) if arm.key in seen else difference
        for (arm, full), difference in zip(ordered, paired_differences(ordered, name), strict=True)
    ]


def tested_settings(arms: Sequence[Arm], found: Place) -> dict[str, Candidate]:
    """The settings of a verdict by the labels that these arms have."""
    labels = {arm.key: arm.label for arm in arms}
    return {labels[each.arm.key]: each for each in found.candidates if each.arm.key in labels}


def rank_differences(arms: Sequence[Arm]) -> list[Difference]:
    """The primary measure of every higher rank minus that of the lowest of the same method."""
    sized = sorted((arm for arm in arms if arm.setting.size is not None), key=lambda arm: arm.setting.size)
    pairs = [(arm, own[0]) for own in grouped(sized, lambda arm: arm.setting.method).values() for arm in own[1:]]
    return paired_differences(pairs, arms[0].primary) if pairs else []


def _mean_text(difference: Difference) -> str:
    what = difference.what.change
    return bare_text(what, difference.interval.mean, digits_of(difference.interval, what))


def interval_text(interval: Interval, what: Quantity) -> str:
    """Both ends of a difference in a quantity, as in ``−0.31 to +0.12``; a dash where there is no interval."""
    if not math.isfinite(interval.half_width):
        return NOTHING
    if interval.low == interval.high:
        return "the same in every seed"
    return ends_text(interval, what.change) or bare_text(what.change, interval.mean)


def rank_sentences(found: Place) -> list[str]:
    """Whether the rank mattered, or that nothing tells it, as a description: no test is about it."""
    if found.told is None or found.reason or found.withheld:
        return []
    sizes = {each.arm.setting.size for each in found.candidates if each.arm.setting.size is not None}
    if len(sizes) == 1:
        return ["Rank: only one was trained, so nothing tells whether it matters."]
    pairs = rank_extremes([candidate.arm for candidate in found.candidates])
    return [
        f"Rank: {high.name} was {off_text(difference)} than {low.name}: {SEEN}."
        for high, low in pairs
        if len((difference := paired_differences([(high, low)], high.primary)[0]).seeds) > 1
    ]
