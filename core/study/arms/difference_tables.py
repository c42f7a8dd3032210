"""Differences of arms as tables: what is shown, what is not, and how many seeds it would take."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from core.methods.method import Role
from core.numbers import NOTHING, count_text, counted
from core.study.arms.arm import Arm
from core.study.arms.cut import CutArm
from core.study.arms.pairs import against_full, paired_differences
from core.study.stats.claims import Difference, Level, Pair, differences_of
from core.study.stats.intervals import Interval
from core.study.stats.measures import Quantity, bare_text, digits_of, ends_text, quantity, spread_text
from core.study.stats.words import p_text


def finding_text(difference: Difference) -> str:
    """What may be claimed: the level, the direction, and the number of seeds that would show what is not shown."""
    side = "higher" if difference.interval.mean > 0 else "lower"
    if difference.level is Level.SHOWN:
        return f"Shown: {side}"
    seeds = len(difference.seeds)
    if difference.level is Level.LEANING:
        text = f"Leaning: {side}"
    elif difference.holds_zero:
        text = f"No difference shown with {counted(seeds, 'seed')}"
    else:
        text = f"Seen: {side}, not yet a claim"
    need = max(difference.seeds_needed or 0, difference.least_seeds if seeds < difference.least_seeds else 0)
    return f"{text}; about {count_text(need)} seeds needed" if need else text


def differences_table(differences: Sequence[Difference]) -> pd.DataFrame:
    """One row per difference, in words: mean, intervals, what may be claimed, corrected p, win probability.

    The intervals are at 95 %: Student's t, and as a second reading the BCa bootstrap.

    What they are compared with has a column where it differs between rows; otherwise the table's title names it.
    """
    columns = {"Setting": [d.a for d in differences]}
    if len({d.b for d in differences}) > 1:
        columns["Compared with"] = [d.b for d in differences]
    columns |= {
        "Difference": [_mean_text(d) if d.interval.n else NOTHING for d in differences],
        "95 % interval": [interval_text(d.interval, d.what) for d in differences],
        "Bootstrap": [interval_text(d.bootstrap, d.what) for d in differences],
        "Finding": [finding_text(d) for d in differences],
        "p": [p_text(d.p) for d in differences],
        "Beats it": [NOTHING if math.isnan(d.win) else f"{round(100 * d.win)} %" for d in differences],
    }
    return pd.DataFrame(columns, dtype=object)


def full_differences(arms: Sequence[Arm], name: str) -> list[Difference]:
    """Every LoRA arm minus full fine-tuning, tested together as for the verdict; then every control, together too."""
    pairs = against_full(arms)
    lora = [pair for pair in pairs if pair[0].role is Role.ADAPTER]
    controls = [pair for pair in pairs if pair[0].role is Role.CONTROL]
    return paired_differences(lora, name) + paired_differences(controls, name)


def rank_differences(arms: Sequence[Arm]) -> list[Difference]:
    """The primary measure of every higher rank minus that of the lowest of the same method, tested together."""
    by_method: dict[str, list[Arm]] = {}
    for arm in sorted((arm for arm in arms if arm.spec.method.size_field), key=lambda arm: arm.spec.method.size):
        by_method.setdefault(arm.spec.kind, []).append(arm)
    pairs = [(arm, own[0]) for own in by_method.values() for arm in own[1:]]
    return paired_differences(pairs, arms[0].primary) if pairs else []


def cut_differences(arms: Sequence[Arm], cuts: Sequence[CutArm]) -> list[Difference]:
    """For each rank, LoRA minus full fine-tuning whose ΔW was cut to it, on the test part, tested together."""
    cut_of = {cut.rank: cut for cut in cuts}
    pairs = [
        Pair(
            arm.label,
            cut_of[rank].label,
            arm.by_seed(arm.primary),
            {seed: found.target for seed, found in cut_of[rank].by_seed.items()},
        )
        for arm in arms
        if (rank := arm.spec.method.inner_rank) is not None and rank in cut_of
    ]
    return differences_of(pairs, arms[0].what(arms[0].primary)) if pairs else []


def cuts_table(cuts: Sequence[CutArm], masked: bool) -> pd.DataFrame:
    """One row per rank: the primary measure of full fine-tuning cut to it on the target, and on the source if there is
    one.
    """
    measure = cuts[0].objective.primary
    what = quantity(measure.name, cuts[0].objective)
    columns = {
        "Reference": [cut.label for cut in cuts],
        measure.title: [spread_text(cut.target, what) for cut in cuts],
    }
    if any(cut.source(masked=False).n for cut in cuts):
        columns[f"Source {measure.noun}"] = [spread_text(cut.source(masked=False), what) for cut in cuts]
        if masked:
            columns[f"Source {measure.noun}, masked"] = [spread_text(cut.source(masked=True), what) for cut in cuts]
    return pd.DataFrame(columns, dtype=object)


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
