"""All methods, in the order in which forms, tables and figures list them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, ValidationInfo

from core.methods.adapter import AdapterSpec
from core.methods.biases import BiasesSpec
from core.methods.dora import DoRASpec
from core.methods.full import FullSpec
from core.methods.head import HeadSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec, Role
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


def written_as(peft_type: object) -> list[type[AdapterSpec]]:
    """The methods whose adapters have this type in PEFT's config."""
    return [method for method in METHODS if issubclass(method, AdapterSpec) and method.peft.peft_type == peft_type]


def peft_types() -> list[str]:
    """The types that adapters have in PEFT's config, in the order of :data:`METHODS`."""
    return list(dict.fromkeys(method.peft.peft_type for method in METHODS if issubclass(method, AdapterSpec)))


def method_of(kind: str) -> MethodSpec:
    """The method of this kind with its default settings. Raises: SpecError: there is none."""
    return class_of(kind, METHODS, "method").of()


def method_order(kind: str) -> int:
    """Position of a method in :data:`METHODS`; unknown ones come last."""
    kinds = [method.name() for method in METHODS]
    return kinds.index(kind) if kind in kinds else len(kinds)


def _method(value: Any, info: ValidationInfo) -> MethodSpec:
    return by_kind(value, info, MethodSpec, METHODS)


AnyMethod = Annotated[SerializeAsAny[MethodSpec], BeforeValidator(_method)]
"""Type of a field that holds a method; the name of a kind stands for its default settings."""
