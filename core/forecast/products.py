"""How fast this machine multiplies matrices: which number format is the faster one, and the least time that a
transformer takes, before a step of it was timed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn

from core.data.dataset import LANGUAGE
from core.engine.jobs.job import untrained
from core.errors import DeviceError
from core.methods.method import MethodSpec
from core.networks.network import NetworkSpec
from core.run_spec import Precision, RunSpec
from core.settings import choose_device
from core.training.frozen import block_list, frozen_blocks
from core.training.threads import available_cores, one_thread

ROWS, WIDTH = 512, 1024
"""The product that is timed: as many tokens, through a layer with as many inputs and outputs."""

SECONDS, ROUNDS = 0.2, 3
"""Time after which no more than these products of each format are computed."""

SLACK = 2.0
"""How many times as fast as the timed product others may be: those of other shapes were 1.3 times as fast."""

CLEAR = 1.25
"""Ratio of two speeds from which on the faster format is named."""

FORMATS: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@lru_cache(maxsize=8)
def product_rates(device: torch.device) -> dict[Precision, float]:
    """Operations per second of the fastest of some matrix products in each format, two for a multiplication and an
    addition; timed once, in turns, which takes a few tenths of a second.

    On a processor it is the time that one core works, so that it tells the same while other programs use the cores.
    """
    on_cpu = device.type == "cpu"
    clock, cores = (time.thread_time, available_cores()) if on_cpu else (time.perf_counter, 1)
    pairs = {
        name: (torch.ones(ROWS, WIDTH, dtype=kind, device=device), torch.ones(WIDTH, WIDTH, dtype=kind, device=device))
        for name, kind in FORMATS.items()
    }
    best = dict.fromkeys(pairs, float("inf"))
    begun, rounds = clock(), 0
    with one_thread():
        while rounds < ROUNDS or clock() - begun < SECONDS:
            for name, (inputs, weight) in pairs.items():
                start = clock()
                torch.mm(inputs, weight)[0, 0].item()  # which waits for a GPU
                best[name] = min(best[name], clock() - start)
            rounds += 1
    return {name: cores * 2 * ROWS * WIDTH**2 / seconds for name, seconds in best.items()}


def faster_precision(spec: RunSpec) -> str:
    """Which format is faster for a transformer than the chosen one, as in ``float32 is faster here: products in
    bfloat16 take 4.1 times as long, whole steps less.``; empty where none clearly is, or the device is not here.
    """
    if not spec.network.reads_tokens:
        return ""
    try:
        rates = product_rates(choose_device(spec.device))
    except DeviceError:
        return ""
    fast, slow = sorted(rates, key=rates.__getitem__, reverse=True)
    if rates[fast] < CLEAR * rates[slow] or spec.optim.precision == fast:
        return ""
    times = f"{rates[fast] / rates[slow]:.2g}"
    return f"{fast} is faster here: products in {slow} take {times} times as long, whole steps less."


def least_seconds(spec: RunSpec, stepped: float, evaluated: float = 0.0, once: float = 0.0) -> float:
    """A lower bound on the time that a transformer is trained and evaluated for, on all cores of its device.

    Args:
        spec: the run, whose precision counts.
        stepped: tokens of all its steps, with padding.
        evaluated: tokens of all its evaluations.
        once: tokens that frozen blocks read besides, which they do once for texts that come again.

    Raises:
        LoRAError: the adapters do not fit the network.
        DeviceError: this machine lacks the device.
    """
    rates = product_rates(choose_device(spec.device))
    least = _least_operations(spec.trained_network, spec.method)
    stepping = stepped * least.step / rates[spec.optim.precision]
    return (stepping + (evaluated * least.forward + once * least.frozen) / rates["float32"]) / SLACK


@dataclass(frozen=True)
class _Operations:
    """Operations on a token that cannot be left out: the products with the weights of blocks.

    Attention and output layer are left out, and of a classifier the last block; see :mod:`core.training.fast_network`.
    Source: two operations a weight and direction (Kaplan et al., "Scaling laws for neural language models", 2020).
    """

    step: int
    """Of a training step: forward, for the gradients of what enters all blocks that are not frozen but the lowest, and
    for those of the weights that are trained."""
    forward: int
    """Of an evaluation, in the blocks that are not frozen."""
    frozen: int
    """Of the frozen ones."""


@lru_cache(maxsize=256)
def _least_operations(network: NetworkSpec, method: MethodSpec) -> _Operations:
    """Raises: LoRAError: the adapters do not fit the network."""
    first = frozen_blocks(network, method).count
    blocks = block_list(untrained(network, method))[1]
    blocks = blocks if network.learns == LANGUAGE else blocks[:-1]
    weights = [sum(each.numel() for each in _matrices(block)) for block in blocks]
    trained = sum(each.numel() for block in blocks[first:] for each in _matrices(block) if each.requires_grad)
    step = 2 * (sum(weights[first:]) + sum(weights[first + 1 :]) + trained)
    return _Operations(step, 2 * sum(weights[first:]), 2 * sum(weights[:first]))


def _matrices(block: nn.Module) -> list[nn.Parameter]:
    return [each for each in block.parameters() if each.dim() == 2]
