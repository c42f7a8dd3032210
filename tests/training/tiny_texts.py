"""Tiny transformers of seven architectures and texts for them, ready to be trained."""

from __future__ import annotations

import copy
import json
from functools import cache

import torch
from torch import Tensor, nn

from core.data.examples import Task, TextExamples
from core.data.task_spec import TaskSpec
from core.methods.linear import is_linear
from core.networks.hugging_face import architecture
from core.networks.transformer import TransformerSpec
from core.training.frozen import block_list
from tests.networks.tiny import SIZES, VOCABULARY, tiny_config

ARCHITECTURES = tuple(SIZES)
CLASSES = 3


@cache
def spec_of(kind: str, layers: int = 3, dropout: float | None = None, **changes: object) -> TransformerSpec:
    """A transformer of an architecture.

    Args:
        kind: the architecture.
        layers: number of blocks.
        dropout: probability everywhere; None for the architecture's own.
        changes: other fields of its config.
    """
    config = tiny_config(kind, **{"n_layer" if kind == "gpt2" else "num_hidden_layers": layers, **changes})
    values = config.to_dict()
    if dropout is not None:
        values |= {name: dropout for name in values if name.endswith(("dropout", "dropout_prob", "pdrop"))}
    head = ("score",) if kind in ("gpt2", "llama", "qwen2") else ("classifier",)
    if kind == "modernbert":
        head = ("head", "classifier")
    return TransformerSpec.of(
        weights="0" * 64, config=architecture(json.loads(json.dumps(values)), 0), num_classes=CLASSES, head=head
    )


def network_of(spec: TransformerSpec, seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A network with random weights; larger ones than usual, so that what it gives differs from text to text."""
    return copy.deepcopy(_drawn(spec, seed, dtype))


@cache
def _drawn(spec: TransformerSpec, seed: int, dtype: torch.dtype) -> nn.Module:
    """The network, built once per process: copies take less time."""
    network = spec.build(seed).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.2, generator=generator)
    return network


def texts(count: int = 40, seed: int = 0) -> TextExamples:
    """Random texts of 1 to 12 tokens."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 13, (count,), generator=generator)
    own = [torch.randint(1, VOCABULARY, (int(length),), generator=generator).tolist() for length in lengths]
    return TextExamples.of(own, torch.randint(CLASSES, (count,), generator=generator), 0)


def task_of(count: int = 40) -> Task:
    """A task of random texts."""
    parts = [texts(count, 0), texts(count // 2, 1), texts(count // 2, 2)]
    return Task(TaskSpec.of(), tuple(range(CLASSES)), (), *parts)


def layers_of(network: nn.Module, block: int) -> tuple[str, ...]:
    """Paths of the linear layers of one block."""
    path, blocks = block_list(network)
    block %= len(blocks)
    return tuple(f"{path}.{block}.{name}" for name, module in blocks[block].named_modules() if is_linear(module))


def batches(task: Task, steps: int, size: int = 8) -> Tensor:
    """Rows of random batches, (1, steps, size)."""
    return torch.randint(task.num_train, (1, steps, size), generator=torch.Generator().manual_seed(3))
