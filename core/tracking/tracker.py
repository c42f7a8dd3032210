"""What a tracker is, and what it is told of a run: settings and points."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from core.errors import TrackerError
from core.optional_packages import optional_module
from core.run_spec import RunSpec
from core.store.record import Curve, Experiment, Run, State
from core.store.store import Store
from core.tasks.views.text import OF_IMAGES

OVER: tuple[State, ...] = ("finished", "stopped", "failed")
"""States in which a run stays unless somebody has it trained further."""

LOSS, EPOCH, RESULT = "loss", "epoch/", "result/"
"""Name of the training loss of each step, and beginnings of the names of what is known per epoch and at the end."""

MAX_TEXT = 250
"""Maximum number of characters of a setting; longer ones, such as the config of a network, are left out."""

Scalar = str | int | float | bool


@dataclass(frozen=True)
class TrackedRun:
    """Everything that a tracker is told of a run. Points in time are seconds since 1970, UTC."""

    id: str
    name: str
    experiment: Experiment | None
    """The experiment that trackers show it in; None for a run that belongs to none, such as a base."""
    state: State
    started: float
    """When it was first in training."""
    ended: float
    """When it ended, or the time of its last step if it has not."""
    settings: Mapping[str, Scalar]
    points: pd.DataFrame
    """One row per number: ``name``, ``step``, ``value`` and ``time``. The names are :data:`LOSS`, one for each column
    of :attr:`core.store.record.Curve.epochs`, and one for each number of :class:`core.store.record.Result`."""


class Tracker(ABC):
    """A tracker at one address, opened only to write. :data:`core.tracking.tracking.TRACKERS` lists the subclasses."""

    kind: ClassVar[str]
    """Its name in addresses, as in ``tensorboard:FOLDER``."""
    title: ClassVar[str]
    example: ClassVar[str]
    """An address."""

    def __init__(self, address: str) -> None:
        """Args: address: without the kind. A subclass raises :class:`TrackerError` where it is none."""
        self.address = address

    @property
    def shown(self) -> str:
        """Kind and address, without a password."""
        return f"{self.kind}:{re.sub('://[^/].*@', '://', self.address)}"

    @abstractmethod
    def write(self, run: TrackedRun, adapter: Path | None) -> bool:
        """Write a run that is over whole, in place of any other end or part of it.

        Args:
            run: what to write.
            adapter: the file of its adapter, if it has one, to be kept where a tracker keeps files.

        Returns:
            False where it is there whole already, with the same state and time of its end.

        Raises:
            TrackerError: the tracker cannot be reached or written, or its package is not installed.
        """

    def write_report(self, experiment: Experiment, report: str) -> None:  # noqa: B027
        """Write the report of an experiment, one HTML file, where the tracker keeps files; raises as :meth:`write`."""

    def package(self, name: str) -> Any:
        """A module of a package that the tracker needs. Raises: TrackerError: it is not installed."""
        return optional_module(name, f"{self.title} needs", "trackers", TrackerError)


def tracked_run(store: Store, id: str) -> TrackedRun:
    """What trackers are told of a run; the time of a step is its start and the training time up to the step.

    Raises: UnknownRunError: there is no such run.
    """
    run = store.run(id)  # before its curve, so that the curve of a run that is over is complete
    entered = [at for at, state in store.transitions(id) if state == "running"]
    started = min([*entered, run.started or run.created])
    ended = run.ended or started + run.training_seconds
    return TrackedRun(
        id=id,
        name=f"{run.spec.label}, rate {run.spec.optim.learning_rate:g}, seed {run.spec.seed}",
        experiment=store.experiment(run.experiment) if run.experiment else None,
        state=run.state,
        started=started,
        ended=ended,
        settings=settings_of(run.spec),
        points=_points(run, store.curve(id), started, ended),
    )


def settings_of(spec: RunSpec) -> dict[str, Scalar]:
    """The settings of a run by their path in its spec, as in ``method.rank``; lists are written as JSON.

    Runs on texts have none of those that only images have.
    """
    (flat,) = pd.json_normalize(spec.model_dump(mode="json")).to_dict("records")
    of_images = {f"{part}.{name}" for part in ("task", "source") for name in OF_IMAGES}
    found: dict[str, Scalar] = {}
    for path, value in flat.items():
        setting = value if isinstance(value, str | int | float | bool | None) else json.dumps(value)
        is_long = isinstance(setting, str) and len(setting) > MAX_TEXT
        if setting is not None and not is_long and not (spec.network.reads_tokens and path in of_images):
            found[str(path)] = setting
    return found


def _points(run: Run, curve: Curve, started: float, ended: float) -> pd.DataFrame:
    """See :attr:`TrackedRun.points`; numbers that are NaN are left out."""
    losses = pd.DataFrame({"name": LOSS, "step": curve.step, "value": curve.loss, "time": started + curve.seconds})
    epochs = curve.epochs.assign(time=started + curve.epochs["seconds"]).melt(["step", "time"], var_name="name")
    epochs["name"] = EPOCH + epochs["name"]
    parts = [losses, epochs]
    if run.result is not None:
        numbers = {
            RESULT + name: value for name, value in run.result.to_dict().items() if isinstance(value, int | float)
        }
        values = pd.Series(numbers, dtype=float)
        parts.append(pd.DataFrame({"name": values.index, "step": run.result.steps, "value": values, "time": ended}))
    parts = [part.astype({"value": float}).dropna() for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else losses
