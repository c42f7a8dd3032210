"""What is left of runs that ended before their last step: which can be trained to it, and what comes before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.store.record import Run
from core.store.store import Store


@dataclass(frozen=True)
class Rest:
    """Runs that were stopped or interrupted or failed, and can be trained to their ends; the oldest first.

    :attr:`core.store.record.Run.step` of each is where it goes on: the step of its checkpoint, or 0.
    """

    runs: tuple[Run, ...] = ()
    bases: tuple[Run, ...] = ()
    """Bases of these runs that must be trained to their ends before them."""
    anew: tuple[Run, ...] = ()
    """Bases that were asked for, but on whose results other runs have been trained: new ones like them are."""

    @property
    def everything(self) -> tuple[Run, ...]:
        """All of them, in the order of training."""
        return (*self.bases, *self.anew, *self.runs)

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return bool(self.everything)


def rest_of(store: Store, ids: Sequence[str]) -> Rest:
    """What is left of some runs.

    Left out is what would end as it did: runs that diverged, or whose base did or was deleted.

    Args:
        store: has them.
        ids: of the runs, such as all of an experiment; unknown ones are skipped.
    """
    asked = sorted((run for run in store.runs_of(ids) if run.is_unfinished), key=lambda run: run.created)
    starts = {base.id: base for base in store.runs_of(list({run.spec.base for run in asked if run.spec.base}))}
    runs = [run for run in asked if run.spec.base is None or _is_usable(starts.get(run.spec.base))]
    needed = {run.spec.base for run in runs}.difference(run.id for run in runs)
    bases = [base for base in starts.values() if base.id in needed and base.is_unfinished]
    built_on = store.built_on([run.id for run in (*runs, *bases)])
    steps = store.checkpoint_steps([run.id for run in (*runs, *bases)])

    def found(among: Sequence[Run], is_built_on: bool) -> tuple[Run, ...]:
        chosen = [run for run in among if (run.id in built_on) is is_built_on]
        return tuple(replace(run, step=0 if is_built_on else steps.get(run.id, 0)) for run in chosen)

    return Rest(found(runs, False), found(bases, False), found(runs, True))


def _is_usable(base: Run | None) -> bool:
    """Whether runs can start from a base, once it has been trained to its end."""
    return base is not None and (base.result is not None or base.is_live or base.is_unfinished)
