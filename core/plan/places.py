"""The axis *where*: the layers that get adapters, at equal numbers of trained parameters.

The ranks are chosen so that adapters on other layers have as many parameters as those on all linear layers have at the
rank that was asked for; where no rank gives exactly as many, the nearest one does. Alpha stays. Methods without
adapters are the same at every point, and so are trained once.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from core.engine.jobs.build import untrained
from core.errors import LoRAError
from core.methods.method import MethodSpec
from core.methods.parameters import count_parameters
from core.methods.roles import ALL, ROLES, Layers
from core.methods.targets import find_targets
from core.networks.network import NetworkSpec
from core.plan.axis import ChoiceAxis, Point
from core.plan.experiment import Setting
from core.spec import bounds

QUERY_AND_VALUE = "query-value"
"""Point whose adapters are on the layers of queries and values alone, as in the paper of LoRA."""

LAST_BLOCKS = "last-blocks"
"""Point whose adapters are on all linear layers of the last half of the blocks."""


class LayersAxis(ChoiceAxis):
    """Where adapters are put."""

    name = "layers"
    question = "Where?"
    title = "Layers with adapters"
    replaces = "target_modules"
    line = (
        "Adapters on some layers alone, with ranks that give as many trained parameters as on all linear layers. Full "
        "fine-tuning is the same everywhere, and is trained once."
    )

    def choices(self, network: NetworkSpec) -> Mapping[str, tuple[str, ...]]:
        return _places(network)

    def setting(self, setting: Setting, point: Point, network: NetworkSpec) -> Setting:
        optim, method = setting
        if not method.targets:
            return setting
        return optim, matched(method, _places(network)[self.point(str(point), network)], network)


@lru_cache(maxsize=64)
def _places(network: NetworkSpec) -> dict[str, tuple[str, ...]]:
    """Target modules by the name of a place; of a network without blocks each of its layers is one."""
    layers = Layers(tuple(find_targets(network.build(), [ALL])))
    found: dict[str, tuple[str, ...]] = {ALL: (ALL,)}
    if not layers.blocks:
        return found | {name: (name,) for name in layers.by_name}
    found |= {role: (role,) for role in ROLES if role in layers.groups}
    kinds = {kind.label: kind.name for kind in layers.by_kind if kind.role == ROLES[0]}
    if {"query", "value"} <= kinds.keys():
        found[QUERY_AND_VALUE] = layers.targets([kinds["query"], kinds["value"]])
    half = list(layers.blocks)[len(layers.blocks) // 2 :]
    if len(half) < len(layers.blocks):
        found[LAST_BLOCKS] = layers.targets([ALL], half)
    return found


@lru_cache(maxsize=256)
def matched(method: MethodSpec, targets: tuple[str, ...], network: NetworkSpec) -> MethodSpec:
    """A method on other layers, at the size that trains about as many parameters there as on all linear layers.

    Args:
        method: with the size that holds on all linear layers; a method without a size keeps its settings.
        targets: the layers.
        network: that is fine-tuned.

    Raises:
        LoRAError: the adapters do not fit the network.
    """
    wanted, moved = _trained(network, method.on((ALL,))), method.on(targets)
    if not method.size_field or targets == (ALL,):
        return moved
    low = int(bounds(type(method), method.size_field).low or 1)
    high = int(bounds(type(method), method.size_field).high or low)
    while low < high:  # the smallest size with at least as many
        middle = (low + high) // 2
        count = _count(network, moved, middle)
        low, high = (low, middle) if count is None or count >= wanted else (middle + 1, high)
    sizes = [size for size in (low - 1, low) if size >= 1 and _count(network, moved, size) is not None]
    return moved.of_size(min(sizes, key=lambda size: abs((_count(network, moved, size) or 0) - wanted)))


def _count(network: NetworkSpec, method: MethodSpec, size: int) -> int | None:
    """Trained parameters at a size; None where it is above what the layers take."""
    try:
        return _trained(network, method.of_size(size))
    except LoRAError:
        return None


@lru_cache(maxsize=1024)
def _trained(network: NetworkSpec, method: MethodSpec) -> int:
    return count_parameters(untrained(network, method.shape()), trainable=True)
