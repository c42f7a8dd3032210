"""The training loop and the metric of the original notebook, for its readers and as a baseline in benchmarks.

The dashboard trains with ``core.training``, which keeps the data in memory.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Batches = Iterable[tuple[Tensor, Tensor]]
"""Batches as a ``DataLoader`` yields them: images of shape (n, 1, 28, 28) or (n, features), labels of shape (n,)."""


def compute_accuracy(model: nn.Module, data_loader: Batches, device: torch.device | str) -> Tensor:
    """Percentage of correct predictions, as a scalar tensor.

    The model is switched to evaluation mode; its mode is restored afterwards.
    """
    was_training = model.training
    model.eval()
    correct, seen = torch.zeros((), device=device), 0
    try:
        with torch.no_grad():
            for images, labels in data_loader:
                logits = model(images.flatten(1).to(device))
                correct += (logits.argmax(1) == labels.to(device)).sum()
                seen += len(labels)
    finally:
        model.train(was_training)
    return correct / max(seen, 1) * 100


def train(
    num_epochs: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train_loader: Batches,
    device: torch.device | str,
) -> list[float]:
    """Train with cross entropy and print one line per epoch. Returns: The mean training loss of each epoch."""
    start = time.perf_counter()
    history = []
    for epoch in range(1, num_epochs + 1):
        model.train()
        total, seen = torch.zeros((), device=device), 0
        for images, labels in train_loader:
            loss = F.cross_entropy(model(images.flatten(1).to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.detach() * len(labels)
            seen += len(labels)
        history.append(float(total) / max(seen, 1))
        minutes = (time.perf_counter() - start) / 60
        print(f"Epoch {epoch}/{num_epochs} | loss {history[-1]:.4f} | {minutes:.2f} min")
    return history
