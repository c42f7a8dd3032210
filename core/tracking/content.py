"""What trackers are told about runs, as pure data: settings, curves by step, results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.run_spec import RunSpec
from core.store.record import Curve, Experiment, Result, Run, State
from core.tasks.views.text import OF_IMAGES

OVER: tuple[State, ...] = ("finished", "stopped", "failed")
"""States in which a run stays unless somebody has it trained further."""

LOSS, EPOCH, RESULT = "loss", "epoch/", "result/"
"""Name of the training loss of each step, and beginnings of the names of what is known per epoch and at the end."""

MAX_TEXT = 250
"""Maximum number of characters of a setting; longer ones, such as the config of a network, are left out."""

Scalar = str | int | float | bool


@dataclass(frozen=True)
class Series:
    """One quantity of a run by optimiser step; values that are not a number are left out."""

    step: NDArray[np.int64]
    """(n,) steps, ascending."""
    value: NDArray[np.float64]
    """(n,) values."""
    time: NDArray[np.float64]
    """(n,) seconds since 1970, UTC. They depend on nothing but the store, so that a point that is sent again is the
    same point."""

    def __len__(self) -> int:
        return len(self.step)

    def part(self, first: int, last: int | None = None) -> Series:
        """The points from ``first`` up to ``last``, which is left out."""
        cut = slice(first, last)
        return Series(self.step[cut], self.value[cut], self.time[cut])

    def in_single_precision(self) -> Series:
        """The points with the float32 that is nearest to each value."""
        with np.errstate(over="ignore"):
            return Series(self.step, self.value.astype(np.float32).astype(np.float64), self.time)


@dataclass(frozen=True)
class Group:
    """Runs that trackers show together: an experiment, or all runs that belong to none, such as bases."""

    id: str
    name: str


ALONE = Group("no-experiment", "No experiment")
"""The group of bases, and of other runs that belong to no experiment."""


@dataclass(frozen=True)
class TrackedRun:
    """All that a tracker is told about a run."""

    id: str
    name: str
    group: Group
    state: State
    started: float
    """When it was first in training, in seconds since 1970, UTC."""
    ended: float | None
    settings: Mapping[str, Scalar]
    series: Mapping[str, Series]
    """By name: :data:`LOSS`, one for each column of :attr:`core.store.record.Curve.epochs`, and one
    for each number of :class:`core.store.record.Result`, at the last step."""

    @property
    def is_over(self) -> bool:
        """Whether nothing about it will change by itself."""
        return self.state in OVER


def group_of(experiment: Experiment | None) -> Group:
    """The group of the runs of an experiment, or of those that belong to none."""
    return Group(experiment.id, experiment.name) if experiment else ALONE


def tracked_run(run: Run, curve: Curve, started: float, group: Group) -> TrackedRun:
    """Make what trackers are told of a run.

    Args:
        run: as stored.
        curve: all of its losses and epochs.
        started: when it was first in training; the time of a step is this and the training time up to the step.
        group: that it is shown in.
    """
    series = {LOSS: _series(curve.step, curve.loss, started + curve.seconds)}
    epochs = curve.epochs
    if len(epochs):
        step, seconds = epochs["step"].to_numpy(np.int64), epochs["seconds"].to_numpy(np.float64)
        for name in epochs.columns:
            if name != "step":
                series[EPOCH + name] = _series(step, epochs[name].to_numpy(np.float64), started + seconds)
    if run.result is not None:
        at = run.ended or started + run.training_seconds
        for name, value in _numbers(run.result).items():
            series[RESULT + name] = _series([run.result.steps], [value], [at])
    return TrackedRun(
        id=run.id,
        name=f"{run.spec.label}, rate {run.spec.optim.learning_rate:g}, seed {run.spec.seed}",
        group=group,
        state=run.state,
        started=started,
        ended=run.ended,
        settings=settings_of(run.spec),
        series={name: found for name, found in series.items() if len(found)},
    )


def settings_of(spec: RunSpec) -> dict[str, Scalar]:
    """The settings of a run by their path in its spec, as in ``method.rank``; lists are written as JSON.

    Runs on texts have none of those that only images have.
    """
    found: dict[str, Scalar] = {}
    _collect(found, "", spec.model_dump(mode="json"))
    if spec.network.reads_tokens:
        for part in ("task", "source"):
            for name in OF_IMAGES:
                found.pop(f"{part}.{name}", None)
    return found


def _collect(found: dict[str, Scalar], path: str, value: Any) -> None:
    if isinstance(value, dict):
        for name, part in value.items():
            _collect(found, f"{path}.{name}" if path else name, part)
    elif value is not None:
        setting = value if isinstance(value, str | int | float | bool) else json.dumps(value)
        if not isinstance(setting, str) or len(setting) <= MAX_TEXT:
            found[path] = setting


def _numbers(result: Result) -> dict[str, float]:
    return {name: float(value) for name, value in result.to_dict().items() if isinstance(value, int | float)}


def _series(step: Any, value: Any, time: Any) -> Series:
    values = np.asarray(value, np.float64)
    known = ~np.isnan(values)
    return Series(np.asarray(step, np.int64)[known], values[known], np.asarray(time, np.float64)[known])
