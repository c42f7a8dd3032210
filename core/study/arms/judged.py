"""By what the runs of an experiment are judged: their objective with its primary measure and margin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from core.methods.method import Role
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.run_spec import RunSpec


class Specified(Protocol):
    """What has a spec: a run, an arm or a cell of a sweep."""

    @property
    def spec(self) -> RunSpec: ...


def judged_by(trained: Iterable[Specified]) -> ObjectiveSpec:
    """The objective of some runs, which all runs of an experiment share; that of the first fine-tune run.

    Args:
        trained: runs, arms or cells of one experiment, or selected; without any the default objective.
    """
    everything = list(trained)
    tuned = [run for run in everything if run.spec.role is not Role.BASE]
    return next((run.spec.objective for run in (*tuned, *everything)), CLASSIFICATION)
