"""What a method is: its settings, what it trains of a network, and the fields that several methods share, as forms
and the command line ask for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Any, ClassVar, Self

import torch
from torch import nn

from core.spec import Bounds, KindSpec, bounds


class Role(StrEnum):
    """What a method is for in a comparison."""

    BASE = "base"
    """Trains the network that the others start from."""
    REFERENCE = "reference"
    """Full fine-tuning, with which the others are compared."""
    ADAPTER = "adapter"
    """Trains small weights beside frozen ones, as LoRA does."""
    CONTROL = "control"
    """Shows what a part of the network, or no base at all, would reach."""


class MethodSpec(KindSpec):
    """A method with its settings. A subclass is one method, and is listed in :mod:`core.methods.registry`."""

    title: ClassVar[str]
    """The method as people read it, as in ``Full fine-tuning``."""
    short: ClassVar[str]
    """The same where there is little room, as in ``Full``."""
    line: ClassVar[str]
    """What it trains, in a few words for forms and the command line."""
    role: ClassVar[Role]
    rate_factor: ClassVar[float] = 1.0
    """Default learning rate, as a multiple of the one that suits full fine-tuning of the same network."""
    only_head: ClassVar[bool] = False
    """Whether it trains the head alone, so that its learning rate is that of the head."""
    starts_from_base: ClassVar[bool] = True
    """Whether training starts from weights that were learned before, if there are any, not from random ones."""

    size_field: ClassVar[str] = ""
    """Name of the field that says how much it trains, of which forms and sweeps try several; empty without one."""
    strength_field: ClassVar[str] = ""
    """Name of the field that scales what it adds to the outputs of layers; empty without one."""
    is_low_rank: ClassVar[bool] = False
    """Whether ΔW is a product s · (A B)ᵀ with s proportional to its strength, which a plain LoRA can hold."""
    drawn: ClassVar[str] = ""
    """What of it a seed draws, in words, as in ``the draw of LoRA's A``; empty for nothing."""

    @property
    def label(self) -> str:
        """Short name of an arm with these settings, as in ``LoRA r=4``."""
        return self.short

    @classmethod
    def own_fields(cls) -> tuple[str, ...]:
        """Names of its fields beside its kind and the choice of layers."""
        return tuple(name for name in cls.model_fields if name not in ("kind", "target_modules"))

    @classmethod
    def varied(cls) -> tuple[str, ...]:
        """Names of the fields of which several values are tried, each a column in tables: size and strength."""
        return tuple(filter(None, (cls.size_field, cls.strength_field)))

    @property
    def size(self) -> Any:
        """Value of :attr:`size_field`, such as the rank; None without one."""
        return getattr(self, self.size_field) if self.size_field else None

    @property
    def strength(self) -> Any:
        """Value of :attr:`strength_field`, such as alpha; None without one."""
        return getattr(self, self.strength_field) if self.strength_field else None

    @property
    def inner_rank(self) -> int | None:
        """Inner dimension of the low-rank matrices that it trains; None for a method without such matrices."""
        return None

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the layers that get an adapter; empty for a method without a choice of layers."""
        return ()

    @property
    def facts(self) -> str:
        """Its settings but the size, in words for reports; empty without any."""
        return ", ".join(map(self.setting_text, self.own_fields()))

    @property
    def tensor_rates(self) -> Mapping[str, float]:
        """Factors on the learning rate of some parameters, by the ends of their names; all others have 1.

        With ``{"lora.B": 16.0}`` the matrices B of LoRA are trained as by LoRA+ (arXiv 2402.12354).
        """
        return {}

    def setting_text(self, field: str) -> str:
        """A setting with its value, as in ``alpha 8``."""
        title, value = bounds(type(self), field).title, getattr(self, field)
        return f"{title[:1].lower()}{title[1:]} {f'{value:g}' if isinstance(value, float) else value}"

    def of_size(self, size: Any) -> Self:
        """The same with another size; itself for a method without one. Raises: SpecError: it is out of bounds."""
        return self.but(**{self.size_field: size}) if self.size_field else self

    def on(self, targets: Iterable[str]) -> Self:
        """The same with adapters on other layers; itself for a method without a choice of layers."""
        return self

    def with_settings_of(self, other: MethodSpec) -> Self:
        """The same with the settings of another method, where both have fields of one name."""
        shared = type(self).model_fields.keys() & type(other).model_fields.keys() - {"kind"}
        return self.but(**{name: getattr(other, name) for name in shared})

    def prepare(self, network: nn.Module, generator: torch.Generator | None = None) -> nn.Module:
        """Add what the method trains to ``network`` and freeze the rest, in place; by default all weights are trained.

        Args:
            network: with the weights to start from.
            generator: random number generator for new weights; None for torch's global one.

        Returns:
            ``network`` itself.

        Raises:
            LoRAError: the settings do not fit the network.
        """
        return network

    def shape(self) -> MethodSpec:
        """The settings that decide the time and memory of a step, the others at their defaults; a method whose steps
        are those of another gives the other.
        """
        return self


@dataclass(frozen=True)
class OwnField:
    """A field that one or several methods have alike."""

    name: str
    """In each method."""
    key: str
    """Name in options and widgets: with the kind before it where another method has another field of that name."""
    methods: tuple[type[MethodSpec], ...]
    """At least one."""

    @property
    def about(self) -> Bounds:
        """Title, description, default and limits."""
        return bounds(self.methods[0], self.name)

    @property
    def is_size(self) -> bool:
        """Whether it is the size of its methods, of which several values are tried."""
        return self.methods[0].size_field == self.name

    @property
    def is_strength(self) -> bool:
        """Whether it scales what its methods add; of it, too, several values are tried."""
        return self.methods[0].strength_field == self.name


def own_fields(methods: Iterable[type[MethodSpec]]) -> list[OwnField]:
    """The fields of some methods, in the order of the methods and of their fields."""
    found: dict[tuple[str, Bounds, bool], list[type[MethodSpec]]] = {}
    for method in methods:
        for name in method.own_fields():
            found.setdefault((name, bounds(method, name), method.size_field == name), []).append(method)
    taken: set[str] = set()
    fields = []
    for (name, _, _), kinds in found.items():
        key = f"{kinds[0].name()}-{name}" if name in taken else name
        taken.add(name)
        fields.append(OwnField(name, key, tuple(kinds)))
    return fields


@dataclass(frozen=True)
class TimesSize:
    """A strength that follows the size of a method, as an alpha of twice the rank does."""

    factor: int


def with_values(
    method: type[MethodSpec], fields: Iterable[OwnField], values: Mapping[str, Any], targets: Iterable[str]
) -> list[MethodSpec]:
    """A method with chosen settings: once for each value of its size, if it has one, and of its strength.

    Args:
        method: an adapter method.
        fields: of this and other methods.
        values: by :attr:`OwnField.key`, those of a size as a sequence, those of a strength as one that may have
            :class:`TimesSize` among its numbers; a field that is left out has its default.
        targets: names of the layers.

    Raises:
        SpecError: a value is out of bounds.
    """
    own = {field.name: values[field.key] for field in fields if method in field.methods and field.key in values}
    sizes = own.pop(method.size_field, [method.of().size]) if method.size_field else [None]
    strengths = own.pop(method.strength_field, [method.of().strength]) if method.strength_field else [None]
    found: list[MethodSpec] = []
    for size, strength in product(sizes, strengths):
        if method.strength_field:
            own[method.strength_field] = strength.factor * size if isinstance(strength, TimesSize) else strength
        found.append(method.of(**own).on(targets).of_size(size))
    return found
