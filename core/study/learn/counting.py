"""How many numbers each way of fine-tuning trains, stores and keeps in memory: exact, from shapes alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from core.errors import LoRAError
from core.spec import ModelSpec

Part = Literal["attention", "mlp"]
Targets = Literal["attention", "all-linear"]

FLOAT32 = 4
"""Bytes of a number that is trained."""

BFLOAT16 = 2
"""Bytes of a number as language models are stored."""

ADAM_STATE = 2 * FLOAT32
"""Bytes that Adam (Kingma & Ba 2014, arXiv 1412.6980) keeps a trained number: two running moments."""


@dataclass(frozen=True)
class LayerCount:
    """What one linear layer costs to fine-tune in full and with LoRA."""

    in_features: int
    out_features: int
    rank: int
    """As asked for; see :attr:`used_rank`."""

    def __post_init__(self) -> None:
        """Refuse sizes that no layer has.

        Raises:
            LoRAError: a size or the rank is below 1.
        """
        for name, value in (("Inputs", self.in_features), ("Outputs", self.out_features), ("Rank", self.rank)):
            if value < 1:
                raise LoRAError(f"{name} must be a whole number of at least 1, not {value}.")

    @property
    def largest_rank(self) -> int:
        """The highest rank that a matrix of this shape can have."""
        return min(self.in_features, self.out_features)

    @property
    def used_rank(self) -> int:
        """The rank that is built: one above the largest would add numbers and no expressiveness."""
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
        """How many times fewer numbers LoRA trains; below 1 where it trains more."""
        return self.full / self.lora

    @property
    def break_even(self) -> float:
        """The rank at which both train equally many: in · out / (in + out)."""
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
        """Multiplications that the adapter adds to an input's, as a share of the layer's own."""
        return self.lora / self.full


@dataclass(frozen=True)
class Projection:
    """One linear layer of a network, and how many layers of that shape it has."""

    name: str
    """Last part of its path, as target lists name it."""
    part: Part
    in_features: int
    out_features: int
    copies: int = 1
    bias: bool = False
    fields: str = ""
    """Where the shape comes from: config fields, in → out."""

    @property
    def parameters(self) -> int:
        """Weights, and biases where it has them, of all copies."""
        return self.copies * (self.in_features + self.bias) * self.out_features

    def lora(self, rank: int) -> int:
        """Numbers that LoRA of this rank trains in all copies."""
        return self.copies * LayerCount(self.in_features, self.out_features, rank).lora


@dataclass(frozen=True)
class Network:
    """A network as a list of shapes."""

    name: str
    projections: tuple[Projection, ...]
    other: int = 0
    """Parameters that are not in a projection: embeddings, norms, an untied output layer."""
    bytes_each: int = FLOAT32
    """Bytes of a stored number."""
    checkpoint: str = ""
    """Where its config is published, on huggingface.co."""
    config: Mapping[str, int] = field(default_factory=dict)
    """The fields of ``config.json`` that the shapes come from."""

    @property
    def parameters(self) -> int:
        """Of the whole network."""
        return self.other + sum(projection.parameters for projection in self.projections)

    def trainable(self, rank: int, targets: Targets = "all-linear") -> int:
        """Numbers that LoRA trains.

        Args:
            rank: capped at what each layer can use.
            targets: ``attention`` for the projections of attention only, or ``all-linear`` for
                those of the feed-forward part too; embeddings and the output layer never.
        """
        return sum(p.lora(rank) for p in self.projections if targets == "all-linear" or p.part == targets)


@dataclass(frozen=True)
class Storage:
    """What fine-tuned networks for many customers take on disk, in bytes."""

    customers: int
    full_copies: int
    """One whole fine-tuned network each."""
    base: int
    """The one network that all adapters share."""
    adapters: int
    """One adapter each."""

    @property
    def shared(self) -> int:
        """The base once, and all adapters."""
        return self.base + self.adapters


def storage(network: Network, rank: int, customers: int) -> Storage:
    """Disk space for ``customers`` fine-tuned networks, file headers left out.

    Raises:
        LoRAError: fewer than one customer, or a rank below 1.
    """
    if customers < 1:
        raise LoRAError(f"Customers must be a whole number of at least 1, not {customers}.")
    base = network.parameters * network.bytes_each
    adapter = network.trainable(rank) * network.bytes_each
    return Storage(customers, customers * base, base, customers * adapter)


def perceptron(spec: ModelSpec) -> Network:
    """The lab's own multilayer perceptron."""
    sizes = [spec.num_features, spec.num_hidden_1, spec.num_hidden_2, spec.num_classes]
    layers = (
        Projection(f"layers.{2 * i}", "mlp", sizes[i], sizes[i + 1], bias=True, fields="sizes of the network")
        for i in range(3)
    )
    return Network("-".join(map(str, sizes)), tuple(layers))
