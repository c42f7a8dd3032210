"""Loss and accuracy of a network on held-out data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.data.examples import Examples
from core.data.task import EvaluationPart, Task
from core.networks.forward import forward
from core.networks.modes import evaluating
from core.networks.network import spec_on

BATCH = 8192
"""Examples per forward pass, unless the network's family has another number: enough to keep the device busy, few enough
for any memory."""


@dataclass(frozen=True)
class Evaluation:
    """Loss and accuracy on one part of a task."""

    loss: float
    """Mean cross entropy."""
    accuracy: float
    """Percent, with predictions among all outputs."""
    masked_accuracy: float
    """Percent, with predictions among the task's own classes only.

    After fine-tuning on other classes, plain accuracy mostly shows that the output layer prefers the new classes;
    masked accuracy shows whether the old ones can still be distinguished.
    """
    predicted: Tensor = field(compare=False, repr=False)
    """(n,) int64, on the device: the label of each image, predicted among all outputs."""


def evaluate(network: Callable[..., Tensor], examples: Examples, classes: Sequence[int]) -> Evaluation:
    """Evaluate a network.

    Args:
        network: evaluated in evaluation mode, after which it has its own mode again; or any other function from
            a batch's inputs to (m, outputs); see :func:`core.networks.forward.forward`.
        examples: what to evaluate it on.
        classes: labels that occur in the task.
    """
    return judge(predict(network, examples), examples.labels, classes)


def predict(network: Callable[..., Tensor], examples: Examples) -> Tensor:
    """Logits of examples, (n, outputs), computed :func:`batch_of` examples at a time, in evaluation mode."""
    size, order = batch_of(network), examples.by_length()
    starts = range(0, max(len(examples), 1), size)
    with evaluating(network) if isinstance(network, nn.Module) else nullcontext():
        if order is None:
            return torch.cat([forward(network, examples.batch(slice(start, start + size))) for start in starts])
        sorted_ = torch.cat([forward(network, examples.batch(order[start : start + size])) for start in starts])
    return torch.empty_like(sorted_).index_copy_(0, order, sorted_)


def batch_of(network: object) -> int:
    """Examples per forward pass in the evaluation of a network, or of a function."""
    spec = spec_on(network) if isinstance(network, nn.Module) else None
    return (spec.evaluation_batch if spec else None) or BATCH


@torch.no_grad()
def evaluate_both(
    network: Callable[..., Tensor], task: Task, source: Task | None, part: EvaluationPart
) -> tuple[Evaluation, Evaluation | None]:
    """Evaluate on one part of a task and, if given, of the source task."""
    target = evaluate(network, task.part(part), task.classes)
    return target, evaluate(network, source.part(part), source.classes) if source else None


def judge(outputs: Tensor, y: Tensor, classes: Sequence[int]) -> Evaluation:
    """Evaluate logits of shape (n, outputs) against labels of shape (n,)."""
    n = max(len(y), 1)
    sums, predicted = tally(outputs, y, classes)
    total, hits, masked_hits = sums.tolist()
    return Evaluation(total / n, 100 * hits / n, 100 * masked_hits / n, predicted)


def tally(outputs: Tensor, y: Tensor, classes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Count what :func:`judge` needs.

    Returns:
        Sum of the cross entropies, number of hits, and number of hits among ``classes``, as one tensor on the device;
        and the predicted labels, (n,).
    """
    own = torch.tensor(sorted(classes), device=y.device)
    loss = F.cross_entropy(outputs, y, reduction="sum")
    # MPS has no float64, and it is not needed: a count below 2²⁴ is exact in float32.
    predicted = outputs.argmax(1)
    right = (predicted == y).sum().to(loss.dtype)
    masked_right = (own[outputs[:, own].argmax(1)] == y).sum().to(loss.dtype)
    return torch.stack([loss, right, masked_right]), predicted
