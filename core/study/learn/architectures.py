"""Where adapters go in a transformer: its linear layers by kind, and what adapters on chosen ones train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd
import torch

from core.engine.cost import plan, target_layers
from core.methods.head import HeadSpec
from core.methods.method import MethodSpec
from core.methods.roles import Kind
from core.methods.targets import find_targets
from core.networks.hugging_face import build_classifier, head_of
from core.networks.library.known import KNOWN
from core.networks.network import NetworkSpec
from core.networks.transformer import TransformerSpec
from core.study.learn.counting import LayerCount

CONFIGS = Path(__file__).parent / "configs"
"""Folder with the architecture of each known network, so that it can be drawn before anybody has brought it."""

CLASSES = 2
"""Classes of the networks that nobody has brought."""

NO_WEIGHTS = "0" * 64
"""Stands in for the digest of weights, since these networks are only counted."""


@lru_cache(maxsize=1)
def known_architectures() -> dict[str, TransformerSpec]:
    """The known networks as classifiers with two classes, without weights, by their short name."""
    found = {}
    for known in KNOWN:
        path = CONFIGS / f"{known.name}.json"
        if path.exists():
            config = path.read_text(encoding="utf-8")
            head = head_of(build_classifier(config, CLASSES, torch.device("meta")), ())
            name = known.hub.rpartition("/")[2]
            found[known.name] = TransformerSpec.of(
                weights=NO_WEIGHTS, model=name, config=config, head=head, num_classes=CLASSES
            )
    return found


@dataclass(frozen=True)
class KindOfLayer(Kind):
    """The layers of one kind in a network, with their shape."""

    in_features: int
    out_features: int
    paths: tuple[str, ...]
    chosen: tuple[str, ...]
    """Paths of those with an adapter."""
    inside: bool
    """Whether they are in the blocks."""


@dataclass(frozen=True)
class Adapted:
    """A network with adapters on some of its linear layers."""

    name: str
    rank: int | None
    """Of the matrices of the adapters; None for a method without such matrices."""
    blocks: int
    """Number of blocks."""
    kinds: tuple[KindOfLayer, ...]
    """Attention first, then feed-forward, then layers outside of the blocks; the head is not among them."""
    parameters: int
    """Parameters of the network without adapters, head included."""
    adapters: int
    """Numbers that are trained in the adapters."""
    head: int
    """Numbers that are trained in the head, which every method trains."""

    @property
    def share(self) -> float:
        """Percentage of the network's parameters that adapters and head train together."""
        return 100 * (self.adapters + self.head) / self.parameters


def adapted(network: NetworkSpec, method: MethodSpec) -> Adapted:
    """Count what a method trains in a network, from the network itself, built without memory for its weights.

    Raises:
        LoRAError: the targets name nothing, the rank is too high for all of them, or the network has no blocks.
    """
    trained, head = plan(network, method), plan(network, HeadSpec()).trainable_parameters
    return Adapted(
        network.sizes,
        method.inner_rank,
        len(target_layers(network).blocks),
        _kinds(network, method.targets),
        trained.parameters - (trained.trainable_parameters - head),
        trained.trainable_parameters - head,
        head,
    )


@lru_cache(maxsize=64)
def _kinds(network: NetworkSpec, targets: tuple[str, ...]) -> tuple[KindOfLayer, ...]:
    layers = target_layers(network)
    shapes, chosen = network.linear_layers(), find_targets(network.build(), targets)
    inside = {path for paths in layers.blocks.values() for path in paths}
    found = []
    for kind, paths in layers.by_kind.items():
        outputs, inputs = shapes[paths[0]]
        own = tuple(path for path in paths if path in chosen)
        found.append(KindOfLayer(kind.role, kind.name, inputs, outputs, paths, own, not inside.isdisjoint(paths)))
    return tuple(found)


def kinds_table(found: Adapted, rank: int) -> pd.DataFrame:
    """Return one row per kind of layer: its shape, how many have an adapter, and the numbers in A and B.

    Args:
        found: the network with adapters.
        rank: of the adapters; limited in each layer to its maximum.

    Returns:
        Columns ``layer``, ``role``, ``in``, ``out``, ``copies``, ``chosen``, ``lora`` for one layer and ``lora_all``.
    """
    rows = []
    for kind in found.kinds:
        count = LayerCount(kind.in_features, kind.out_features, rank)
        rows.append(
            {
                "layer": kind.name,
                "role": kind.role or "other",
                "in": kind.in_features,
                "out": kind.out_features,
                "copies": len(kind.paths),
                "chosen": len(kind.chosen),
                "lora": count.lora,
                "lora_all": count.lora * len(kind.chosen),
            }
        )
    return pd.DataFrame(rows)


def shape_text(kind: KindOfLayer) -> str:
    """Inputs and outputs, as in ``384 → 1,536``."""
    return f"{kind.in_features:,} → {kind.out_features:,}"


def alt_text(found: Adapted) -> str:
    """Say what a drawing of the network shows, for people who do not see it."""
    chosen: Sequence[str] = [f"{kind.name} ({len(kind.chosen)})" for kind in found.kinds if kind.chosen]
    return (
        f"{found.name}: {found.blocks} blocks with {len([k for k in found.kinds if k.inside])} linear layers each. "
        f"Layers with adapters: {', '.join(chosen) or 'none'}."
    )
