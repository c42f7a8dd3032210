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
from core.training.side_by_side import side_by_side

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


def evaluate(
    network: Callable[..., Tensor], examples: Examples, classes: Sequence[int], look: Callable[[], None] = lambda: None
) -> Evaluation:
    """Evaluate a network.

    Args:
        network: evaluated in evaluation mode, after which it has its own mode again; or any other function from
            a batch's inputs to (m, outputs); see :func:`core.networks.forward.forward`.
        examples: what to evaluate it on.
        classes: labels that occur in the task.
        look: called before each batch; an exception from it ends the evaluation.
    """
    return judge(predict(network, examples, look), examples.labels, classes)


def predict(
    network: Callable[..., Tensor],
    examples: Examples,
    look: Callable[[], None] = lambda: None,
    size: int | None = None,
) -> Tensor:
    """Logits of examples, (n, outputs), in evaluation mode.

    Batches of a family that takes few at a time are computed on as many threads at once as torch uses here.

    Args:
        network: see :func:`evaluate`.
        examples: what to compute them for.
        look: called before each batch; an exception from it ends the work.
        size: examples at a time; None for :func:`batch_of`.
    """
    size, order = batch_of(network) if size is None else size, examples.by_length()
    slices = [slice(start, start + size) for start in range(0, max(len(examples), 1), size)]
    threads = torch.get_num_threads() if examples.labels.device.type == "cpu" and size < BATCH else 1

    def outputs(part: slice) -> Tensor:
        with torch.no_grad():  # every thread has its own switch
            return forward(network, examples.batch(part if order is None else order[part]))

    with evaluating(network) if isinstance(network, nn.Module) else nullcontext():
        found = torch.cat(side_by_side(outputs, slices, threads, look))
    return found if order is None else torch.empty_like(found).index_copy_(0, order, found)


def batch_of(network: object) -> int:
    """Examples per forward pass in the evaluation of a network, or of a function."""
    spec = spec_on(network) if isinstance(network, nn.Module) else None
    return (spec.evaluation_batch if spec else None) or BATCH


def evaluate_both(
    network: Callable[..., Tensor],
    task: Task,
    source: Task | None,
    part: EvaluationPart,
    look: Callable[[], None] = lambda: None,
) -> tuple[Evaluation, Evaluation | None]:
    """Evaluate on one part of a task and, if given, of the source task; ``look`` is called before each batch."""
    target = evaluate(network, task.part(part), task.classes, look)
    return target, evaluate(network, source.part(part), source.classes, look) if source else None


def judge(outputs: Tensor, y: Tensor, classes: Sequence[int]) -> Evaluation:
    """Evaluate logits of shape (n, outputs) against labels of shape (n,)."""
    n = max(len(y), 1)
    sums, predicted = tally(outputs, y, classes)
    total, hits, masked_hits = sums.tolist()
    return Evaluation(total / n, 100 * hits / n, 100 * masked_hits / n, predicted)


def macro_f1(predicted: Tensor, labels: Tensor) -> float:
    """The mean of the F1 scores of all classes, in percent: every class counts alike, however few examples it has.

    F1 of a class is 2·TP / (2·TP + FP + FN), the harmonic mean of precision and recall (van Rijsbergen, "Information
    Retrieval", 1979). Of the two means that are called macro-F1 this is the one over F1 scores, which Opitz and Burst
    recommend ("Macro F1 and Macro F1", arXiv 1911.03347, 2019). A class without examples has no recall and is left out;
    what is predicted as such a class is missing in its own.

    Args:
        predicted: (n,) int64, predicted labels, also such as have no examples.
        labels: (n,) int64, true labels, on the same device.

    Returns:
        0 to 100; 0 without examples.
    """
    if not len(labels):
        return 0.0
    size = int(torch.maximum(predicted.max(), labels.max())) + 1
    examples = torch.bincount(labels, minlength=size)
    answers = torch.bincount(predicted, minlength=size)
    right = torch.bincount(labels[predicted == labels], minlength=size)
    there = examples > 0
    # 2·TP + FP + FN counts the examples and the predictions of a class, so it is above 0 where there are examples.
    scores = 2 * right[there].float() / (examples + answers)[there].float()
    return 100 * float(scores.mean())


def largest_share(labels: Tensor) -> float:
    """Percent of examples that are of the most frequent class, from labels of shape (n,); 0 without examples.

    It is the accuracy of always naming that class, so an accuracy near it says little.
    """
    return 100 * int(torch.bincount(labels).max()) / len(labels) if len(labels) else 0.0


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
