"""All network families."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, ValidationInfo
from torch import Tensor, nn

from core.errors import NetworkFileError, SpecError
from core.networks.causal import CausalSpec
from core.networks.decoder import DecoderSpec
from core.networks.network import NetworkSpec, spec_on
from core.networks.perceptron import PerceptronSpec
from core.networks.transformer import TransformerSpec
from core.spec import by_kind

FAMILIES: list[type[NetworkSpec]] = [
    PerceptronSpec,
    TransformerSpec,
    DecoderSpec,
    CausalSpec,
]
"""One line per family. The first one is trained where none is chosen."""


def families_for(kind: str) -> list[type[NetworkSpec]]:
    """The families that learn datasets of a kind."""
    return [family for family in FAMILIES if family.learns == kind]


def _network(value: Any, info: ValidationInfo) -> NetworkSpec:
    return by_kind(value, info, NetworkSpec, FAMILIES)


AnyNetwork = Annotated[SerializeAsAny[NetworkSpec], BeforeValidator(_network)]
"""Type of a field that holds a network; the name of a kind stands for its default sizes."""


def spec_of_state(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> NetworkSpec | None:
    """The spec of a network that was read, from the family that recognizes it; None if none does.

    Args:
        state: its state dict.
        metadata: what its file says beside the tensors.

    Raises:
        SpecError: it has sizes that its family does not have.
    """
    found = (family.of_state(state, metadata) for family in FAMILIES)
    return next((spec for spec in found if spec is not None), None)


def spec_of(network: nn.Module) -> NetworkSpec | None:
    """The spec that a network was built by, else the one that its tensors tell; None if there is none."""
    try:
        return spec_on(network) or spec_of_state(network.state_dict(), {})
    except SpecError:
        return None


def known_spec(network: nn.Module) -> NetworkSpec:
    """Like :func:`spec_of`. Raises: NetworkFileError: there is none."""
    spec = spec_of(network)
    if spec is None:
        raise NetworkFileError("This network is of no family that LoRA Lab knows.")
    return spec
