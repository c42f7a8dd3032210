"""Exact counts of what each method trains, stores and keeps in memory, computed from shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.errors import LoRAError
from core.methods.roles import ALL, LayerRole, is_named
from core.methods.targets import names
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
        """Validate the sizes.

        Raises:
            LoRAError: a size or the rank is below 1.
        """
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
class Projection:
    """A linear layer of a network, and the number of layers with that shape."""

    name: str
    """Last part of its module path, as in ``target_modules``."""
    role: LayerRole | None
    """None in a network that is no transformer."""
    in_features: int
    out_features: int
    copies: int = 1
    bias: bool = False
    fields: str = ""
    """Config fields that give its shape, in → out."""

    @property
    def parameters(self) -> int:
        """Number of weights and biases of all copies."""
        return self.copies * (self.in_features + self.bias) * self.out_features

    def lora(self, rank: int) -> int:
        """Return how many numbers LoRA of this rank trains in all copies."""
        return self.copies * LayerCount(self.in_features, self.out_features, rank).lora


@dataclass(frozen=True)
class Network:
    """A network, described by the shapes of its layers."""

    name: str
    projections: tuple[Projection, ...]
    other: int = 0
    """Parameters that are not in a projection: embeddings, norms, an untied output layer."""
    bytes_each: int = FLOAT32
    """Bytes per stored number."""
    checkpoint: str = ""
    """Repository on huggingface.co with its published config."""
    config: Mapping[str, int] = field(default_factory=dict)
    """The fields of ``config.json`` that the shapes come from."""

    @property
    def parameters(self) -> int:
        """Number of parameters of the whole network."""
        return self.other + sum(projection.parameters for projection in self.projections)

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
            matches = {p.name for p in self.projections if target in (ALL, p.role) or is_named(p.name, target)}
            if not matches:
                raise LoRAError(f"No layer of {self.name} matches the target {target!r}.")
            found |= matches
        return sum(p.lora(rank) for p in self.projections if p.name in found)


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
    sizes = [spec.num_features, spec.num_hidden_1, spec.num_hidden_2, spec.num_classes]
    layers = (
        Projection(f"layers.{2 * i}", None, sizes[i], sizes[i + 1], bias=True, fields="sizes of the network")
        for i in range(3)
    )
    return Network("-".join(map(str, sizes)), tuple(layers))
