"""LoRA from scratch: pretrain a small network, fine-tune it fully and with LoRA, merge the adapters, compare.

Needs torch and nothing else:  python examples/from_scratch.py          (about ten seconds; --quick for one)

The dashboard does the same with more care: many seeds, tuned learning rates, validation, and intervals. Tests hold the
layers of this file equal to those of the library, so what you read here is what LoRA Lab trains.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import math
import struct
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# --- 1. Data -------------------------------------------------------------------------------------------------------
# 12,000 digits to train on and 4,000 to test with. They are a part of MNIST, see mnist-16k.LICENSE in the same folder.

FOLDER = Path(__file__).resolve().parents[1] / "core" / "data" / "sources"


def read_idx(name: str) -> Tensor:
    """Read an IDX file: two zero bytes, a type, the number of dimensions, each dimension, then all values."""
    content = gzip.decompress((FOLDER / f"mnist-16k-{name}-ubyte.gz").read_bytes())
    dimensions = content[3]
    shape = struct.unpack_from(f">{dimensions}I", content, offset=4)
    return torch.frombuffer(bytearray(content[4 + 4 * dimensions :]), dtype=torch.uint8).reshape(shape)


def load(part: str) -> tuple[Tensor, Tensor]:
    """Return images of shape (n, 28, 28) with values from 0 to 1, and labels of shape (n,)."""
    return read_idx(f"{part}-images-idx3").float() / 255, read_idx(f"{part}-labels-idx1").long()


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Rotate images counter-clockwise: the shifted task, on which a network that knows upright digits does badly."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # For each pixel of the result, the place in the original from which it takes its value.
    grid = F.affine_grid(torch.tensor([[[cos, -sin, 0.0], [sin, cos, 0.0]]]), [1, 1, 28, 28], align_corners=False)
    turned = F.grid_sample(images.unsqueeze(1), grid.expand(len(images), -1, -1, -1), align_corners=False)
    return turned.squeeze(1)


# --- 2. A network, and how to train one ----------------------------------------------------------------------------


class MultilayerPerceptron(nn.Module):
    """Three linear layers with ReLUs in between: 28×28 pixels in, one number (logit) per class out."""

    def __init__(self, num_features: int, num_hidden_1: int, num_hidden_2: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(num_features, num_hidden_1),
            nn.ReLU(),
            nn.Linear(num_hidden_1, num_hidden_2),
            nn.ReLU(),
            nn.Linear(num_hidden_2, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def train(model: nn.Module, images: Tensor, labels: Tensor, epochs: int, learning_rate: float) -> float:
    """Train in batches of 64, in a new random order each epoch; return the seconds that it took."""
    begun = time.perf_counter()
    # Adam gets only what is not frozen: for LoRA a few thousand numbers, and as little state to keep for them.
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=learning_rate)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(64):
            loss = F.cross_entropy(model(images[rows].flatten(1)), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return time.perf_counter() - begun


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images whose largest logit is that of their class, in percent."""
    return 100 * (model(images.flatten(1)).argmax(1) == labels).float().mean().item()


# --- 3. LoRA -------------------------------------------------------------------------------------------------------
# Full fine-tuning changes a weight W by any ΔW. LoRA allows only ΔW = s·(A B)ᵀ, where A is narrow and B is low: with
# rank 4, A and B of the first layer (784 inputs, 128 outputs) have 3,648 numbers together, and W has 100,352.


class LoRALayer(nn.Module):
    """The change that is trained: maps x to s · (x A) B."""

    def __init__(self, in_dim: int, out_dim: int, rank: int, alpha: float) -> None:
        super().__init__()
        # A is random and B is zero. So A B is zero, and training starts exactly at the base; and B gets a gradient at
        # the first step because A is not zero. With both at zero neither would ever move.
        bound = 1 / math.sqrt(in_dim)
        self.A = nn.Parameter(torch.empty(in_dim, rank).uniform_(-bound, bound))
        self.B = nn.Parameter(torch.zeros(rank, out_dim))
        # Divided by the rank, so that a higher rank does not by itself mean a larger change.
        self.scaling = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        return self.scaling * (x @ self.A @ self.B)

    def delta(self) -> Tensor:
        """Return ΔW in the shape of the weight, (out_dim, in_dim), which is how PyTorch stores it."""
        return self.scaling * (self.A @ self.B).T


class LinearWithLoRA(nn.Module):
    """A linear layer and its adapter, side by side: x Wᵀ + b + s · (x A) B."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.linear = linear
        # A layer with 10 outputs has a weight of rank 10 at most, and gains nothing from more.
        fitting = min(rank, linear.in_features, linear.out_features)
        self.lora = LoRALayer(linear.in_features, linear.out_features, fitting, alpha * fitting / rank)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.lora(x)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return one plain layer that computes the same, since x Wᵀ + x ΔWᵀ = x (W + ΔW)ᵀ."""
        plain = copy.deepcopy(self.linear)
        plain.weight.copy_(self.linear.weight + self.lora.delta())
        return plain


def freeze_linear_layers(model: nn.Module) -> None:
    """Freeze every weight and bias; A and B belong to no linear layer and stay trainable."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.requires_grad_(False)


def add_lora(base: MultilayerPerceptron, rank: int, alpha: float) -> MultilayerPerceptron:
    """Return a copy of a network with an adapter beside each of its linear layers, and all else frozen."""
    adapted = copy.deepcopy(base)
    for i, layer in enumerate(adapted.layers):
        if isinstance(layer, nn.Linear):
            adapted.layers[i] = LinearWithLoRA(layer, rank, alpha)
    freeze_linear_layers(adapted)
    return adapted


def merge(adapted: MultilayerPerceptron) -> MultilayerPerceptron:
    """Return the network with all adapters added into the weights: no larger or slower than the base was."""
    plain = copy.deepcopy(adapted)
    for i, layer in enumerate(plain.layers):
        if isinstance(layer, LinearWithLoRA):
            plain.layers[i] = layer.merged()
    return plain


# --- 4. The journey ------------------------------------------------------------------------------------------------


def main(quick: bool) -> None:
    """Pretrain on upright digits, fine-tune on rotated ones in both ways, and print what came of it."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # matrices this small are multiplied faster by one thread than by several
    epochs, kept = (1, 1_000) if quick else (10, 12_000)
    (upright, labels), (test, answers) = load("train"), load("test")
    upright, labels = upright[:kept], labels[:kept]
    rotated, rotated_test = rotate(upright, 45), rotate(test, 45)

    base = MultilayerPerceptron(784, 128, 256, 10)
    train(base, upright, labels, epochs, learning_rate=0.001)
    full, adapted = copy.deepcopy(base), add_lora(base, rank=4, alpha=8)
    # LoRA wants a higher learning rate: with the rate of full fine-tuning it would only look worse than it is.
    seconds = {"Full fine-tuning": train(full, rotated, labels, epochs, learning_rate=0.001)}
    seconds["LoRA, rank 4"] = train(adapted, rotated, labels, epochs, learning_rate=0.005)
    merged = merge(adapted)

    print(f"{'':18}{'rotated':>9}{'upright':>9}{'trained':>10}{'seconds':>9}")
    models = {"Base": base, "Full fine-tuning": full, "LoRA, rank 4": adapted, "LoRA, merged": merged}
    for name, model in models.items():
        scores = "".join(f"{accuracy(model, images, answers):7.1f} %" for images in (rotated_test, test))
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad) if name in seconds else 0
        print(f"{name:18}{scores}{trained:10,}{seconds.get(name, 0):9.1f}")
    with torch.no_grad():
        apart, together = adapted(rotated_test.flatten(1)), merged(rotated_test.flatten(1))
    print(f"\nMerging moved logits by {(apart - together).abs().max():.0e} at most, which is rounding.")
    print("One seed and one learning rate each: whether a difference is more than chance, LoRA Lab can tell.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one epoch of 1,000 images: only to see that it runs")
    main(parser.parse_args().quick)
