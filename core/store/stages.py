"""Stages of an experiment: which of its runs were launched together.

An experiment that grows is looked at more than once, which counts when a difference is tested. All runs of one launch
are created within milliseconds, and :class:`core.store.store.Store` keeps launches of one experiment apart by
:data:`LAUNCH_GAP`. The time of creation never changes and is in the copy of the run, so that a run keeps its stage when
it is resumed or restored.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.store.record import Run

LAUNCH_GAP = 1.0
"""Minimum number of seconds between the last run of a launch and the first one of the next, in one experiment."""


def stages_of(runs: Iterable[Run]) -> list[tuple[Run, ...]]:
    """Runs of one experiment by launch, the first launch first, in the order in which they were queued.

    Args:
        runs: in any order and state; runs that were deleted leave no gap that could be taken for a launch.
    """
    stages: list[list[Run]] = []
    for run in sorted(runs, key=lambda run: (run.created, run.id)):
        if stages and run.created - stages[-1][-1].created < LAUNCH_GAP / 2:
            stages[-1].append(run)
        else:
            stages.append([run])
    return [tuple(stage) for stage in stages]
