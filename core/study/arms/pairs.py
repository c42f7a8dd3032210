"""Differences of arms, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence

from core.methods.method import Role
from core.study.arms.arm import Arm
from core.study.stats.claims import Difference, Pair, difference_of
from core.study.stats.measures import quantity


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
