"""Networks with a known ΔW, and images to judge them by."""

from __future__ import annotations

import copy

import numpy as np
import torch

from core.data.examples import ImageExamples
from core.methods.adapted import adapted_layers
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from core.networks.perceptron import MultilayerPerceptron, PerceptronSpec
from core.study.weights.change import WeightChange
from core.study.weights.scores import Evaluator, Part
from core.study.weights.spectrum import Spectrum

SIZES = PerceptronSpec.of(num_features=20, num_hidden_1=12, num_hidden_2=16, num_classes=5)
PATHS = ("layers.0", "layers.2", "layers.4")


def orthonormal(dimension: int, count: int, seed: int = 0) -> np.ndarray:
    """A matrix of shape (dimension, count) with orthonormal columns."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(dimension, count)))[0]


def lora_change(seed: int = 0, sizes: PerceptronSpec = SIZES, **settings: object) -> WeightChange:
    """A base with adapters that learned something."""
    base = sizes.build(seed)
    tuned = add_lora(copy.deepcopy(base), LoRASpec.of(**settings), torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for layer in adapted_layers(tuned).values():
            layer.lora.B.normal_(generator=torch.Generator().manual_seed(seed + 1))
    return WeightChange(base, tuned)


def full_change(seed: int = 0, sizes: PerceptronSpec = SIZES) -> WeightChange:
    """A base, and the same with all weights and biases moved."""
    base = sizes.build(seed)
    tuned, generator = copy.deepcopy(base), torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in tuned.parameters():
            parameter += torch.randn(parameter.shape, generator=generator) / 5
    return WeightChange(base, tuned)


def planted_change(ranks: dict[str, int], seed: int = 0) -> WeightChange:
    """A base, and the same with a ΔW of an exact rank added in each layer named."""
    base = SIZES.build(seed)
    tuned, rng = copy.deepcopy(base), np.random.default_rng(seed)
    with torch.no_grad():
        for path, rank in ranks.items():
            weight = tuned.get_submodule(path).weight
            delta = rng.normal(size=(weight.shape[0], rank)) @ rng.normal(size=(rank, weight.shape[1]))
            weight += torch.from_numpy(delta).to(torch.float32)
    return WeightChange(base, tuned)


def spectra_of(change: WeightChange) -> dict[str, Spectrum]:
    """The singular values of each layer's ΔW, by its path."""
    return {path: change.spectrum(path) for path in change.layers}


def inputs(rows: int = 9, seed: int = 3) -> torch.Tensor:
    return torch.randn(rows, 20, generator=torch.Generator().manual_seed(seed))


def evaluator_of(network: MultilayerPerceptron | torch.nn.Module, rows: int = 200, source: bool = True) -> Evaluator:
    """Images whose labels are what a network says of them on the target, and random on the source."""
    x = inputs(rows, 5)
    with torch.no_grad():
        target = Part(ImageExamples(x, network(x).argmax(1)), tuple(range(5)))
    other = torch.randint(3, (rows,), generator=torch.Generator().manual_seed(6))
    return Evaluator(target, Part(ImageExamples(inputs(rows, 7), other), (0, 1, 2)) if source else None)
