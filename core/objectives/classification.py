"""Classification: one of several classes for each example, learned by cross entropy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from core.errors import SpecError
from core.objectives.measure import Answers, Measure, Values
from core.objectives.objective import ObjectiveSpec


def macro_f1(answers: Answers) -> float:
    """The mean of the F1 scores of all classes, in percent: every class counts alike, however few examples it has.

    F1 of a class is 2·TP / (2·TP + FP + FN), the harmonic mean of precision and recall (van Rijsbergen, "Information
    Retrieval", 1979). Of the two means that are called macro-F1 this is the one over F1 scores, which Opitz and Burst
    recommend ("Macro F1 and Macro F1", arXiv 1911.03347, 2019). A class without examples has no recall and is left out;
    what is predicted as such a class is missing in its own.

    Args:
        answers: predicted and true labels; labels without examples may be predicted.

    Returns:
        0 to 100; 0 without examples.
    """
    if not len(answers.targets):
        return 0.0
    scores, _, there = _scores(answers)
    # By torch in float32, as in earlier versions: the last digits of results stay as they were.
    return 100 * float(torch.from_numpy(scores[there]).mean())


def macro_f1_of_each(answers: Answers) -> Values:
    """What each example adds to macro-F1, in percent: its linearization, whose mean over the examples is macro-F1.

    With n_c the examples of class c and p_c the predictions of it, F1_c = 2 TP_c / (n_c + p_c). The influence of an
    example is the gradient of the mean F1 with respect to the shares TP_c, n_c and p_c, at this example's indicators
    (delta method; Hampel, "The influence curve and its role in robust estimation", JASA 69, 1974).

    Returns:
        (n,) percent.
    """
    n = len(answers.targets)
    if not n:
        return np.zeros(0)
    scores, sizes, there = _scores(answers)
    classes = np.count_nonzero(there)
    # dF1/dTP = 2 / (n_c + p_c), dF1/dn_c = dF1/dp_c = −F1_c / (n_c + p_c); zero for classes without examples.
    per = np.where(there, n / np.maximum(sizes, 1), 0.0)
    truth, predicted = answers.targets.astype(np.int64), answers.predicted.astype(np.int64)
    hit = truth == predicted
    f1 = scores.astype(np.float64)
    influence = 2 * per[truth] * hit - per[truth] * f1[truth] - per[predicted] * f1[predicted]
    mean = macro_f1(answers)
    return np.asarray(mean + 100 * influence / classes, dtype=np.float64)


def _scores(answers: Answers) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """F1 of each label, 2·TP + FP + FN of each, and whether it has examples; all of shape (labels,)."""
    truth, predicted = answers.targets.astype(np.int64), answers.predicted.astype(np.int64)
    size = int(max(truth.max(), predicted.max())) + 1
    examples = np.bincount(truth, minlength=size)
    sizes = examples + np.bincount(predicted, minlength=size)
    right = np.bincount(truth[truth == predicted], minlength=size)
    # 2·TP + FP + FN counts the examples and the predictions of a class, so it is above 0 where there are examples.
    scores = (2 * right).astype(np.float32) / np.maximum(sizes, 1).astype(np.float32)
    return scores, sizes, examples > 0


def _right(answers: Answers) -> Values:
    return np.where(answers.predicted == answers.targets, 100.0, 0.0)


ACCURACY = Measure(
    name="accuracy",
    title="Accuracy",
    each=_right,
    better="more accurate",
    worse="less accurate",
    margin=0.5,
    max_margin=10.0,
)
"""Percent of examples that are predicted rightly, among all outputs."""

MACRO_F1 = Measure(
    name="macro_f1",
    title="Macro-F1",
    each=macro_f1_of_each,
    whole=macro_f1,
    about="Every class counts alike.",
    better="higher in macro-F1",
    worse="lower in macro-F1",
    margin=0.5,
    max_margin=10.0,
)

LOSS = Measure(
    name="loss",
    title="Loss",
    each=lambda answers: answers.known_losses,
    better="lower in loss",
    worse="higher in loss",
    margin=0.02,
    max_margin=1.0,
    unit="",
    limits=(0.0, float("inf")),
    higher_is_better=False,
    needs_losses=True,
)
"""Mean cross entropy in nats."""

MASKED_ACCURACY = replace(ACCURACY, name="accuracy_masked", among="its own classes only")
"""Percent, with predictions among the task's own classes only.

After fine-tuning on other classes, plain accuracy mostly shows that the output layer prefers the new classes; masked
accuracy shows whether the old ones can still be distinguished.
"""

BINS = 15
"""Number of bins of equal width of :data:`CALIBRATION_ERROR`."""

CALIBRATION_ERROR = Measure(
    name="calibration_error",
    title="Calibration error",
    each=lambda answers: np.full(len(answers.targets), np.nan),  # it is computed from probabilities
    better="better calibrated",
    worse="worse calibrated",
    margin=1.0,
    max_margin=10.0,
    higher_is_better=False,
    about=f"How far the highest probability is from the share of right answers, over {BINS} bins.",
)
"""Expected calibration error in percent, over bins of the highest probability: Σ_b |Σ_{i in b} (hit_i − p_i)| / n (Guo
et al., "On Calibration of Modern Neural Networks", arXiv 1706.04599, 2017)."""

MIN_OUTPUTS = 2
"""Minimum number of outputs of a network that names classes."""

LARGEST_CLASS = "largest_class"
"""Name of the share of the most frequent class, in percent: the accuracy of always naming that class."""


class ClassificationSpec(ObjectiveSpec):
    """Learns to name the class of each example."""

    kind: Literal["classification"] = "classification"
    title = "Classification"
    targets = "classes"
    problem_type = "single_label_classification"
    measures = (ACCURACY, MACRO_F1, LOSS)
    watched = ("loss", "accuracy")
    watched_on_source = ("accuracy", "accuracy_masked")
    retained = (MASKED_ACCURACY,)
    described = (CALIBRATION_ERROR,)

    @property
    def masked(self) -> Measure | None:
        return MASKED_ACCURACY if self.primary is ACCURACY else None

    def check_outputs(self, outputs: int) -> None:
        if outputs < MIN_OUTPUTS:
            raise SpecError(f"Classes must be at least {MIN_OUTPUTS}, not {outputs}.", ("num_classes",))

    def outputs_for(self, classes: int) -> int:
        return classes

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets, reduction="none")

    def predict(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(1)

    def judge(self, outputs: Tensor, targets: Tensor, classes: Sequence[int], names: Iterable[str]) -> dict[str, float]:
        n, wanted = max(len(targets), 1), tuple(names)
        counted = [name for name in wanted if name in SUMS]
        # One tensor, so that a device is waited for once.
        totals = torch.stack([SUMS[name](outputs, targets, classes) for name in counted]).tolist() if counted else []
        found = {
            name: (1 if name == LOSS.name else 100) * total / n for name, total in zip(counted, totals, strict=True)
        }
        rest = [name for name in wanted if name not in found]
        if rest:
            answers = Answers(self.predict(outputs).cpu().numpy(), targets.cpu().numpy())
            found |= {name: self.all_measures[name].of(answers) for name in rest}
        return {name: found[name] for name in wanted}

    def trivial(self, targets: NDArray[Any]) -> NDArray[Any] | None:
        if not len(targets):
            return None
        labels, counts = np.unique(targets, return_counts=True)
        return np.full(len(targets), labels[counts.argmax()])

    def facts(self, targets: Tensor) -> Mapping[str, float]:
        share = 100 * int(torch.bincount(targets).max()) / len(targets) if len(targets) else 0.0
        return {LARGEST_CLASS: share}


def _entropy(outputs: Tensor, targets: Tensor, classes: Sequence[int]) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="sum")


def _hits(outputs: Tensor, targets: Tensor, classes: Sequence[int]) -> Tensor:
    # MPS has no float64, and it is not needed: a count below 2²⁴ is exact in float32.
    return (outputs.argmax(1) == targets).sum().to(outputs.dtype)


def _masked_hits(outputs: Tensor, targets: Tensor, classes: Sequence[int]) -> Tensor:
    if len(classes) == outputs.shape[1]:
        return _hits(outputs, targets, classes)
    own = torch.tensor(sorted(classes), device=targets.device)
    return (own[outputs[:, own].argmax(1)] == targets).sum().to(outputs.dtype)


def _miscalibrated(outputs: Tensor, targets: Tensor, classes: Sequence[int]) -> Tensor:
    confidence, answer = outputs.softmax(1).max(1)
    bins = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    gaps = torch.zeros(BINS, dtype=confidence.dtype, device=outputs.device)
    return gaps.index_add_(0, bins, (answer == targets).to(confidence.dtype) - confidence).abs().sum()


SUMS: dict[str, Callable[[Tensor, Tensor, Sequence[int]], Tensor]] = {
    LOSS.name: _entropy,
    ACCURACY.name: _hits,
    MASKED_ACCURACY.name: _masked_hits,
    CALIBRATION_ERROR.name: _miscalibrated,
}
"""Measures that are computed where the outputs are, of (n, outputs) logits, (n,) labels and the labels that occur in
the task: sums of cross entropies, of hits, or of what bins of examples are off by."""
