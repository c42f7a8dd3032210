"""Runs of an experiment that did not finish: which, and how sentences name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from core.numbers import counted, listed, seeds_text
from core.store.record import Run
from core.study.arms.arm import arm_order, tuning_group
from core.study.arms.choice import candidates, comparisons_of

MAX_NAMED = 8
"""Settings that a sentence names with their seeds; more are counted."""


def missing_runs(runs: Iterable[Run]) -> list[Run]:
    """The runs that an answer lacks: the latest of each arm and seed of which none has finished, whatever became of it.

    In :func:`core.study.arms.arm.arm_order`, and by seed. Left out is what somebody has put away.

    Args:
        runs: of an experiment, in any state.
    """
    latest: dict[tuple[str, int], Run] = {}
    finished: set[tuple[str, int]] = set()
    for run in sorted(runs, key=lambda run: (run.created, run.id)):
        place = run.spec.arm, run.spec.seed
        if run.state == "finished":
            finished.add(place)
        if not run.archived:
            latest[place] = run
    found = [run for place, run in latest.items() if place not in finished]
    return sorted(found, key=lambda run: (arm_order(run.spec), run.spec.seed))


def lost_runs(runs: Iterable[Run]) -> list[Run]:
    """Those of :func:`missing_runs` that make an answer incomplete.

    A rate at which training diverges is a result where others were tried for the same method and rank, and one of them
    could be chosen.
    """
    everything = list(runs)
    able = {arm.tuning_group for arms in comparisons_of(everything) for arm in candidates(arms)}
    return [run for run in missing_runs(everything) if not (run.has_diverged and tuning_group(run.spec) in able)]


def named_runs(runs: Sequence[Run], labels: Mapping[str, str]) -> str:
    """Runs in a sentence, as in ``Full (seed 1) and LoRA r=4 (seeds 0 and 2)``.

    Args:
        runs: to be named.
        labels: of arms by their keys; see :func:`core.study.arms.arm.labels_of`.
    """
    seeds: dict[str, set[int]] = {}
    for run in runs:
        seeds.setdefault(run.spec.arm, set()).add(run.spec.seed)
    names = [f"{labels[arm]} ({seeds_text(sorted(found))})" for arm, found in seeds.items()]
    more = len(names) - MAX_NAMED
    return listed([*names[:MAX_NAMED], counted(more, "more setting")] if more > 0 else names)
