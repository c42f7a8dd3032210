"""Where adapters go in a transformer: its linear layers by kind, and what adapters on chosen ones train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from core.data.dataset import LANGUAGE
from core.forecast.forecast import plan, target_layers
from core.methods.head import HeadSpec
from core.methods.method import MethodSpec
from core.networks.hugging_face import build_classifier, head_of
from core.networks.library.place import KNOWN
from core.networks.network import NetworkSpec
from core.networks.transformer import TransformerSpec
from core.study.learn.counting import KindOfLayer, kinds_of

CONFIGS = Path(__file__).parent / "configs"
"""Folder with the architecture of each known network, so that it can be drawn before anybody has imported it."""

CLASSES = 2
"""Classes of the networks that nobody has imported."""

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
    """Numbers that are trained in the head, which every method trains; 0 for a language model, which has none."""

    @property
    def share(self) -> float:
        """Percentage of the network's parameters that adapters and head train together."""
        return 100 * (self.adapters + self.head) / self.parameters


def adapted(network: NetworkSpec, method: MethodSpec) -> Adapted:
    """Count what a method trains in a network, from the network itself, built without memory for its weights.

    Raises:
        LoRAError: the targets name nothing, the rank is too high for all of them, or the network has no blocks.
    """
    trained = plan(network, method)
    head = 0 if network.learns == LANGUAGE else plan(network, HeadSpec()).trainable_parameters
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
    return kinds_of(network.build(), targets)


def alt_text(found: Adapted) -> str:
    """Say what a drawing of the network shows, for people who do not see it."""
    chosen: Sequence[str] = [f"{kind.name} ({len(kind.chosen)})" for kind in found.kinds if kind.chosen]
    each = sum(kind.is_in_blocks for kind in found.kinds)
    return (
        f"{found.name}: {found.blocks} blocks with {each} linear layers each. "
        f"Layers with adapters: {', '.join(chosen) or 'none'}."
    )
