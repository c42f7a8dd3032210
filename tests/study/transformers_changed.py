"""Tiny random transformers with a known change."""

from __future__ import annotations

import copy
from functools import cache

import torch
from torch import nn

from core.data.examples import TextExamples
from core.methods.adapted import adapted_layers
from core.methods.low_rank import LowRankSpec
from core.methods.targets import head_parameters
from core.networks.hugging_face import architecture, build_classifier, head_of
from core.networks.transformer import TransformerSpec
from core.study.weights.change import WeightChange
from core.study.weights.scores import Evaluator, Part
from tests.networks.tiny import tiny_config

CLASSES = 3


@cache
def tiny_spec(kind: str, **changes: object) -> TransformerSpec:
    config = architecture(tiny_config(kind, **changes).to_dict(), 0)
    head = head_of(build_classifier(config, CLASSES, torch.device("meta")), ())
    return TransformerSpec.of(weights="0" * 64, config=config, head=head, num_classes=CLASSES)


def moved(network: nn.Module, parameters: list[nn.Parameter], seed: int = 1) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            parameter += torch.randn(parameter.shape, generator=generator) / 20
    return network


def full_transformer(kind: str) -> WeightChange:
    """A base, and the same with everything moved: layers, biases, embeddings, norms and the head."""
    base = tiny_spec(kind).build(0)
    tuned = copy.deepcopy(base)
    return WeightChange(base, moved(tuned, list(tuned.parameters())))


def adapted_transformer(kind: str, method: LowRankSpec) -> WeightChange:
    """A base, and the same with adapters that learned something and another head."""
    base = tiny_spec(kind).build(0)
    tuned = method.prepare(copy.deepcopy(base), torch.Generator().manual_seed(2))
    layers = adapted_layers(tuned).values()
    return WeightChange(base, moved(tuned, [*(layer.lora.B for layer in layers), *head_parameters(tuned).values()]))


def texts(kind: str, count: int = 40) -> TextExamples:
    return tiny_spec(kind).examples(count, torch.Generator().manual_seed(3))


def text_evaluator(kind: str) -> Evaluator:
    return Evaluator(Part(texts(kind), tuple(range(CLASSES))), None)
