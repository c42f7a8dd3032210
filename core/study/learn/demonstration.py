"""What LoRA promises, computed at a size that one can read: the numbers on the Learn page.

Everything is done by the library's own layers, in float32. Arrays come back with W as the formula
has it, of shape (in, out), so that y = x W; PyTorch keeps the transpose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.methods.lora import (
    LinearWithLoRA,
    LinearWithLoRAMerged,
    count_parameters,
    freeze_linear_layers,
    merge,
    scaling_factor,
    unmerge,
)
from core.networks.perceptron import MultilayerPerceptron, build
from core.spec import SCALINGS, ModelSpec

Array = NDArray[np.float32]


@dataclass(frozen=True)
class TwoSides:
    """x (W + s A B) and x W + s (x A) B, with all that goes into them."""

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
        """Between the two sides; what rounding leaves."""
        return largest_difference(self.left, self.right)

    @property
    def table(self) -> pd.DataFrame:
        """Rows left, right and their difference; a column for each output."""
        return _rows({"Left": self.left[0], "Right": self.right[0], "Difference": self.left[0] - self.right[0]})


def two_sides(seed: int, alpha: float, in_features: int = 4, out_features: int = 3, rank: int = 2) -> TwoSides:
    """Both sides of the distributive law for matrices of tenths from −2 to 2.

    Args:
        seed: fixes every number.
        alpha: strength, above 0.
        in_features: rows of W.
        out_features: columns of W.
        rank: columns of A, rows of B.

    Raises:
        LoRAError: rank or alpha out of range.
    """
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
    """A layer's output with B at some share of its trained size, and what training would do there."""

    base: Array
    """(out,) of the layer without an adapter."""
    adapted: Array
    """(out,) with it."""
    gradient_a: float
    """Largest absolute gradient on A, of half the squared distance to some target."""
    gradient_b: float
    """The same, on B."""

    @property
    def largest_change(self) -> float:
        """The largest change of an output."""
        return largest_difference(self.base, self.adapted)

    @property
    def table(self) -> pd.DataFrame:
        """One row each for the base, the adapted layer and their difference; a column for each output."""
        return _rows({"Base": self.base, "Base and adapter": self.adapted, "Difference": self.adapted - self.base})


def start(seed: int, share: float, in_features: int = 8, out_features: int = 5, rank: int = 2) -> Start:
    """What an adapter does while B grows from zero.

    Args:
        seed: fixes the layer, the adapter and the input.
        share: factor on B; 0 is how every adapter starts.
        in_features: inputs of the layer.
        out_features: its outputs.
        rank: of the adapter, whose alpha is twice that.
    """
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
    """A layer before its adapter was merged, while it was, and after it was taken out again."""

    two_branches: Array
    """(n, out) outputs with the adapter beside the weight."""
    one_product: Array
    """(n, out) outputs with the adapter added to the weight."""
    restored: bool
    """Whether taking it out gave the very same bits as before."""

    @property
    def largest_difference(self) -> float:
        """Between the two; what rounding leaves."""
        return largest_difference(self.two_branches, self.one_product)


def merging(
    seed: int, rank: int, in_features: int = 784, out_features: int = 128, alpha: float = 8.0, inputs: int = 64
) -> Merging:
    """Merge an adapter into a layer and take it out again.

    Args:
        seed: fixes the layer, the adapter and the inputs.
        rank: of the adapter.
        in_features: inputs of the layer.
        out_features: its outputs.
        alpha: strength of the adapter.
        inputs: rows that both ways compute.

    Raises:
        LoRAError: rank or alpha out of range.
    """
    generator = torch.Generator().manual_seed(seed)
    layer = LinearWithLoRA(
        _linear(in_features, out_features, bias=True, generator=generator), rank, alpha, generator=generator
    ).eval()
    with torch.no_grad():
        # As large as A, so that the adapter's part of the output is one to reckon with.
        layer.lora.B.uniform_(-1 / math.sqrt(in_features), 1 / math.sqrt(in_features), generator=generator)
        x = torch.randn(inputs, in_features, generator=generator)
        before = layer.linear.weight.clone()
        apart = layer(x)
        merge(layer)
        together = layer(x)
        unmerge(layer)
        return Merging(_array(apart), _array(together), torch.equal(before, layer.linear.weight))


@dataclass(frozen=True)
class Inventory:
    """An adapted network as Python prints it, and its parameters."""

    tree: str
    """``print(network)``"""
    parameters: pd.DataFrame
    """One row a parameter: ``name``, ``shape``, ``numbers``, ``requires_grad``."""
    trainable: int
    total: int


def inventory(rank: int, alpha: float, spec: ModelSpec | None = None) -> Inventory:
    """The network that :func:`listing` builds.

    Args:
        rank: of the adapters on all three layers.
        alpha: their strength.
        spec: sizes of the network; the lab's own where not given.

    Raises:
        LoRAError: the rank is above what a layer can use, or alpha is out of range.
    """
    network = build(spec or ModelSpec())
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
    """Put an adapter beside each linear layer and freeze the rest, line by line as :func:`listing` does.

    Raises:
        LoRAError: the rank is above what a layer can use, or alpha is out of range.
    """
    generator = torch.Generator()  # a page must not draw from the global one while others train
    for i in (0, 2, 4):
        linear = network.layers[i]
        if isinstance(linear, nn.Linear):
            network.layers[i] = LinearWithLoRA(linear, rank, alpha, generator=generator)
    freeze_linear_layers(network)


def listing(rank: int, alpha: float) -> str:
    """Python lines that adapt the lab's network with this library, and print what came of it."""
    return f"""\
from core import LinearWithLoRA, MultilayerPerceptron, freeze_linear_layers

network = MultilayerPerceptron(784, 128, 256, 10)      # pretrained, in real life

for i in (0, 2, 4):                                    # the linear layers; 1 and 3 are ReLUs
    network.layers[i] = LinearWithLoRA(network.layers[i], rank={rank}, alpha={alpha:g})
freeze_linear_layers(network)                          # W and bias stay; A and B train

trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
total = sum(p.numel() for p in network.parameters())
print(network)
print(f"{{trainable:,}} of {{total:,}} parameters train")
"""


def scalings(alpha: float, ranks: tuple[int, ...]) -> pd.DataFrame:
    """The factor s at each rank: a column ``rank`` and one for each scaling, by its name.

    Raises:
        ZeroDivisionError: a rank is 0.
    """
    return pd.DataFrame(
        [{"rank": rank, **{name: scaling_factor(name, alpha, rank) for name in SCALINGS}} for rank in ranks]
    )


def largest_difference(one: Array, other: Array) -> float:
    """The largest absolute difference of two arrays of one shape."""
    return float(np.abs(one - other).max())


def _linear(in_features: int, out_features: int, bias: bool, generator: torch.Generator | None = None) -> nn.Linear:
    """A linear layer; with a generator drawn like ``nn.Linear``'s own, and never from torch's global one."""
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
