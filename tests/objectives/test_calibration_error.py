"""The calibration error against bins that NumPy counts, and networks of which it is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.objectives.classification import BINS, CALIBRATION_ERROR, ClassificationSpec
from core.objectives.registry import CLASSIFICATION


def error(outputs: torch.Tensor, labels: torch.Tensor) -> float:
    return CLASSIFICATION.judge(outputs, labels, range(outputs.shape[1]), [CALIBRATION_ERROR.name])["calibration_error"]


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_it_is_the_weighted_gap_of_confidence_and_accuracy_over_bins(scale: float) -> None:
    outputs = scale * torch.randn(4000, 7, generator=torch.Generator().manual_seed(1))
    labels = torch.randint(7, (4000,), generator=torch.Generator().manual_seed(2))
    confidence, answer = (each.numpy() for each in outputs.double().softmax(1).max(1))
    edges = np.linspace(0, 1, BINS + 1)
    counts, sums, hits = (
        np.histogram(confidence, edges, weights=weights)[0]
        for weights in (None, confidence, (answer == labels.numpy()).astype(float))
    )
    there = counts > 0
    gaps = np.abs(hits[there] / counts[there] - sums[there] / counts[there])
    assert error(outputs, labels) == pytest.approx(100 * float((counts[there] * gaps).sum() / counts.sum()), abs=1e-3)


def test_who_is_always_sure_is_off_by_the_share_of_wrong_answers() -> None:
    outputs = 1000.0 * torch.eye(4)[torch.arange(400) % 4]
    labels = torch.arange(400) % 4
    assert error(outputs, labels) == 0.0
    labels[:100] = (labels[:100] + 1) % 4
    assert error(outputs, labels) == pytest.approx(25.0)
    assert error(torch.zeros(400, 4), torch.arange(400) % 4) == pytest.approx(0.0)
    assert error(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)) == 0.0


def test_nothing_is_chosen_by_it_and_only_the_target_has_it() -> None:
    assert CALIBRATION_ERROR not in ClassificationSpec.measures
    assert CALIBRATION_ERROR.name in CLASSIFICATION.at_end(source=False)
    assert CALIBRATION_ERROR.name not in CLASSIFICATION.at_end(source=True)
