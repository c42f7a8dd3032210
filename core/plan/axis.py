"""What a study varies: an axis is the one thing, beside method, rank and learning rate, in which its runs differ.

A study is an experiment whose configuration names an axis and points of it. At each point it trains every method and
rank, with learning rates found there. The axes are in :mod:`core.plan.axes`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from core.data.task_spec import TaskSpec
from core.errors import SpecError
from core.networks.network import NetworkSpec
from core.numbers import listed
from core.plan.experiment import Setting
from core.run_spec import OptimSpec
from core.spec import Spec, bounds, shortened

Point = int | str
"""A place on an axis: a number, or the name of a choice."""


class Axis(ABC):
    """One axis. A subclass is one thing to vary; an object of it is listed in :data:`core.plan.axes.AXES`."""

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

    def setting(self, setting: Setting, point: Point, network: NetworkSpec) -> Setting:
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
