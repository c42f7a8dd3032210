"""Networks that an experiment does not need to keep: those of settings that validation did not choose."""

from __future__ import annotations

from collections.abc import Sequence

from core.methods.method import Role
from core.store.record import Run
from core.study.arms.choice import chosen_arms


def unchosen(runs: Sequence[Run]) -> list[Run]:
    """The runs that train whole networks, in settings that were not chosen; none while the experiment is under way, or
    where nothing was chosen.

    Args:
        runs: all of one experiment.
    """
    chosen = {arm.key for arm in chosen_arms(runs)}
    if not chosen or not all(run.is_over for run in runs):
        return []
    return [
        run
        for run in runs
        if run.result is not None and run.spec.role is not Role.ADAPTER and run.spec.arm not in chosen
    ]
