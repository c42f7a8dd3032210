"""By what the runs of an experiment are judged: their objective with its primary measure and margin."""

from __future__ import annotations

from collections.abc import Iterable

from core.methods.method import Role
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.store.record import Run


def judged_by(runs: Iterable[Run]) -> ObjectiveSpec:
    """The objective of some runs, which all runs of an experiment share; that of the first fine-tune run.

    Args:
        runs: of one experiment, or selected; without any the default objective.
    """
    everything = list(runs)
    tuned = [run for run in everything if run.spec.role is not Role.BASE]
    return next((run.spec.objective for run in (*tuned, *everything)), CLASSIFICATION)
