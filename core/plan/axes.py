"""All axes of studies, and what a configuration says of one.

An axis is one object, and one line of :data:`AXES`: files, the command line, the form, the figure and the sentences of
a study follow from it.
"""

from __future__ import annotations

import math
from typing import Self

from pydantic import Field, StrictInt, StrictStr, field_validator, model_validator

from core.data.task_spec import TaskSpec
from core.errors import SpecError
from core.networks.network import NetworkSpec
from core.plan.axis import Axis, NumberAxis, Point
from core.plan.experiment import Setting
from core.plan.places import LayersAxis
from core.run_spec import OptimSpec
from core.spec import Spec, bounds, shortened

TIMES = (1, 3, 10, 30)
"""How many times the shortest training the others are in a study of epochs."""

SHORTEST = 10
"""Share of the usual number of epochs, as a divisor, that the shortest training of a study has."""

MIN_POINTS, MAX_POINTS = 2, 8
"""Minimum and maximum number of points of a study."""


class EpochsAxis(NumberAxis):
    """How long is trained."""

    name, question, title = "epochs", "How long?", "Epochs"
    line = "The number of epochs, without patience."
    spec, around = OptimSpec, "{} epochs"
    field = replaces = "epochs"

    def usual(self, network: NetworkSpec, optim: OptimSpec) -> tuple[Point, ...]:
        first = max(1, round(optim.epochs / SHORTEST))
        most = bounds(OptimSpec, "epochs").high or first
        return tuple(first * times for times in TIMES if first * times <= most)

    def setting(self, setting: Setting, point: Point, network: NetworkSpec) -> Setting:
        optim, method = setting
        return optim.but(epochs=point, patience=0), method


class ShotsAxis(NumberAxis):
    """How many examples are learned from."""

    name, question, title = "shots", "How much data?", "Shots per class"
    line = "The number of training examples of each class."
    spec, around = TaskSpec, "{} per class"
    field = replaces = "shots"

    def usual(self, network: NetworkSpec, optim: OptimSpec) -> tuple[Point, ...]:
        return 10, 30, 100, 300

    def task(self, task: TaskSpec, point: Point) -> TaskSpec:
        return task.but(shots=point)


SMALLER = 4
"""How many times smaller than the usual batch the smallest is that a study proposes, and larger the largest."""


class BatchAxis(NumberAxis):
    """How many examples each update is computed from, at equal epochs or at equal updates."""

    name, question, title = "batch", "How large a batch?", "Batch size"
    line = "The number of examples of each update, for the same number of epochs: larger batches make fewer updates."
    spec, around = OptimSpec, "batches of {}"
    field = replaces = "batch_size"

    def usual(self, network: NetworkSpec, optim: OptimSpec) -> tuple[Point, ...]:
        most = int(bounds(OptimSpec, "batch_size").high or optim.batch_size)
        return tuple(
            sorted({min(most, max(1, optim.batch_size * times // SMALLER)) for times in (1, SMALLER, SMALLER**2)})
        )

    def setting(self, setting: Setting, point: Point, network: NetworkSpec) -> Setting:
        optim, method = setting
        return optim.but(batch_size=point), method


class UpdatesBatchAxis(BatchAxis):
    """The same at equal updates."""

    name, question, replaces = "batch-updates", "How large a batch, at equal updates?", ""
    equal_updates = True
    line = (
        "The number of examples of each update, for as many epochs as make equally many updates, at least those of the "
        "usual batch size."
    )

    def setting(self, setting: Setting, point: Point, network: NetworkSpec) -> Setting:
        optim, method = setting
        other = optim.but(batch_size=point)
        smallest = max(1, optim.batch_size // SMALLER)
        epochs = math.ceil(optim.epochs * smallest / optim.batch_size) * other.batch_size / smallest
        return other.but(epochs=max(1, round(epochs))), method


AXES: list[Axis] = [EpochsAxis(), ShotsAxis(), LayersAxis(), BatchAxis(), UpdatesBatchAxis()]
"""One line per axis, in the order of forms."""


def axis_of(name: str) -> Axis:
    """The axis of a name. Raises: SpecError: there is none."""
    found = next((axis for axis in AXES if axis.name == name), None)
    if found is None:
        raise SpecError(f"There is no axis {shortened(name)}; choose one of: {', '.join(axis.name for axis in AXES)}.")
    return found


class VarySpec(Spec):
    """What a study varies: an axis, and the points at which everything is compared."""

    name: str = Field(title="Axis", description="What is varied, beside method, rank and learning rate.")
    points: tuple[StrictInt | StrictStr, ...] = Field(
        title="Points", description="Where every method and rank is trained, with learning rates found there."
    )

    @field_validator("points", mode="after")
    @classmethod
    def _points_are_a_set(cls, points: tuple[Point, ...]) -> tuple[Point, ...]:
        if len(set(points)) < len(points) or not MIN_POINTS <= len(points) <= MAX_POINTS:
            raise ValueError(f"A study has {MIN_POINTS} to {MAX_POINTS} points that differ: change its points.")
        return points

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        try:
            scale = self.axis.is_scale
        except SpecError as error:
            raise ValueError(str(error)) from error
        if not scale:
            return self
        numbers = [point for point in self.points if isinstance(point, int)]
        if len(numbers) < len(self.points) or numbers != sorted(numbers):
            raise ValueError(f"The points of a study along {self.name} are whole numbers in ascending order.")
        return self

    @property
    def axis(self) -> Axis:
        """The axis. Raises: SpecError: only a newer version knows it."""
        return axis_of(self.name)

    @property
    def short(self) -> str:
        """What is varied, in a few words for names, as in ``epochs 1, 3, 10``."""
        return f"{self.name} {', '.join(map(str, self.points))}"

    @classmethod
    def of_text(cls, text: str, network: NetworkSpec, optim: OptimSpec) -> Self:
        """What an option says, as in ``shots=10,30,100``, or ``layers`` for the usual points of the axis.

        Args:
            text: name of an axis, and points of it in any order.
            network: that is fine-tuned.
            optim: with which full fine-tuning is trained at no point in particular.

        Raises:
            SpecError: there is no such axis or point, or too few or too many points.
        """
        name, sign, points = text.partition("=")
        axis = axis_of(name.strip())
        if not sign:
            return cls.of(name=axis.name, points=axis.usual(network, optim))
        return cls.at(axis, [each.strip() for each in points.split(",") if each.strip()], network)

    @classmethod
    def at(cls, axis: Axis, texts: list[str], network: NetworkSpec) -> Self:
        """The same for points that were written one by one; of a scale in ascending order. Raises: SpecError."""
        points = [axis.point(text, network) for text in texts]
        return cls.of(name=axis.name, points=tuple(sorted(points, key=float) if axis.is_scale else points))
