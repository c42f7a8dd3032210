"""All methods, in the order in which forms, tables and figures list them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, ValidationInfo

from core.methods.biases import BiasesSpec
from core.methods.dora import DoRASpec
from core.methods.full import FullSpec
from core.methods.head import HeadSpec
from core.methods.lora import LoRASpec
from core.methods.low_rank import LowRankSpec
from core.methods.method import MethodSpec, Role, UnknownMethod
from core.methods.pretrain import PretrainSpec
from core.methods.scratch import ScratchSpec
from core.spec import by_kind, class_of

METHODS: list[type[MethodSpec]] = [
    PretrainSpec,
    FullSpec,
    LoRASpec,
    DoRASpec,
    HeadSpec,
    BiasesSpec,
    ScratchSpec,
]
"""One line per method."""


def methods(role: Role) -> dict[str, type[MethodSpec]]:
    """The methods with this role, by kind."""
    return {method.name(): method for method in METHODS if method.role is role}


def adapter_methods() -> dict[str, type[LowRankSpec]]:
    """The methods that train adapters of low rank, by kind."""
    return {method.name(): method for method in METHODS if issubclass(method, LowRankSpec)}


def method_of(kind: str) -> MethodSpec:
    """The method of this kind with its default settings. Raises: SpecError: there is none."""
    return class_of(kind, METHODS, "method").of()


def method_order(kind: str) -> int:
    """Position of a method in :data:`METHODS`; unknown ones come last."""
    kinds = [method.name() for method in METHODS]
    return kinds.index(kind) if kind in kinds else len(kinds)


def _method(value: Any, info: ValidationInfo) -> MethodSpec:
    return by_kind(value, info, MethodSpec, METHODS, UnknownMethod)


AnyMethod = Annotated[SerializeAsAny[MethodSpec], BeforeValidator(_method)]
"""Type of a field that holds a method; the name of a kind stands for its default settings."""
