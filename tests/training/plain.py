"""Training as one would write it with torch and transformers: what the steps of the engine are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from transformers import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

from core.run_spec import OptimSpec
from core.training.loop import data_order

SCHEDULES = {
    "constant": lambda adam, warmup, total: get_constant_schedule_with_warmup(adam, warmup),
    "linear": get_linear_schedule_with_warmup,
    "cosine": get_cosine_schedule_with_warmup,
}


def rounded_up(warmup: float, total: int) -> int:
    """Number of steps in a share of all."""
    return -(-round(warmup * total * 1000) // 1000)


def batches_of(optim: OptimSpec, count: int, seed: int = 0) -> Iterator[Tensor]:
    """The batches of a whole training, the last of each epoch smaller. Args: count: number of examples."""
    for epoch in range(1, optim.epochs + 1):
        yield from data_order(count, seed, epoch).split(optim.batch_size)


def plainly(
    model: nn.Module, optim: OptimSpec, loss_of: Callable[[Tensor], Tensor], batches: Iterable[Tensor], total: int = 0
) -> list[float]:
    """Train what of a model can be trained, and return its losses.

    Args:
        model: trained.
        optim: the settings.
        loss_of: the loss of the model on a batch.
        batches: rows of each step.
        total: number of steps that the rates are planned for.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": optim.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW([group for group in groups if group["params"]], lr=optim.learning_rate)
    schedule = SCHEDULES[optim.decay](adam, rounded_up(optim.warmup, total), total)
    losses = []
    for batch in batches:
        loss = loss_of(batch)
        adam.zero_grad()
        loss.backward()
        if optim.clip:
            nn.utils.clip_grad_norm_(trained, optim.clip)
        adam.step()
        schedule.step()
        losses.append(loss.item())
    return losses
