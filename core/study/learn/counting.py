"""Exact counts of what each method trains, stores and keeps in memory, computed from shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd
from torch import nn

from core.errors import LoRAError
from core.methods.linear import count_parameters, features
from core.methods.roles import ALL, Kind, Layers, is_named
from core.methods.targets import find_targets, names
from core.networks.perceptron import PerceptronSpec

FLOAT32 = 4
"""Bytes per trained number."""

BFLOAT16 = 2
"""Bytes per number in stored language models."""

ADAM_STATE = 2 * FLOAT32
"""Bytes that Adam (Kingma & Ba 2014, arXiv 1412.6980) keeps per trained number: two running moments."""


@dataclass(frozen=True)
class LayerCount:
    """The cost of fine-tuning one linear layer in full and with LoRA."""

    in_features: int
    out_features: int
    rank: int
    """The requested rank; see :attr:`used_rank`."""

    def __post_init__(self) -> None:
        """Validate the sizes. Raises: LoRAError: a size or the rank is below 1."""
        for name, value in (("Inputs", self.in_features), ("Outputs", self.out_features), ("Rank", self.rank)):
            if value < 1:
                raise LoRAError(f"{name} must be a whole number of at least 1, not {value}.")

    @property
    def largest_rank(self) -> int:
        """The maximum rank of a matrix of this shape."""
        return min(self.in_features, self.out_features)

    @property
    def used_rank(self) -> int:
        """The rank that is used: ranks above the maximum would add numbers without expressiveness."""
        return min(self.rank, self.largest_rank)

    @property
    def full(self) -> int:
        """Numbers in ΔW: in · out."""
        return self.in_features * self.out_features

    @property
    def lora(self) -> int:
        """Numbers in A and B together: r · (in + out)."""
        return self.used_rank * (self.in_features + self.out_features)

    @property
    def times_fewer(self) -> float:
        """Reduction factor of LoRA; below 1 if it trains more numbers."""
        return self.full / self.lora

    @property
    def break_even(self) -> float:
        """The rank at which both methods train equally many numbers: in · out / (in + out)."""
        return self.full / (self.in_features + self.out_features)

    @property
    def first_rank_without_saving(self) -> int:
        """The smallest whole rank at or above :attr:`break_even`."""
        return -(-self.full // (self.in_features + self.out_features))

    @property
    def saves(self) -> bool:
        """Whether LoRA trains fewer numbers than full fine-tuning."""
        return self.lora < self.full

    @property
    def extra_share(self) -> float:
        """Additional multiplications per input for the adapter, as a share of those of the layer."""
        return self.lora / self.full


@dataclass(frozen=True)
class KindOfLayer(Kind):
    """The linear layers of one kind in a network, and those of them that get adapters."""

    in_features: int
    out_features: int
    paths: tuple[str, ...]
    chosen: tuple[str, ...]
    """Paths of those with an adapter."""

    @property
    def is_in_blocks(self) -> bool:
        """Whether it is a place in every block, and not a single layer outside of them."""
        return self.paths != (self.name,)

    @property
    def shape(self) -> str:
        """Inputs and outputs, as in ``384 → 1,536``."""
        return f"{self.in_features:,} → {self.out_features:,}"

    def count(self, rank: int) -> LayerCount:
        """The cost of one of them."""
        return LayerCount(self.in_features, self.out_features, rank)


def kinds_of(network: nn.Module, targets: Iterable[str] = (ALL,)) -> tuple[KindOfLayer, ...]:
    """The linear layers of a network by kind: attention first, then feed-forward, then layers outside of the blocks.

    Args:
        network: built, on any device; its output layer or classifier is left out.
        targets: which of its layers get adapters, see :func:`core.methods.targets.find_targets`.

    Raises:
        LoRAError: it has no linear layer, or a target matches nothing.
    """
    layers, chosen = find_targets(network, [ALL]), find_targets(network, targets)
    return tuple(
        KindOfLayer(
            kind.role, kind.name, *features(layers[paths[0]]), paths, tuple(path for path in paths if path in chosen)
        )
        for kind, paths in Layers(tuple(layers)).by_kind.items()
    )


def kinds_table(kinds: Iterable[KindOfLayer], rank: int) -> pd.DataFrame:
    """Return one row per kind of layer: its shape, how many have an adapter, and the numbers in A and B.

    Args:
        kinds: of a network.
        rank: of the adapters; limited in each layer to its maximum.

    Returns:
        Columns ``layer``, ``role``, ``in``, ``out``, ``copies``, ``chosen``, ``full`` and ``lora`` for one layer,
        ``times_fewer``, and ``lora_all``.
    """
    rows = []
    for kind in kinds:
        count = kind.count(rank)
        rows.append(
            {
                "layer": kind.name,
                "role": kind.role or "other",
                "in": kind.in_features,
                "out": kind.out_features,
                "copies": len(kind.paths),
                "chosen": len(kind.chosen),
                "full": count.full,
                "lora": count.lora,
                "times_fewer": count.times_fewer,
                "lora_all": count.lora * len(kind.chosen),
            }
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Network:
    """A network, described by its linear layers."""

    name: str
    parameters: int
    """Number of parameters of the whole network, embeddings, norms and output layer included."""
    kinds: tuple[KindOfLayer, ...]
    bytes_each: int = FLOAT32
    """Bytes per stored number."""
    checkpoint: str = ""
    """Repository on huggingface.co with its published config."""
    config: Mapping[str, int] = field(default_factory=dict)
    """The fields of ``config.json`` that the shapes come from."""
    output: int = 0
    """Numbers of the output layer of a language model; 0 where it is the embedding, and for other networks."""

    def trainable(self, rank: int, *targets: str) -> int:
        """Return how many numbers LoRA trains.

        Args:
            rank: limited in each layer to its maximum rank.
            targets: as those of :func:`core.methods.targets.find_targets`; all-linear if there are none. Embeddings and
                the output layer are never included.

        Raises:
            LoRAError: a target matches nothing.
        """
        found: set[str] = set()
        for target in names(targets or (ALL,)):
            matches = {kind.name for kind in self.kinds if target in (ALL, kind.role) or is_named(kind.name, target)}
            if not matches:
                raise LoRAError(f"No layer of {self.name} matches the target {target!r}.")
            found |= matches
        return sum(kind.count(rank).lora * len(kind.paths) for kind in self.kinds if kind.name in found)


@dataclass(frozen=True)
class Storage:
    """Disk space of fine-tuned networks for many customers, in bytes."""

    customers: int
    full_copies: int
    """One complete fine-tuned network per customer."""
    base: int
    """The network that all adapters share."""
    adapters: int
    """One adapter per customer."""

    @property
    def shared(self) -> int:
        """The base and all adapters together."""
        return self.base + self.adapters


def storage(network: Network, rank: int, customers: int) -> Storage:
    """Compute the disk space of ``customers`` fine-tuned networks, without file headers.

    Raises:
        LoRAError: fewer than one customer, or a rank below 1.
    """
    if customers < 1:
        raise LoRAError(f"Customers must be a whole number of at least 1, not {customers}.")
    base = network.parameters * network.bytes_each
    adapter = network.trainable(rank) * network.bytes_each
    return Storage(customers, customers * base, base, customers * adapter)


def perceptron(spec: PerceptronSpec) -> Network:
    """Describe LoRA Lab's multilayer perceptron."""
    network = spec.build()
    return Network(spec.sizes, count_parameters(network), kinds_of(network))
