"""All axes of studies: what the runs of a study differ in, the one thing beside method, rank and learning rate.

An axis is one object, and one line of :data:`AXES`: files, the command line, the form, the figure and the sentences of
a study follow from it. On the axis *where*, ranks are chosen so that adapters on other layers have as many parameters
as those on all linear layers have at the rank that was asked for, or nearly. Alpha stays. Methods without adapters are
the same at every point, and so are trained once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import ClassVar, Self

from pydantic import Field, StrictInt, StrictStr, field_validator, model_validator

from core.data.task_spec import TaskSpec
from core.engine.jobs.job import untrained
from core.errors import LoRAError, SpecError
from core.methods.linear import count_parameters
from core.methods.method import MethodSpec
from core.methods.roles import ALL, ROLES, Layers
from core.methods.targets import find_targets
from core.networks.network import NetworkSpec
from core.numbers import listed
from core.plan.experiment import Recipe
from core.run_spec import OptimSpec
from core.spec import Spec, bounds, shortened

Point = int | str
"""A place on an axis: a number, or the name of a choice."""


class Axis(ABC):
    """One axis. A subclass is one thing to vary; an object of it is listed in :data:`AXES`."""

    name: ClassVar[str]
    """Its name in files and on the command line, as in ``--vary shots=10,30,100``."""
    question: ClassVar[str]
    """What a study along it answers, as in ``How much data?``."""
    title: ClassVar[str]
    """What the points are, as in ``Shots per class``: the title of the figure's axis."""
    line: ClassVar[str]
    """What it changes, in a sentence for forms and the command line."""
    replaces: ClassVar[str] = ""
    """Name of the field whose place it takes, so that nobody is asked for a value of it; empty for none."""
    equal_updates: ClassVar[bool] = False
    """Whether all points make equally many updates, as far as there are enough examples."""
    is_scale: ClassVar[bool] = True
    """Whether the points are numbers above 0, which have an order and distances; else they are choices."""

    @abstractmethod
    def usual(self, network: NetworkSpec, optim: OptimSpec) -> tuple[Point, ...]:
        """The points where nobody says otherwise, in their order.

        Args:
            network: that is fine-tuned.
            optim: with which full fine-tuning is trained at no point in particular.
        """

    @abstractmethod
    def point(self, text: str, network: NetworkSpec) -> Point:
        """The point that somebody has written. Raises: SpecError: there is none; the message says what there is."""

    @abstractmethod
    def text(self, point: Point) -> str:
        """A point in a sentence, as in ``30 epochs``."""

    def tick(self, point: Point) -> str:
        """A point on the figure's axis and in tables, beside the title."""
        return f"{point:,}" if isinstance(point, int) else point

    def texts(self, points: Sequence[Point]) -> str:
        """Several points in a sentence, as in ``10 and 30 epochs``."""
        return listed([self.text(point) for point in points])

    def task(self, task: TaskSpec, point: Point) -> TaskSpec:
        """What is learned at a point. Raises: SpecError: it is out of bounds."""
        return task

    def setting(self, setting: Recipe, point: Point, network: NetworkSpec) -> Recipe:
        """What an arm trains with at a point: the same for an arm that does not depend on it.

        Raises:
            SpecError: it is out of bounds.
            LoRAError: adapters do not fit the network there.
        """
        return setting


class NumberAxis(Axis):
    """An axis whose points are numbers, of which each is the value of one field of a spec."""

    spec: ClassVar[type[Spec]]
    """Has the field."""
    field: ClassVar[str]
    """Its name."""
    around: ClassVar[str]
    """A point in a sentence, with ``{}`` for the number, as in ``{} epochs``."""

    def point(self, text: str, network: NetworkSpec) -> int:
        known = bounds(self.spec, self.field)
        try:
            found = int(text)
        except ValueError:
            raise SpecError(f"{self.title}: {shortened(text)} is no whole number.") from None
        if not (known.low or 0) <= found <= (known.high or found):
            raise SpecError(f"{self.title} must be {known.low:g} to {known.high:g}, not {found:,}.")
        return found

    def text(self, point: Point) -> str:
        return self.texts([point])

    def texts(self, points: Sequence[Point]) -> str:
        return self.around.format(listed([self.tick(point) for point in points]))


class ChoiceAxis(Axis):
    """An axis whose points are named choices, which depend on the network."""

    is_scale = False

    @abstractmethod
    def choices(self, network: NetworkSpec) -> Mapping[str, object]:
        """What there is to choose from on a network, by name."""

    def usual(self, network: NetworkSpec, optim: OptimSpec) -> tuple[Point, ...]:
        return tuple(self.choices(network))

    def point(self, text: str, network: NetworkSpec) -> str:
        if text not in (known := self.choices(network)):
            raise SpecError(f"{self.title}: there is no {shortened(text)}; choose among {', '.join(known)}.")
        return text

    def text(self, point: Point) -> str:
        return str(point)


QUERY_AND_VALUE = "query-value"
"""Point whose adapters are on the layers of queries and values alone, as in the paper of LoRA."""

LAST_BLOCKS = "last-blocks"
"""Point whose adapters are on all linear layers of the last half of the blocks."""


class LayersAxis(ChoiceAxis):
    """Where adapters are put."""

    name = "layers"
    question = "Where?"
    title = "Layers with adapters"
    replaces = "target_modules"
    line = (
        "Adapters on some layers alone, with ranks that give as many trained parameters as on all linear layers. Full "
        "fine-tuning is the same everywhere, and is trained once."
    )

    def choices(self, network: NetworkSpec) -> Mapping[str, tuple[str, ...]]:
        return _places(network)

    def setting(self, setting: Recipe, point: Point, network: NetworkSpec) -> Recipe:
        optim, method = setting
        if not method.targets:
            return setting
        return optim, matched(method, _places(network)[self.point(str(point), network)], network)


@lru_cache(maxsize=64)
def _places(network: NetworkSpec) -> dict[str, tuple[str, ...]]:
    """Target modules by the name of a place; of a network without blocks each of its layers is one."""
    layers = Layers(tuple(find_targets(network.build(), [ALL])))
    found: dict[str, tuple[str, ...]] = {ALL: (ALL,)}
    if not layers.blocks:
        return found | {name: (name,) for name in layers.by_name}
    found |= {role: (role,) for role in ROLES if role in layers.groups}
    kinds = {kind.label: kind.name for kind in layers.by_kind if kind.role == ROLES[0]}
    if {"query", "value"} <= kinds.keys():
        found[QUERY_AND_VALUE] = layers.targets([kinds["query"], kinds["value"]])
    half = list(layers.blocks)[len(layers.blocks) // 2 :]
    if len(half) < len(layers.blocks):
        found[LAST_BLOCKS] = layers.targets([ALL], half)
    return found


@lru_cache(maxsize=256)
def matched(method: MethodSpec, targets: tuple[str, ...], network: NetworkSpec) -> MethodSpec:
    """A method on other layers, at the size that trains about as many parameters there as on all linear layers.

    Args:
        method: with the size that holds on all linear layers; a method without a size keeps its settings.
        targets: the layers.
        network: that is fine-tuned.

    Raises:
        LoRAError: the adapters do not fit the network.
    """
    wanted, moved = _trained(network, method.on((ALL,))), method.on(targets)
    if not method.size_field or targets == (ALL,):
        return moved
    low = int(bounds(type(method), method.size_field).low or 1)
    high = int(bounds(type(method), method.size_field).high or low)
    while low < high:  # the smallest size with at least as many
        middle = (low + high) // 2
        count = _count(network, moved, middle)
        low, high = (low, middle) if count is None or count >= wanted else (middle + 1, high)
    sizes = [size for size in (low - 1, low) if size >= 1 and _count(network, moved, size) is not None]
    return moved.of_size(min(sizes, key=lambda size: abs((_count(network, moved, size) or 0) - wanted)))


def _count(network: NetworkSpec, method: MethodSpec, size: int) -> int | None:
    """Trained parameters at a size; None where it is above what the layers take."""
    try:
        return _trained(network, method.of_size(size))
    except LoRAError:
        return None


@lru_cache(maxsize=1024)
def _trained(network: NetworkSpec, method: MethodSpec) -> int:
    return count_parameters(untrained(network, method.shape()), trainable=True)


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

    def setting(self, setting: Recipe, point: Point, network: NetworkSpec) -> Recipe:
        optim, method = setting
        return optim.but(epochs=point, patience=0), method


class ShotsAxis(NumberAxis):
    """How many examples are learned from."""

    name, question, title = "shots", "How much data?", "Shots per class"
    line = "The number of training examples of each class."
    spec, around = TaskSpec, "{} shots per class"
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

    def setting(self, setting: Recipe, point: Point, network: NetworkSpec) -> Recipe:
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

    def setting(self, setting: Recipe, point: Point, network: NetworkSpec) -> Recipe:
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
