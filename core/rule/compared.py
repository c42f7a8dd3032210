"""Which settings a verdict compares: full fine-tuning and the adapter settings chosen beside it, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from core.methods.method import Role
from core.numbers import capitalized
from core.plan.experiment import head_for
from core.results.arm import Arm, grouped, judged_by
from core.results.choice import best_arm, chosen_arms, is_adapter, is_full, no_choice_sentence
from core.results.measures import GAIN, quantity
from core.results.row import Row
from core.results.setting import Setting
from core.rule.claims import Difference, Pair, difference_of
from core.rule.spending import CLAIM_SEEDS
from core.rule.tuning import is_tuned, name_in_sentence, reference_name


def paired_differences(pairs: Sequence[tuple[Arm, Arm]], name: str) -> list[Difference]:
    """For each pair the first arm minus the second; see :func:`core.rule.claims.difference_of`.

    Args:
        pairs: of one objective.
        name: of the quantity that is compared; see :func:`core.results.measures.quantity`.
    """
    if not pairs:
        return []
    what = quantity(name, pairs[0][0].setting.objective)
    return [difference_of(Pair(a.label, b.label, a.by_seed(name), b.by_seed(name)), what) for a, b in pairs]


def against_full(arms: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    """Every LoRA arm and every control, each with every full arm on the same base and task, in the order of arms.

    Args:
        arms: of one experiment or more; those of :func:`core.results.choice.chosen_arms` where they were tuned.
    """
    return [
        (other, full)
        for full in arms
        for other in arms
        if full.role is Role.REFERENCE and other.role in (Role.ADAPTER, Role.CONTROL)
        if full.setting.comparison == other.setting.comparison
    ]


def rank_extremes(arms: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    """The highest rank and the lowest one of each method that has several, where ranks alone tell its arms apart."""
    sized = sorted((arm for arm in arms if arm.setting.size is not None), key=lambda arm: arm.setting.size)
    return [
        (own[-1], own[0])
        for own in grouped(sized, lambda arm: arm.setting.method).values()
        if len({arm.setting.size for arm in own}) == len(own) > 1
    ]


def no_ranking(rows: Sequence[Row]) -> str:
    """Why nothing ranks settings whose finished seeds have no value on the validation part. Args: rows: all of them."""
    measure = judged_by(rows).primary
    article = "an" if measure.noun[:1].lower() in "aeiou" else "a"
    if all(row.run is None and row.validated is None for row in rows):
        return (
            f"No verdict: settings were tried in several ways, and no column has the {measure.noun} on a validation "
            f"part, by which one of each would be chosen. {_lacking(rows, f'validation_{measure.name}')}"
        )
    return (
        "No verdict: nothing ranks these settings, because they have no finished seed in common with "
        f"{article} {measure.noun} on the validation part."
    )


def _lacking(rows: Sequence[Row], column: str) -> str:
    """What a verdict on reported results takes beside what there is: a column, and seeds where these are too few."""
    if len({row.seed for row in rows}) >= CLAIM_SEEDS:
        return f"A column {column} would make it one."
    return f"A verdict takes a column {column}, and at least {CLAIM_SEEDS} seeds of each setting."


def compared_settings(rows: Sequence[Row]) -> tuple[Arm | None, list[Arm], str]:
    """Full fine-tuning, each adapter setting that is compared with it, and why there is none.

    Args:
        rows: of an experiment.
    """
    sides = "full fine-tuning and LoRA"
    if reported := [row for row in rows if row.run is None and row.setting.role is Role.REFERENCE]:
        sides = f"{name_in_sentence(reported[0].setting.label)} and the others"
    if not rows:
        return None, [], "No verdict yet: it takes finished runs of full fine-tuning and of LoRA."
    if reason := no_choice_sentence(rows):
        return None, [], reason
    chosen = chosen_arms(rows)
    full = best_arm(rows, is_full)
    adapters = [pair for pair in against_full(chosen) if is_adapter(pair[0])]
    pairs = [lora for lora, other in adapters if full is not None and other.key == full.key]
    if full is not None and pairs and any(set(lora.seeds) & set(full.seeds) for lora in pairs):
        objective = judged_by(rows)
        if not objective.has_test_part and is_tuned(row.setting for row in rows):
            reason = (
                f"No verdict: {objective.primary.noun} chose among the settings, and no column has the measure on a "
                f"test part, by which nothing was chosen. {_lacking(rows, f'test_{objective.primary.name}')}"
            )
            return full, [], reason
        return full, pairs, ""
    if pairs:
        return full, [], f"No verdict: {sides} have no finished seed in common."
    if {Role.REFERENCE, Role.ADAPTER} <= {arm.role for arm in chosen}:
        if full is None:
            return full, [], no_ranking(rows)
        return (
            full,
            [],
            f"No verdict: {sides} started from different bases or learned different tasks.",
        )
    return full, [], "No verdict yet: it takes results of full fine-tuning and of LoRA on the same base and task."


def lacks_a_side(rows: Sequence[Row]) -> bool:
    """Whether only full fine-tuning was trained of what is compared, or only adapters. Args: rows: of an experiment."""
    roles = {row.setting.role for row in rows}
    return len(roles & {Role.REFERENCE, Role.ADAPTER}) == 1


def base_sentence(arms: Sequence[Arm]) -> str:
    """How much better or worse than their base settings are, as in ``LoRA r=4 is 0.1200 bits per byte better than the
    base (1.0200 → 0.9000).``

    Empty for percentages, which say enough alone, and where the base was not measured with every seed.
    """
    found: list[str] = []
    for arm in arms:
        measure, gains = arm.setting.objective.primary, arm.finished_only.values(GAIN)
        if measure.unit == "%" or not gains or len(gains) < len(arm.finished):
            continue
        gain, reached = fmean(gains), arm.tested.mean
        name = reference_name(arm) if is_full(arm) else arm.name
        off = f"{measure.amount_text(gain)} {measure.better if gain >= 0 else measure.worse}"
        was = f"{measure.text(reached - measure.sign * gain)} → {measure.text(reached)}"
        found.append(f"{name} {off} ({was})" if found else f"{name} is {off} than the base ({was})")
    return f"{capitalized(', '.join(found))}." if found else ""


def frozen_head_sentence(setting: Setting) -> str:
    """That an adapter run of an earlier version left a head frozen that every method trains now; empty for others."""
    spec = setting.spec
    if spec is None or spec.head or spec.source is None or spec.is_direct:
        return ""
    if head_for(spec.network, spec.source, spec.task, spec.objective) is None:
        return ""
    return (
        "Below the adapters the head was frozen, although there are classes that the base was not trained on, and full "
        "fine-tuning trained it. Compared anew, every method trains the head."
    )
