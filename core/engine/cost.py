"""Parameters, steps, time and memory of a run, estimated before it is trained."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn

from core.data.tasks import Task
from core.engine.build import keep_trainable
from core.engine.run_memory import run_memory
from core.methods.lora import add_lora, count_parameters
from core.networks.perceptron import build
from core.spec import Control, LoRASpec, ModelSpec, RunSpec, TaskSpec
from core.training.autograd import AutogradStepper
from core.training.bank.bank import Bank, can_bank
from core.training.loop import steps_per_epoch


@dataclass(frozen=True)
class Plan:
    """Sizes of a run."""

    parameters: int
    """Number of parameters of the whole network, including adapters."""
    trainable_parameters: int


@lru_cache(maxsize=256)
def plan(model: ModelSpec, lora: LoRASpec | None = None, control: Control | None = None) -> Plan:
    """Sizes of a run on this network, counted on the ``meta`` device.

    Raises:
        LoRAError: the adapters do not fit the network.
    """
    plain = build(model)
    network: nn.Module = add_lora(plain, lora) if lora is not None else keep_trainable(plain, control)
    return Plan(count_parameters(network), count_parameters(network, trainable=True))


@lru_cache(maxsize=64)
def seconds_per_step(
    model: ModelSpec, lora: LoRASpec | None, control: Control | None, batch_size: int, device: str
) -> float:
    """Seconds per training step on this machine: mean of the fastest third of a few steps on random data.

    Args:
        model: sizes of the network.
        lora: its adapters, or None.
        control: what to train without adapters; None for all weights.
        batch_size: images per step.
        device: name of a torch device.
    """
    generator = torch.Generator().manual_seed(0)
    plain = build(model, seed=0)
    network = keep_trainable(plain, control) if lora is None else add_lora(plain, lora, generator)
    network.to(device)
    x = torch.rand(batch_size, model.num_features, generator=generator).to(device)
    y = torch.randint(model.num_classes, (batch_size,), generator=generator).to(device)
    parts = dict.fromkeys(("train_x", "validation_x", "test_x"), x) | dict.fromkeys(
        ("train_y", "validation_y", "test_y"), y
    )
    task = Task(TaskSpec.of(), tuple(range(model.num_classes)), (), **parts)
    stepper = Bank([plain], [1e-4], [0], task) if can_bank(network) else AutogradStepper(network, 1e-4, task)
    rows = torch.arange(batch_size, device=device).expand(1, 4, -1)
    times = []
    for _ in range(12):
        start = time.perf_counter()
        stepper.advance(rows).cpu()
        times.append((time.perf_counter() - start) / rows.shape[1])
    return sum(sorted(times)[:4]) / 4


@dataclass(frozen=True)
class Cost:
    """Estimated cost of one run."""

    trainable_parameters: int
    steps: int
    seconds: float
    """Expected training time on this machine."""
    memory: int
    """Bytes that it takes in training alone; see :func:`core.engine.run_memory.run_memory`."""


def cost(spec: RunSpec, examples: int, device: str) -> Cost:
    """Expected cost of a run on ``examples`` training images.

    Raises:
        LoRAError: the adapters do not fit the network.
    """
    sizes = plan(spec.model, spec.lora, spec.control)
    steps = steps_per_epoch(examples, spec.optim.batch_size) * spec.optim.epochs
    seconds = steps * seconds_per_step(spec.model, spec.lora, spec.control, spec.optim.batch_size, device)
    memory = run_memory(spec.model, spec.lora, spec.control, spec.optim.batch_size, examples)
    return Cost(sizes.trainable_parameters, steps, seconds, memory)
