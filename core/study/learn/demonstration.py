"""Properties of LoRA, demonstrated with matrices small enough to show: the numbers of the Learn page.

Everything is computed by the library's own layers, in float32. W is returned as in the formulas, with shape (in, out)
and y = x W; PyTorch stores the transpose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.methods.adapted import merge, unmerge
from core.methods.layers import SCALINGS, LinearWithLoRA, LinearWithLoRAMerged, scaling_factor
from core.methods.linear import count_parameters, freeze_linear_layers
from core.networks.perceptron import MultilayerPerceptron, PerceptronSpec

Array = NDArray[np.float32]

MERGED_LAYER = (784, 128)
"""Inputs and outputs of the layer that :func:`merging` is about."""

FROM_SCRATCH = Path(__file__).parents[3] / "examples" / "from_scratch.py"
"""The whole journey in one file that needs torch alone."""

ADD_LORA = """\
from core import LoRASpec, add_lora

add_lora(network, LoRASpec(rank=4))
"""
"""A program that adds adapters to any ``network``."""


@dataclass(frozen=True)
class TwoSides:
    """Both sides of x (W + s A B) = x W + s (x A) B, with all matrices."""

    x: Array
    """(1, in)"""
    W: Array
    """(in, out)"""
    A: Array
    """(in, r)"""
    B: Array
    """(r, out)"""
    scaling: float
    """s = alpha / r"""
    sum: Array
    """W + s A B, (in, out)"""
    base: Array
    """x W, (1, out)"""
    update: Array
    """s (x A) B, (1, out)"""
    left: Array
    """x (W + s A B), by :class:`LinearWithLoRAMerged`, (1, out)"""
    right: Array
    """x W + s (x A) B, by :class:`LinearWithLoRA`, (1, out)"""

    @property
    def largest_difference(self) -> float:
        """Largest difference between both sides, caused by rounding."""
        return largest_difference(self.left, self.right)

    @property
    def table(self) -> pd.DataFrame:
        """Rows ``Left``, ``Right`` and ``Difference``, with one column per output."""
        return _rows({"Left": self.left[0], "Right": self.right[0], "Difference": self.left[0] - self.right[0]})


def two_sides(seed: int, alpha: float, rank: int = 2) -> TwoSides:
    """Compute both sides of the distributive law for a layer of 4 × 3, with random multiples of 0.1 from −2 to 2.

    Args:
        seed: of the random numbers.
        alpha: strength, above 0.
        rank: columns of A, rows of B.

    Raises:
        LoRAError: rank or alpha out of range.
    """
    in_features, out_features = 4, 3
    generator = torch.Generator().manual_seed(seed)
    linear = _linear(in_features, out_features, bias=False)
    right = LinearWithLoRA(linear, rank, alpha, generator=generator)
    with torch.no_grad():
        x = _tenths(1, in_features, generator=generator)
        linear.weight.copy_(_tenths(in_features, out_features, generator=generator).T)
        right.lora.A.copy_(_tenths(in_features, rank, generator=generator))
        right.lora.B.copy_(_tenths(rank, out_features, generator=generator))
        left = LinearWithLoRAMerged(linear, rank, alpha, generator=generator)
        left.lora = right.lora
        return TwoSides(
            x=_array(x),
            W=_array(linear.weight.T),
            A=_array(right.lora.A),
            B=_array(right.lora.B),
            scaling=right.lora.scaling,
            sum=_array(left.summed_weight().T),
            base=_array(linear(x)),
            update=_array(right.lora(x)),
            left=_array(left(x)),
            right=_array(right(x)),
        )


@dataclass(frozen=True)
class Start:
    """Output and gradients of a layer with B scaled by some factor."""

    base: Array
    """(out,) output without the adapter."""
    adapted: Array
    """(out,) output with the adapter."""
    gradient_a: float
    """Largest absolute gradient of A, for half the squared distance to a random target."""
    gradient_b: float
    """Largest absolute gradient of B, for the same loss."""

    @property
    def largest_change(self) -> float:
        """Largest change of an output by the adapter."""
        return largest_difference(self.base, self.adapted)

    @property
    def table(self) -> pd.DataFrame:
        """Rows for the base, the adapted layer and their difference, with one column per output."""
        return _rows({"Base": self.base, "Base and adapter": self.adapted, "Difference": self.adapted - self.base})


def start(seed: int, share: float) -> Start:
    """Compute the effect of an adapter of rank 2 and alpha 4 in a layer of 8 × 5, for a given size of B.

    Args:
        seed: of the layer, the adapter and the input.
        share: factor on B; every adapter starts with 0.
    """
    in_features, out_features, rank = 8, 5, 2
    generator = torch.Generator().manual_seed(seed)
    linear = _linear(in_features, out_features, bias=True, generator=generator)
    layer = LinearWithLoRA(linear, rank, alpha=2.0 * rank, generator=generator)
    freeze_linear_layers(layer)
    x = torch.randn(1, in_features, generator=generator)
    with torch.no_grad():
        trained = torch.randn(rank, out_features, generator=generator)
        layer.lora.B.copy_(share * trained)
    target = torch.randn(1, out_features, generator=generator)
    output = layer(x)
    ((output - target) ** 2).sum().div(2).backward()
    gradients = [parameter.grad for parameter in (layer.lora.A, layer.lora.B)]
    largest = [0.0 if gradient is None else gradient.abs().max().item() for gradient in gradients]
    return Start(_array(linear(x))[0], _array(output)[0], largest[0], largest[1])


@dataclass(frozen=True)
class Merging:
    """A layer before, during and after the merging of its adapter."""

    two_branches: Array
    """(n, out) outputs with the adapter as a separate branch."""
    one_product: Array
    """(n, out) outputs with the adapter merged into the weight."""
    restored: bool
    """Whether unmerging restored the weight bit for bit."""

    @property
    def largest_difference(self) -> float:
        """Largest difference between both outputs, caused by rounding."""
        return largest_difference(self.two_branches, self.one_product)


def merging(seed: int, rank: int) -> Merging:
    """Merge an adapter of alpha 8 into the first layer of the default network, and unmerge it again; 64 random inputs.

    Args:
        seed: of the layer, the adapter and the inputs.
        rank: of the adapter.

    Raises:
        LoRAError: rank out of range.
    """
    in_features, out_features = MERGED_LAYER
    generator = torch.Generator().manual_seed(seed)
    layer = LinearWithLoRA(
        _linear(in_features, out_features, bias=True, generator=generator), rank, alpha=8.0, generator=generator
    ).eval()
    with torch.no_grad():
        # As large as A, so that the adapter has a noticeable effect.
        layer.lora.B.uniform_(-1 / math.sqrt(in_features), 1 / math.sqrt(in_features), generator=generator)
        x = torch.randn(64, in_features, generator=generator)
        before = layer.linear.weight.clone()
        apart = layer(x)
        merge(layer)
        together = layer(x)
        unmerge(layer)
        return Merging(_array(apart), _array(together), torch.equal(before, layer.linear.weight))


@dataclass(frozen=True)
class Inventory:
    """The printed form of an adapted network, and its parameters."""

    tree: str
    """``print(network)``"""
    parameters: pd.DataFrame
    """One row per parameter: ``name``, ``shape``, ``numbers``, ``requires_grad``."""
    trainable: int
    total: int


def inventory(rank: int, alpha: float) -> Inventory:
    """Describe the network that :func:`listing` builds.

    Args:
        rank: of the adapters on all three layers.
        alpha: strength of the adapters.

    Raises:
        LoRAError: the rank exceeds the maximum of a layer, or alpha is out of range.
    """
    network = PerceptronSpec().build()
    put_adapters(network, rank, alpha)
    rows = [
        {
            "name": name,
            "shape": " × ".join(f"{size:,}" for size in parameter.shape),
            "numbers": parameter.numel(),
            "requires_grad": parameter.requires_grad,
        }
        for name, parameter in network.named_parameters()
    ]
    return Inventory(str(network), pd.DataFrame(rows), count_parameters(network, True), count_parameters(network))


def put_adapters(network: MultilayerPerceptron, rank: int, alpha: float) -> None:
    """Add an adapter to each linear layer and freeze the rest, as in :func:`listing`.

    Raises:
        LoRAError: the rank exceeds the maximum of a layer, or alpha is out of range.
    """
    generator = torch.Generator()  # pages must not use the global generator while runs train
    for i in (0, 2, 4):
        linear = network.layers[i]
        if isinstance(linear, nn.Linear):
            network.layers[i] = LinearWithLoRA(linear, rank, alpha, generator=generator)
    freeze_linear_layers(network)


def listing(rank: int, alpha: float) -> str:
    """Return a Python program that adds adapters to the default network and prints the result."""
    return f"""\
from core import LinearWithLoRA, MultilayerPerceptron, freeze_linear_layers

network = MultilayerPerceptron(784, 128, 256, 10)      # in practice, a pretrained one

for i in (0, 2, 4):                                    # the linear layers; 1 and 3 are ReLUs
    network.layers[i] = LinearWithLoRA(network.layers[i], rank={rank}, alpha={alpha:g})
freeze_linear_layers(network)                          # W and bias are frozen; A and B train

trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
total = sum(p.numel() for p in network.parameters())
print(network)
print(f"{{trainable:,}} of {{total:,}} parameters train")
"""


def from_scratch() -> str:
    """Return the text of :data:`FROM_SCRATCH`."""
    return FROM_SCRATCH.read_text(encoding="utf-8")


def scalings(alpha: float, ranks: tuple[int, ...]) -> pd.DataFrame:
    """Return the factor s for each rank, with a column ``rank`` and one column per scaling.

    Raises:
        ZeroDivisionError: a rank is 0.
    """
    return pd.DataFrame(
        [{"rank": rank, **{name: scaling_factor(name, alpha, rank) for name in SCALINGS}} for rank in ranks]
    )


def largest_difference(one: Array, other: Array) -> float:
    """Return the largest absolute difference of two arrays of the same shape."""
    return float(np.abs(one - other).max())


def _linear(in_features: int, out_features: int, bias: bool, generator: torch.Generator | None = None) -> nn.Linear:
    """Create a linear layer without torch's global generator; it is initialized only if a generator is given."""
    with torch.device("meta"):
        linear = nn.Linear(in_features, out_features, bias)
    linear.to_empty(device="cpu")
    if generator is not None:
        bound = 1 / math.sqrt(in_features)
        with torch.no_grad():
            for parameter in linear.parameters():
                parameter.uniform_(-bound, bound, generator=generator)
    return linear


def _tenths(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randint(-20, 21, shape, generator=generator) / 10


def _rows(outputs: dict[str, Array]) -> pd.DataFrame:
    columns = [f"y{i}" for i in range(1, len(next(iter(outputs.values()))) + 1)]
    return pd.DataFrame.from_dict(outputs, orient="index", columns=columns)


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.detach().numpy().copy()
    return array
