"""What an objective is: the loss that a run minimizes, and the measures by which it is judged.

An objective knows outputs and targets as tensors. It knows neither networks nor datasets: a network has as many outputs
as the objective asks for, and a dataset says which objective its targets are for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from core.errors import SpecError
from core.objectives.measure import SOURCE, VALIDATION, Answers, Measure
from core.spec import KindSpec

Targets = Literal["classes", "numbers", "texts"]
"""What the targets of examples are: labels of classes, numbers, or the texts themselves."""


OF_CLASSES = {"num_classes": "", "classes": "", "shots": "Shots"}
"""Settings whose titles speak of classes: what they are called without classes; empty where they are then left out."""


class ObjectiveSpec(KindSpec):
    """An objective with the measure and the margin of one experiment.

    A subclass is one objective, and is listed in :mod:`core.objectives.registry`.
    """

    title: ClassVar[str]
    """As people read it, as in ``Classification``."""
    targets: ClassVar[Targets]
    """What the targets of a dataset must be."""
    problem_type: ClassVar[str]
    """What transformers calls it, in the config of a network with a head for it."""
    measures: ClassVar[tuple[Measure, ...]]
    """Measures that can be the primary one; the first is the default. One of them is named ``loss``."""
    watched: ClassVar[tuple[str, ...]]
    """Names of measures on the validation part after an epoch, beside the primary one."""
    watched_on_source: ClassVar[tuple[str, ...]] = ()
    """The same for the source task."""
    retained: ClassVar[tuple[Measure, ...]] = ()
    """Measures on the source task alone, of what a network retains of it."""
    described: ClassVar[tuple[Measure, ...]] = ()
    """Measures on the target's test part that describe a network, and by which nothing is chosen."""

    measure: str = Field(
        "", max_length=64, title="Primary measure", description="What settings are chosen and compared by."
    )
    within: float | None = Field(
        None,
        ge=0,
        title="Margin",
        description="How much worse than full fine-tuning a setting may be and still be good enough.",
    )

    @model_validator(mode="before")
    @classmethod
    def _default_is_left_out(cls, values: object) -> object:
        """The default measure and margin by name are the default, so that both are one objective."""
        if not isinstance(values, dict) or not getattr(cls, "measures", ()):
            return values
        values = dict(values)
        if values.get("measure") == cls.measures[0].name:
            values["measure"] = ""
        names = [measure.name for measure in cls.measures]
        name = values.get("measure") or names[0]
        if name in names and values.get("within") == cls.measures[names.index(name)].margin:
            values["within"] = None
        return values

    @model_validator(mode="after")
    def _measure_is_known(self) -> Self:
        names = [measure.name for measure in self.measures]
        if self.measure and self.measure not in names:
            raise ValueError(f"{self.title} has no measure {self.measure[:60]!r}; choose one of: {', '.join(names)}.")
        primary = self.primary
        if self.within is not None and self.within > primary.max_margin:
            raise ValueError(f"Margin must be at most {primary.max_margin:g} for {primary.noun}, not {self.within:g}.")
        return self

    @property
    def has_classes(self) -> bool:
        """Whether targets are classes, so that there are confusions, shots per class and probabilities."""
        return self.targets == "classes"

    def title_of(self, field: str, title: str) -> str:
        """What a setting of a run is called in a list of them; empty for one that only classes have.

        Args:
            field: of a network or a task.
            title: what it is called where there are classes.
        """
        return title if self.has_classes else OF_CLASSES.get(field, title)

    @property
    def primary(self) -> Measure:
        """The measure by which settings are chosen and compared."""
        return next((measure for measure in self.measures if measure.name == self.measure), self.measures[0])

    @property
    def has_test_part(self) -> bool:
        """Whether the primary measure is of a test part, by which no setting was chosen."""
        return True

    @property
    def margin(self) -> float:
        """How much worse in the primary measure a setting may be and still be good enough."""
        return self.primary.margin if self.within is None else self.within

    @property
    def validated(self) -> str:
        """Name of the primary measure on the validation part, by which settings are chosen."""
        return VALIDATION + self.primary.name

    @property
    def all_measures(self) -> dict[str, Measure]:
        """Every measure by name, those of one task alone included."""
        return {measure.name: measure for measure in (*self.measures, *self.retained, *self.described)}

    def after_epoch(self, source: bool) -> tuple[str, ...]:
        """Names of the measures that are computed after an epoch. Args: source: on the source task."""
        watched = self.watched_on_source if source else self.watched
        return watched if self.primary.name in watched else (*watched, self.primary.name)

    def at_end(self, source: bool) -> tuple[str, ...]:
        """Names of the measures on the test part. Args: source: of the source task."""
        return tuple(measure.name for measure in (*self.measures, *(self.retained if source else self.described)))

    @property
    def masked(self) -> Measure | None:
        """The primary measure with answers among the source's own classes only; None where there is no such measure."""
        return None

    def on_source(self, masked: bool = False) -> str:
        """Name of the measure on the source by which forgetting is told. Args: masked: see :attr:`masked`."""
        return SOURCE + (self.masked if masked and self.masked else self.primary).name

    def without_choices(self) -> Self:
        """The same objective with the default measure and margin: what training depends on."""
        return self.but(measure="", within=None)

    def check_dataset(self, name: str, kind: str) -> None:
        """Check that a dataset is for this objective.

        Args:
            name: of the dataset.
            kind: of the objective that its targets are for.

        Raises:
            SpecError: it is for another one.
        """
        if kind != self.kind:
            raise SpecError(f"The targets of {name} are for {kind}, not for {self.kind}: choose another dataset.")

    def check_outputs(self, outputs: int) -> None:
        """Check that a network has as many outputs as the objective asks for. Raises: SpecError: it has not."""
        raise NotImplementedError

    def outputs_for(self, classes: int) -> int:
        """Number of outputs that a network needs. Args: classes: number of classes of the dataset; 0 without."""
        raise NotImplementedError

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of a batch, a scalar that autograd can differentiate.

        Args:
            outputs: (n, outputs) of a network.
            targets: (n,) labels or numbers.
        """
        raise NotImplementedError

    def weight(self, targets: Tensor) -> float:
        """What the loss of a batch is a mean over, by which the losses of its parts are weighted: its examples.

        Args:
            targets: see :meth:`loss`.
        """
        return len(targets)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of each example, (n,); see :meth:`loss`."""
        raise NotImplementedError

    def random_targets(self, count: int, outputs: int, generator: torch.Generator) -> Tensor:
        """Targets of no meaning, (count,), to time steps with. Args: outputs: of the network; generator: draws them."""
        if self.has_classes:
            return torch.randint(outputs, (count,), generator=generator, device=generator.device)
        return torch.randn(count, generator=generator, device=generator.device)

    def compared(self, outputs: Tensor) -> Tensor:
        """The outputs that two networks which compute the same share, to rounding: all. Args: outputs: (n, outputs)."""
        return outputs

    def predict(self, outputs: Tensor) -> Tensor:
        """What the network answers, (n,): a label or a number for each example. Args: outputs: (n, outputs)."""
        raise NotImplementedError

    def judge(self, outputs: Tensor, targets: Tensor, classes: Sequence[int], names: Iterable[str]) -> dict[str, float]:
        """Compute measures.

        Args:
            outputs: (n, outputs) of a network.
            targets: (n,) on the same device.
            classes: labels that occur in the task; empty without classes.
            names: of the measures.
        """
        answers = self.answers(outputs, targets)
        return {name: self.all_measures[name].of(answers) for name in names}

    def answers(self, outputs: Tensor, targets: Tensor) -> Answers:
        """Answers to some examples, on the CPU. Args: see :meth:`judge`."""
        losses = self.losses(outputs, targets).detach().to(torch.float32)
        return Answers(self.predict(outputs).cpu().numpy(), targets.cpu().numpy(), losses.cpu().numpy())

    def trivial(self, targets: NDArray[Any]) -> NDArray[Any] | None:
        """The best answers that need no input, (n,), such as the most frequent class; None where nothing is trivial.

        Args:
            targets: (n,) labels or numbers of a test part.
        """
        return None

    def facts(self, targets: Tensor) -> Mapping[str, float]:
        """What a test part says by itself, by name, such as the share of its largest class. Args: targets: (n,)."""
        return {}
