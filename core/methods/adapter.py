"""What every method that trains adapters has: its layers, their class, and how they are written for PEFT: the fields of
its config, and its tensors.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from core.errors import AdapterError, LoRAError
from core.methods.adapted import AdaptedLinear, adapted_layers
from core.methods.method import MethodSpec, Role
from core.methods.targets import find_targets, head_paths, is_in_head, names, unfreeze_head
from core.numbers import capitalized
from core.tensor_file import MAX_DIMENSIONS

CONFIG_FILE = "adapter_config.json"
TENSORS_FILE = "adapter_model.safetensors"

MAX_NAMES = 4096
"""Maximum number of names of layers; those that are no full paths are compared with every layer."""
MAX_LENGTH = 256
"""Maximum length of a name or pattern."""

PLAIN = re.compile(r"[\w.-]+")
"""A name, without what has a meaning in regular expressions but the dot."""

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class LayerSettings:
    """What the method's fields of a config say of one layer."""

    rank: int = 0
    """Inner dimension of its matrices; 0 for an adapter without such matrices."""


class PeftConfig(ABC):
    """The fields of one of PEFT's configs that only this type of adapter has."""

    peft_type: ClassVar[str]
    """PEFT's name of the type, as in ``LORA``."""
    supported: ClassVar[frozenset[str]]
    """Fields that are read."""
    harmless: ClassVar[frozenset[str]] = frozenset()
    """Fields that do not affect what a trained adapter computes on a plain network."""

    @property
    def usual_rank(self) -> int:
        """Inner dimension of the matrices of most layers; 0 for an adapter without such matrices."""
        return 0

    @property
    def patterns(self) -> Sequence[Sequence[str]]:
        """Groups of patterns for the ends of paths; the first match in each group says something of a layer."""
        return ()

    @classmethod
    @abstractmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Read the fields from a config file. Raises: AdapterError: a value is out of bounds, or not supported."""

    @abstractmethod
    def written(self) -> dict[str, Any]:
        """The fields for a config file, ``peft_type`` and fields that all types have left out."""

    def at(self, matches: Sequence[int]) -> LayerSettings:
        """The settings of a layer. Args: matches: number of the matching pattern in each group; −1 for none."""
        return LayerSettings()

    @abstractmethod
    def check(self, kind: type[Any], path: str, tensors: Mapping[str, Tensor], own: Any) -> None:
        """Check the tensors of one layer against each other and against the config.

        Args:
            kind: the class of the layer.
            path: of the layer.
            tensors: by PEFT's names; none that the class does not have.
            own: the layer's settings.

        Raises:
            AdapterError: a tensor is missing, or of another shape.
        """

    @abstractmethod
    def features(self, tensors: Mapping[str, Tensor]) -> tuple[int | None, int | None]:
        """Numbers of inputs and outputs of a layer that tensors fit; None where any number fits."""

    @abstractmethod
    def layer(self, kind: type[Any], linear: nn.Linear, tensors: Mapping[str, Tensor], own: Any) -> AdaptedLinear:
        """A layer with the adapter of a file. Args: as in :meth:`check`; linear: of the features of the tensors."""


def check_values(tensor: Tensor, what: str) -> None:
    """Check that a tensor of a file has finite floats. Raises: AdapterError: it has others."""
    if tensor.dtype not in _DTYPES or tensor.ndim > MAX_DIMENSIONS or not torch.isfinite(tensor).all():
        raise AdapterError(f"{what} has values that are not finite floats.")


MAX_TARGETS = 512
"""Maximum number of names of layers: more than all layers of the networks that fit on one machine."""

Targets = tuple[Annotated[str, Field(min_length=1, max_length=100)], ...]
"""Type of the field ``target_modules``."""


def targets_field() -> Any:
    """The field ``target_modules``, which a method declares as its last, so that tables have it behind the others."""
    return Field(
        ("all-linear",),
        min_length=1,
        max_length=MAX_TARGETS,
        title="Layers",
        description="Layers to adapt: full names, last components of names, attention, feed-forward, or all-linear. On "
        "rotated digits the first layer alone did as well as all with as many parameters (accuracy 88.9 and 88.5), and "
        "the last alone did not (78.9); on texts, MiniLM with as many in attention (84.00), in feed-forward (84.12) "
        "and in all layers (84.3) was seen within 0.3 points, and places were not compared (docs/studies).",
    )


class AdapterSpec(MethodSpec):
    """Settings of a method that puts adapters on linear layers."""

    role = Role.ADAPTER
    rate_factor = 5.0
    layer: ClassVar[type[AdaptedLinear]]
    """Class of the adapted layers."""
    peft: ClassVar[type[PeftConfig]]
    """The method's fields of PEFT's config, and how files of that type are read."""
    marks: ClassVar[Mapping[str, Any]] = {}
    """Fields of PEFT's config by which this method is told from others of its type."""
    card_fields: ClassVar[tuple[str, ...] | None] = None
    """Fields that model cards tell, in this order; None for all but the layers."""

    if TYPE_CHECKING:  # declared by each method, with targets_field()
        target_modules: tuple[str, ...]

    @field_validator("target_modules", check_fields=False)
    @classmethod
    def _one_target_per_name(cls, targets: tuple[str, ...]) -> tuple[str, ...]:
        # "q,v" and ("q", "v") are the same layers, and so the same arm.
        single = tuple(name for name in names(targets) if name)
        if len(single) > MAX_TARGETS:
            raise ValueError(f"Layers takes at most {MAX_TARGETS}: remove some.")
        return single or targets

    @property
    def targets(self) -> tuple[str, ...]:
        return self.target_modules

    def on(self, targets: Iterable[str]) -> Self:
        return self.but(target_modules=tuple(targets))

    def shape(self) -> MethodSpec:
        size = {self.size_field: self.size} if self.size_field else {}
        return type(self).of(**size, target_modules=self.target_modules)

    @property
    def facts(self) -> str:
        own = [name for name in self.own_fields() if name != self.size_field]
        return ", ".join([*(self.setting_text(name) for name in own), f"on {' '.join(self.targets)}"])

    @property
    def card_line(self) -> str:
        """The settings as a line of a model card, as in ``Rank 4, alpha 8, scaling alpha/r``; empty without any."""
        return capitalized(", ".join(self.setting_text(name) for name in self.card_fields or self.own_fields()))

    def prepare(self, network: nn.Module, generator: torch.Generator | None = None) -> nn.Module:
        linears = free_layers(network, self.target_modules)
        self.check_fit(linears)
        return put_adapters(network, linears, lambda linear: self.adapted(linear, generator))

    @abstractmethod
    def adapted(self, linear: nn.Linear, generator: torch.Generator | None) -> AdaptedLinear:
        """The layer with a new adapter. Args: generator: random number generator; None for torch's global one."""

    def check_fit(self, linears: Mapping[str, nn.Linear]) -> None:
        """Check that the settings suit the targeted layers. Raises: LoRAError: they do not."""

    @abstractmethod
    def peft_config(self, layers: Mapping[str, AdaptedLinear]) -> PeftConfig:
        """The method's fields of PEFT's config. Args: layers: the adapted layers, by path."""

    def describes(self, base: nn.Module, layers: Mapping[str, AdaptedLinear]) -> bool:
        """Whether adapted layers, by path, are what this makes of a network.

        Args:
            base: the network without adapters.
            layers: the adapted layers, by path.
        """
        found = all(type(layer) is self.layer for layer in layers.values())
        return found and find_targets(base, self.target_modules).keys() == layers.keys()


def free_layers(model: nn.Module, targets: Iterable[str]) -> dict[str, nn.Linear]:
    """The layers that targets name, by path, none of which has an adapter.

    Raises:
        LoRAError: the model has adapters, or a target matches nothing, a layer of the head, or no plain linear layer.
    """
    if adapted_layers(model):
        raise LoRAError("This network already has LoRA adapters; start from the base network.")
    found = find_targets(model, tuple(targets))
    inside = [path for path in found if is_in_head(path, head_paths(model))]
    if inside:
        raise LoRAError(f"Layer {inside[0]} belongs to the head, which is trained whole: choose other layers.")
    return found


def put_adapters(
    model: nn.Module, linears: Mapping[str, nn.Linear], make: Callable[[nn.Linear], AdaptedLinear]
) -> nn.Module:
    """Replace layers of ``model`` by adapted ones, and freeze everything else but the head, in place.

    Args:
        model: any network.
        linears: the layers, by path; a layer with several paths gets one adapter.
        make: adds an adapter to a layer, before anything is replaced.

    Returns:
        ``model`` itself.
    """
    adapters: dict[int, AdaptedLinear] = {}
    for linear in linears.values():
        adapters.setdefault(id(linear), make(linear))
    for parameter in model.parameters():
        parameter.requires_grad = False
    unfreeze_head(model)
    for path, linear in linears.items():
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, adapters[id(linear)])
    return model
