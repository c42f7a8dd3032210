"""Macro-F1: the mean of the F1 scores of all classes, and what each example adds to it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from core.objectives.measure import Answers, Values


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
