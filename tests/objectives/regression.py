"""Regression: one number for each example, learned by squared error; an objective that only tests know."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from core.errors import SpecError
from core.objectives.measure import Answers, Measure, Values
from core.objectives.objective import ObjectiveSpec


def _errors(answers: Answers) -> Values:
    return answers.predicted.astype(np.float64) - answers.targets.astype(np.float64)


def _r2_of_each(answers: Answers) -> Values:
    """1 − n·e²/SST for each example, whose mean is R² = 1 − SSE/SST; the targets, and so SST, are fixed."""
    targets = answers.targets.astype(np.float64)
    total = np.square(targets - targets.mean()).sum()
    return np.asarray(1 - len(targets) * np.square(_errors(answers)) / (total or np.nan), np.float64)


R2 = Measure(
    name="r2",
    title="R²",
    each=_r2_of_each,
    about="Share of the variance of the targets that is explained.",
    better="higher in R²",
    worse="lower in R²",
    margin=0.02,
    max_margin=0.5,
    unit="",
    limits=(float("-inf"), 1.0),
)

MAE = Measure(
    name="mae",
    title="Mean absolute error",
    each=lambda answers: np.abs(_errors(answers)),
    better="lower in error",
    worse="higher in error",
    margin=0.02,
    max_margin=10.0,
    unit="",
    limits=(0.0, float("inf")),
    higher_is_better=False,
)

LOSS = replace(
    MAE,
    name="loss",
    title="Loss",
    each=lambda answers: np.square(_errors(answers)),
    better="lower in loss",
    worse="higher in loss",
)
"""Mean squared error."""


class RegressionSpec(ObjectiveSpec):
    """Learns to name the number of each example."""

    kind: Literal["regression"] = "regression"
    title = "Regression"
    targets = "numbers"
    problem_type = "regression"
    measures = (R2, MAE, LOSS)
    watched = ("loss", "r2")
    watched_on_source = ("r2",)

    def trivial(self, targets: NDArray[Any]) -> NDArray[Any]:
        return np.full(len(targets), targets.mean()) if len(targets) else targets

    def check_outputs(self, outputs: int) -> None:
        if outputs != 1:
            raise SpecError(f"A network that names a number needs one output, not {outputs}.")

    def outputs_for(self, classes: int) -> int:
        return 1

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(outputs[:, 0], targets)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(outputs[:, 0], targets, reduction="none")

    def predict(self, outputs: Tensor) -> Tensor:
        return outputs[:, 0]
