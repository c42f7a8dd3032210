"""Loss and accuracy of a network on data it does not learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from core.data.tasks import EvaluationPart, Task

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
    return judge(predict(logits, x), y, classes)


def predict(logits: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Outputs on x of shape (n, features), computed in passes of :data:`BATCH` images."""
    return torch.cat([logits(x[start : start + BATCH]) for start in range(0, max(len(x), 1), BATCH)])


@torch.no_grad()
def evaluate_both(
    logits: Callable[[Tensor], Tensor], task: Task, source: Task | None, part: EvaluationPart
) -> tuple[Evaluation, Evaluation | None]:
    """Evaluate on one part of a task and, where there is one, of the source task."""
    target = evaluate(logits, *task.part(part), task.classes)
    return target, evaluate(logits, *source.part(part), source.classes) if source else None


def judge(outputs: Tensor, y: Tensor, classes: Sequence[int]) -> Evaluation:
    """Evaluate by logits of shape (n, outputs) and labels of shape (n,)."""
    n = max(len(y), 1)
    total, hits, masked_hits = tally(outputs, y, classes).tolist()
    return Evaluation(total / n, 100 * hits / n, 100 * masked_hits / n)


def tally(outputs: Tensor, y: Tensor, classes: Sequence[int]) -> Tensor:
    """Sum of the cross entropies, right answers, and right answers among ``classes``, as one tensor on the device."""
    own = torch.tensor(sorted(classes), device=y.device)
    loss = F.cross_entropy(outputs, y, reduction="sum")
    # float64 would be wrong on MPS and is not needed: a count below 2²⁴ is exact in float32.
    right = (outputs.argmax(1) == y).sum().to(loss.dtype)
    masked_right = (own[outputs[:, own].argmax(1)] == y).sum().to(loss.dtype)
    return torch.stack([loss, right, masked_right])
