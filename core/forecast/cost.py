"""What follows from a network and a method before anything is trained: numbers of parameters, frozen blocks, and layers
that can have adapters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from core.engine.jobs.build import untrained
from core.methods.method import MethodSpec
from core.methods.parameters import count_parameters
from core.methods.roles import ALL, Layers
from core.methods.targets import find_targets
from core.networks.network import NetworkSpec
from core.training.frozen import frozen_blocks


@dataclass(frozen=True)
class Plan:
    """Sizes of a run."""

    parameters: int
    """Number of parameters of the whole network, including adapters."""
    trainable_parameters: int


@lru_cache(maxsize=256)
def plan(network: NetworkSpec, method: MethodSpec) -> Plan:
    """Sizes of a run on this network, counted on the ``meta`` device.

    Raises:
        LoRAError: the adapters do not fit the network.
    """
    built = untrained(network, method)
    return Plan(count_parameters(built), count_parameters(built, trainable=True))


def frozen_sentence(network: NetworkSpec, method: MethodSpec) -> str | None:
    """What is computed only once per text, since nothing below it is trained; None if there is no such part.

    Raises:
        LoRAError: the adapters do not fit the network.
    """
    return frozen_blocks(network, method.shape()).sentence()


@lru_cache(maxsize=256)
def target_layers(network: NetworkSpec) -> Layers:
    """The layers that adapters are put on where all are asked for.

    Raises:
        LoRAError: the network has no linear layer.
    """
    return Layers(tuple(find_targets(network.build(), [ALL])))


def chosen_for(network: NetworkSpec, targets: Sequence[str]) -> tuple[list[str], list[int]]:
    """What a form shows for target modules of a network: names of choices, and numbers of blocks.

    Raises:
        LoRAError: a target names no layer.
    """
    return target_layers(network).chosen(tuple(targets), find_targets(network.build(), targets))
