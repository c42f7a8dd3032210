"""Which arms are chosen among those that differ only in how they were tuned."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from core.study.arms.arm import Arm, Place, arm_order


def chosen_arms(arms: Sequence[Arm], validation: Mapping[str, float] | None) -> list[Arm]:
    """Of each :data:`Place` the arm with the best mean on the validation part, in :func:`arm_order`.

    Only arms with the most seeds of their place are looked at.

    All methods choose among the seeds they are compared on, so what luck adds to one it adds to the other, as long
    as all tried about as many settings: :func:`core.study.arms.fairness.comparable` warns if not. The test part takes
    no part.

    Args:
        arms: of one experiment.
        validation: accuracy on the validation part of each run by id, in percent; None leaves all arms as they are.
    """
    if validation is None:
        return list(arms)

    def worth(arm: Arm) -> tuple[int, float]:
        # A setting that failed for some seeds must not win by those that it got through.
        return len(arm.runs), validated(arm, validation)

    best: dict[Place, Arm] = {}
    for arm in arms:
        if arm.place not in best or worth(arm) > worth(best[arm.place]):
            best[arm.place] = arm
    return sorted(best.values(), key=lambda arm: arm_order(arm.spec))


def validation_of(arms: Iterable[Arm]) -> dict[str, float] | None:
    """Accuracy on the validation part of each run, by id, in percent; None where a run has none to choose by."""
    found = {run.id: run.result.validation_accuracy if run.result else None for arm in arms for run in arm.runs}
    known = {id: value for id, value in found.items() if value is not None}
    return known if len(known) == len(found) else None


def validated(arm: Arm, validation: Mapping[str, float]) -> float:
    """Mean accuracy on the validation part over the runs, in percent; below everything where one has none."""
    mean = float(np.mean([validation.get(run.id, math.nan) for run in arm.runs]))
    return mean if math.isfinite(mean) else -math.inf
