"""Which settings a verdict compares: full fine-tuning and the adapter settings chosen beside it, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from core.methods.method import Role
from core.numbers import capitalized
from core.plan.experiment import head_for
from core.run_spec import RunSpec
from core.store.record import Run
from core.study.arms.arm import Arm, grouped, judged_by
from core.study.arms.choice import best_arm, chosen_arms, is_adapter, is_full, no_choice_sentence
from core.study.arms.tuning import is_tuned, name_in_sentence, reference_name
from core.study.stats.claims import Difference, Pair, difference_of
from core.study.stats.measures import GAIN, quantity


def paired_differences(pairs: Sequence[tuple[Arm, Arm]], name: str) -> list[Difference]:
    """For each pair the first arm minus the second; see :func:`core.study.stats.claims.difference_of`.

    Args:
        pairs: of one objective.
        name: of the quantity that is compared; see :func:`core.study.stats.measures.quantity`.
    """
    if not pairs:
        return []
    what = quantity(name, pairs[0][0].spec.objective)
    return [difference_of(Pair(a.label, b.label, a.by_seed(name), b.by_seed(name)), what) for a, b in pairs]


def against_full(arms: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    """Every LoRA arm and every control, each with every full arm on the same base and task, in the order of arms.

    Args:
        arms: of one experiment or more; those of :func:`core.study.arms.choice.chosen_arms` where they were tuned.
    """
    return [
        (other, full)
        for full in arms
        for other in arms
        if full.role is Role.REFERENCE and other.role in (Role.ADAPTER, Role.CONTROL)
        if (full.spec.start, full.spec.task) == (other.spec.start, other.spec.task)
    ]


def rank_extremes(arms: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    """The highest rank and the lowest one of each method that has several, where ranks alone tell its arms apart."""
    sized = sorted((arm for arm in arms if arm.spec.method.size_field), key=lambda arm: arm.spec.method.size)
    return [
        (own[-1], own[0])
        for own in grouped(sized, lambda arm: arm.spec.kind).values()
        if len({arm.spec.method.size for arm in own}) == len(own) > 1
    ]


def no_ranking(runs: Sequence[Run]) -> str:
    """Why nothing ranks settings whose finished seeds have no value on the validation part. Args: runs: all of them."""
    measure = judged_by(runs).primary
    article = "an" if measure.noun[:1].lower() in "aeiou" else "a"
    if all(run.spec.is_reported and run.validated is None for run in runs):
        return (
            f"No verdict: settings were tried in several ways, and no column has the {measure.noun} on a validation "
            f"part, by which one of each would be chosen. A column validation_{measure.name} would make it one."
        )
    return (
        "No verdict: nothing ranks these settings, because they have no finished seed in common with "
        f"{article} {measure.noun} on the validation part."
    )


def compared_settings(runs: Sequence[Run]) -> tuple[Arm | None, list[Arm], str]:
    """Full fine-tuning, each adapter setting that is compared with it, and why there is none.

    Args:
        runs: of an experiment.
    """
    sides = "full fine-tuning and LoRA"
    if reported := [run for run in runs if run.spec.is_reported and run.spec.role is Role.REFERENCE]:
        sides = f"{name_in_sentence(reported[0].spec.label)} and the others"
    if not runs:
        return None, [], "No verdict yet: it takes finished runs of full fine-tuning and of LoRA."
    if reason := no_choice_sentence(runs):
        return None, [], reason
    chosen = chosen_arms(runs)
    full = best_arm(runs, is_full)
    adapters = [pair for pair in against_full(chosen) if is_adapter(pair[0])]
    pairs = [lora for lora, other in adapters if full is not None and other.key == full.key]
    if full is not None and pairs and any(set(lora.seeds) & set(full.seeds) for lora in pairs):
        objective = judged_by(runs)
        if not objective.has_test_part and is_tuned(run.spec for run in runs):
            reason = (
                f"No verdict: {objective.primary.noun} chose among the settings, and no column has the measure on a "
                f"test part, by which nothing was chosen. A column test_{objective.primary.name} would make it one."
            )
            return full, [], reason
        return full, pairs, ""
    if pairs:
        return full, [], f"No verdict: {sides} have no finished seed in common."
    if {Role.REFERENCE, Role.ADAPTER} <= {arm.role for arm in chosen}:
        if full is None:
            return full, [], no_ranking(runs)
        return (
            full,
            [],
            f"No verdict: {sides} started from different bases or learned different tasks.",
        )
    return full, [], "No verdict yet: it takes results of full fine-tuning and of LoRA on the same base and task."


def lacks_a_side(runs: Sequence[Run]) -> bool:
    """Whether only full fine-tuning was trained of what is compared, or only adapters. Args: runs: of an experiment."""
    roles = {run.spec.role for run in runs}
    return len(roles & {Role.REFERENCE, Role.ADAPTER}) == 1


def base_sentence(arms: Sequence[Arm]) -> str:
    """How much better or worse than their base settings are, as in ``LoRA r=4 is 0.1200 bits per byte better than the
    base (1.0200 → 0.9000).``

    Empty for percentages, which say enough alone, and where the base was not measured with every seed.
    """
    found: list[str] = []
    for arm in arms:
        measure, gains = arm.spec.objective.primary, arm.finished_only.values(GAIN)
        if measure.unit == "%" or not gains or len(gains) < len(arm.finished):
            continue
        gain, reached = fmean(gains), arm.tested.mean
        name = reference_name(arm) if is_full(arm) else arm.name
        off = f"{measure.amount_text(gain)} {measure.better if gain >= 0 else measure.worse}"
        was = f"{measure.text(reached - measure.sign * gain)} → {measure.text(reached)}"
        found.append(f"{name} {off} ({was})" if found else f"{name} is {off} than the base ({was})")
    return f"{capitalized(', '.join(found))}." if found else ""


def frozen_head_sentence(spec: RunSpec) -> str:
    """That an adapter run of an earlier version left a head frozen that every method trains now; empty for others."""
    if spec.head or spec.source is None or spec.is_direct or spec.is_reported:
        return ""
    if head_for(spec.network, spec.source, spec.task, spec.objective) is None:
        return ""
    return (
        "Below the adapters the head was frozen, although there are classes that the base was not trained on, and full "
        "fine-tuning trained it. Compared anew, every method trains the head."
    )
