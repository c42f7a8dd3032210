"""All network families."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, ValidationInfo

from core.networks.network import NetworkSpec, UnknownNetwork
from core.networks.perceptron import PerceptronSpec
from core.spec import by_kind

FAMILIES: list[type[NetworkSpec]] = [
    PerceptronSpec,
]
"""One line per family."""


def _network(value: Any, info: ValidationInfo) -> NetworkSpec:
    return by_kind(value, info, NetworkSpec, FAMILIES, UnknownNetwork)


AnyNetwork = Annotated[SerializeAsAny[NetworkSpec], BeforeValidator(_network)]
"""Type of a field that holds a network; the name of a kind stands for its default sizes."""
