"""Which settings a verdict compares: full fine-tuning and the adapter settings chosen beside it, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence

from core.methods.method import Role
from core.results.arm import Arm, grouped, judged_by
from core.results.choice import best_arm, chosen_arms, is_adapter, is_full, no_choice_sentence
from core.results.measures import quantity
from core.results.row import Row
from core.rule.claims import Difference, Pair, difference_of
from core.rule.spending import CLAIM_SEEDS
from core.rule.tuning import is_tuned, name_in_sentence
from core.rule.withheld import Reason


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


def no_ranking(rows: Sequence[Row]) -> Reason:
    """Why nothing ranks settings whose finished seeds have no value on the validation part. Args: rows: all of them."""
    measure = judged_by(rows).primary
    if all(row.run is None and row.validated is None for row in rows):
        text = f"No verdict: no column has the {measure.noun} on a validation part, to choose one of each."
        return Reason(text, more=_lacking(rows, f"validation_{measure.name}"))
    return Reason("No verdict: the settings have no finished seed in common that validation measured.")


def _lacking(rows: Sequence[Row], column: str) -> str:
    """What a verdict on reported results takes beside what there is: a column, and seeds where these are too few."""
    if len({row.seed for row in rows}) >= CLAIM_SEEDS:
        return f"A column {column} would make it one."
    return f"A verdict takes a column {column}, and at least {CLAIM_SEEDS} seeds of each setting."


def compared_settings(rows: Sequence[Row]) -> tuple[Arm | None, list[Arm], Reason | None]:
    """Full fine-tuning, each adapter setting that is compared with it, and why there is none.

    Args:
        rows: of an experiment.
    """
    sides = "full fine-tuning and LoRA"
    if reported := [row for row in rows if row.run is None and row.setting.role is Role.REFERENCE]:
        sides = f"{name_in_sentence(reported[0].setting.label)} and the others"
    if not rows:
        return None, [], Reason("No verdict yet: it takes finished runs of full fine-tuning and of LoRA.")
    if reason := no_choice_sentence(rows):
        return None, [], Reason(reason)
    chosen = chosen_arms(rows)
    full = best_arm(rows, is_full)
    adapters = [pair for pair in against_full(chosen) if is_adapter(pair[0])]
    pairs = [lora for lora, other in adapters if full is not None and other.key == full.key]
    if full is not None and pairs and any(set(lora.seeds) & set(full.seeds) for lora in pairs):
        objective = judged_by(rows)
        if not objective.has_test_part and is_tuned(row.setting for row in rows):
            measure = objective.primary
            text = f"No verdict: no column has the {measure.noun} on a test part, by which nothing was chosen."
            return full, [], Reason(text, more=_lacking(rows, f"test_{measure.name}"))
        return full, pairs, None
    if pairs:
        return full, [], Reason(f"No verdict: {sides} have no finished seed in common.")
    if {Role.REFERENCE, Role.ADAPTER} <= {arm.role for arm in chosen}:
        if full is None:
            return full, [], no_ranking(rows)
        return full, [], Reason(f"No verdict: {sides} started from different bases or learned different tasks.")
    return (
        full,
        [],
        Reason("No verdict yet: it takes results of full fine-tuning and of LoRA on the same base and task."),
    )


def lacks_a_side(rows: Sequence[Row]) -> bool:
    """Whether only full fine-tuning was trained of what is compared, or only adapters. Args: rows: of an experiment."""
    roles = {row.setting.role for row in rows}
    return len(roles & {Role.REFERENCE, Role.ADAPTER}) == 1
