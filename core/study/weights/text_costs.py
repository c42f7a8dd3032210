"""What test texts cost the networks of two settings that continue them, and on which texts they differ most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import PredictionsError
from core.lab import Lab
from core.objectives.language import BYTES
from core.store.record import Run
from core.study.arms.arm import Arm
from core.study.weights.predicted import predictions, test_texts, true_targets


@dataclass(frozen=True)
class TextCosts:
    """Test texts, those first on which two settings differ by most bits."""

    rows: NDArray[np.intp]
    """(texts,) their places in the test part."""
    texts: tuple[str, ...]
    """They are from outside, and may contain anything."""
    bits: NDArray[np.float64]
    """(texts, 2) bits per byte of each text for the first and the second setting, means over the seeds of both."""
    apart: NDArray[np.float64]
    """(texts,) bits that a text costs the first setting more than the second."""
    seeds: int
    """Number of seeds that the settings share."""
    tested: int
    """Number of all test texts."""


def text_costs(lab: Lab, a: Arm, b: Arm, limit: int) -> TextCosts:
    """The test texts on which two settings differ most. Args: limit: number of texts.

    Raises:
        LabError: see :func:`core.study.weights.predicted.predictions`.
    """
    shared = sorted(set(a.seeds) & set(b.seeds))
    sizes = true_targets(lab, a.spec)[:, BYTES].astype(np.float64)
    nats = [_nats(lab, [run for run in arm.runs if run.spec.seed in shared]) for arm in (a, b)]
    bits = np.stack(nats, 1) / math.log(2)
    apart = bits[:, 0] - bits[:, 1]
    order = np.argsort(-np.abs(apart), kind="stable")[:limit]
    order = order[sizes[order] > 0]
    found = test_texts(lab, a.spec.task, order.tolist())
    return TextCosts(order, found, bits[order] / sizes[order, None], apart[order], len(shared), len(sizes))


def _nats(lab: Lab, runs: Sequence[Run]) -> NDArray[np.float64]:
    """(n,) −ln p of each test text, as the mean over runs."""
    known = [predictions(lab, run).losses for run in runs]
    if any(losses is None for losses in known):
        raise PredictionsError("What the test texts cost these runs was not kept: train them again.")
    found: NDArray[np.float64] = np.mean([each for each in known if each is not None], axis=0, dtype=np.float64)
    return found
