"""How fast this machine multiplies matrices: which number format is the faster one, and the least time that a
transformer takes, before a step of it was timed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import nn

from core.engine.jobs.build import untrained
from core.methods.method import MethodSpec
from core.networks.network import NetworkSpec
from core.run_spec import Precision
from core.training.frozen import block_list, frozen_blocks

ROWS, WIDTH = 512, 1024
"""The product that is timed: as many tokens, through a layer with as many inputs and outputs."""

SECONDS, ROUNDS = 0.2, 3
"""Time after which no more than these products of each format are computed."""

CLEAR = 1.25
"""Ratio of two speeds from which on the faster format is named."""

FORMATS: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def product_rates(device: torch.device) -> dict[Precision, float]:
    """Operations per second of the fastest of some matrix products in each format, two for a multiplication and an
    addition; timed in turns, which takes a few tenths of a second.
    """
    pairs = {
        name: (torch.ones(ROWS, WIDTH, dtype=kind, device=device), torch.ones(WIDTH, WIDTH, dtype=kind, device=device))
        for name, kind in FORMATS.items()
    }
    best = dict.fromkeys(pairs, float("inf"))
    begun, rounds = time.perf_counter(), 0
    while rounds < ROUNDS or time.perf_counter() - begun < SECONDS:
        for name, (inputs, weight) in pairs.items():
            start = time.perf_counter()
            torch.mm(inputs, weight)[0, 0].item()  # which waits for a GPU
            best[name] = min(best[name], time.perf_counter() - start)
        rounds += 1
    return {name: 2 * ROWS * WIDTH**2 / seconds for name, seconds in best.items()}


def faster_sentence(rates: Mapping[Precision, float], chosen: Precision | None = None) -> str:
    """Which format is faster, as in ``float32 is faster here: products in bfloat16 take 4.1 times as long.``; empty
    where none is clearly so, or the chosen one is.
    """
    fast, slow = sorted(rates, key=rates.__getitem__, reverse=True)
    if rates[fast] < CLEAR * rates[slow] or chosen == fast:
        return ""
    return f"{fast} is faster here: products in {slow} take {rates[fast] / rates[slow]:.2g} times as long."


@lru_cache(maxsize=256)
def least_operations(network: NetworkSpec, method: MethodSpec) -> int:
    """Operations on a token of a training step that cannot be left out: the products with the weights of all blocks but
    the frozen ones, forward, for the gradients of what enters them, and for those of the weights that are trained.

    Attention, output layer and evaluation are left out. Nothing is asked for what enters the lowest of these blocks.
    Source: two operations a weight and direction (Kaplan et al., "Scaling laws for neural language models", 2020).

    Raises:
        LoRAError: the adapters do not fit the network.
    """
    first = frozen_blocks(network, method).count
    blocks = block_list(untrained(network, method))[1][first:]
    weights = [sum(each.numel() for each in _matrices(block)) for block in blocks]
    trained = sum(each.numel() for block in blocks for each in _matrices(block) if each.requires_grad)
    return 2 * (sum(weights) + sum(weights[1:]) + trained)


def _matrices(block: nn.Module) -> list[nn.Parameter]:
    return [each for each in block.parameters() if each.dim() == 2]
