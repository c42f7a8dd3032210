"""Rows: one for each training run, with its setting, its seed, what it reached and what it took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from core.results.scale import Objective
from core.results.setting import Setting, setting_of
from core.store.record import Lifecycle, PlanState, Result, Run, State


@dataclass(frozen=True)
class Row(Lifecycle):
    """One training run, of this lab or reported by others."""

    id: str
    """The run's id, or its name among the rows that others report."""
    setting: Setting
    seed: int
    state: State = "finished"
    cause: str | None = None
    """Why it failed or was interrupted."""
    archived: bool = False
    plan: PlanState | None = None
    """What becomes of the plan of its experiment; see :attr:`core.store.record.Run.plan`."""
    created: float = 0.0
    """When it was launched, in seconds since 1970; for reported rows their order."""
    has_result: bool = True
    """Whether it has ended with a result, as those that were stopped may have as well."""
    measures: Mapping[str, float | None] = field(default_factory=dict, hash=False)
    """By name, on the test part unless the name says otherwise; see :attr:`core.store.record.Result.measures`."""
    trends: Mapping[str, float] = field(default_factory=dict, hash=False)
    """What three times the epochs would add at most to each measure; see :attr:`core.store.record.Result.trends`."""
    trained: int = 0
    """Number of trainable parameters; 0 where it is not reported."""
    steps: int = 0
    """Number of updates; 0 where it is not reported."""
    seconds: float = 0.0
    """Training time so far."""
    base: str | None = None
    """What it starts from: with a base for each seed that of this seed."""
    run: Run | None = field(default=None, compare=False, repr=False)
    """The run itself; None where others report it."""

    @property
    def result(self) -> Result | None:
        """All that it took, of a run of this lab that has ended with a result."""
        return None if self.run is None else self.run.result

    @property
    def objective(self) -> Objective:
        """What it is judged by."""
        return self.setting.objective

    @property
    def value(self) -> float | None:
        """The primary measure on the test part; None without a result."""
        return self.measures.get(self.objective.primary.name)

    @property
    def validated(self) -> float | None:
        """The same on the validation part, by which settings are chosen."""
        return self.measures.get(self.objective.validated)


def row_of(run: Run) -> Row:
    """A run of this lab as a row."""
    result = run.result
    return Row(
        id=run.id,
        setting=setting_of(run.spec),
        seed=run.spec.seed,
        state=run.state,
        cause=run.cause,
        archived=run.archived,
        plan=run.plan,
        created=run.created,
        has_result=result is not None,
        measures={} if result is None else result.measures,
        trends={} if result is None else result.trends or {},
        trained=0 if result is None else result.trainable_parameters,
        steps=0 if result is None else result.steps,
        seconds=run.training_seconds,
        base=run.spec.base or run.spec.network.brought,
        run=run,
    )


def rows_of(runs: Iterable[Run]) -> list[Row]:
    """Runs of this lab as rows, in their order."""
    return [row_of(run) for run in runs]
