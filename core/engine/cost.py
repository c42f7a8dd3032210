"""Number of parameters of a run, counted before it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from core.engine.build import untrained
from core.methods.lora import count_parameters
from core.spec import Control, LoRASpec, ModelSpec


@dataclass(frozen=True)
class Plan:
    """Sizes of a run."""

    parameters: int
    """Number of parameters of the whole network, including adapters."""
    trainable_parameters: int


@lru_cache(maxsize=256)
def plan(model: ModelSpec, lora: LoRASpec | None = None, control: Control | None = None) -> Plan:
    """Sizes of a run on this network, counted on the ``meta`` device.

    Raises:
        LoRAError: the adapters do not fit the network.
    """
    network = untrained(model, lora, control)
    return Plan(count_parameters(network), count_parameters(network, trainable=True))
