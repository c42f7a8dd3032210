"""Loss and accuracy of a network on data it does not learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

BATCH = 8192
"""Images a pass: large enough to keep the device busy, small enough for any memory."""


@dataclass(frozen=True)
class Evaluation:
    """How a network did on one part of a task."""

    loss: float
    """Mean cross entropy."""
    accuracy: float
    """Percent, choosing among all outputs."""
    masked_accuracy: float
    """Percent, choosing only among the task's own classes.

    After a class split the plain figure mostly shows that the output layer prefers the new
    classes; this one shows whether the old ones can still be told apart.
    """


def evaluate(logits: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, classes: Sequence[int]) -> Evaluation:
    """Evaluate on x of shape (n, features) and y of shape (n,).

    Args:
        logits: the network, as a function of (m, features) to (m, outputs).
        x: inputs.
        y: labels.
        classes: labels that occur in the task.
    """
    # float64 would be wrong on MPS and is not needed: a count below 2²⁴ is exact in float32.
    loss, right, masked_right = (torch.zeros((), device=x.device) for _ in range(3))
    own = torch.tensor(sorted(classes), device=x.device)
    for start in range(0, len(x), BATCH):
        labels = y[start : start + BATCH]
        outputs = logits(x[start : start + BATCH])
        loss += F.cross_entropy(outputs, labels, reduction="sum")
        right += (outputs.argmax(1) == labels).sum()
        masked_right += (own[outputs[:, own].argmax(1)] == labels).sum()
    n = max(len(x), 1)
    total, hits, masked_hits = torch.stack([loss, right, masked_right]).tolist()
    return Evaluation(total / n, 100 * hits / n, 100 * masked_hits / n)
