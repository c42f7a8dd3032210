"""What a run answered to the examples of its test part, as a file in the run's folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.errors import DamagedFileError, PredictionsError
from core.tensor_file import read_tensors, tensors_bytes
from core.training.evaluation import Evaluation

PREDICTIONS = "predictions.safetensors"

Predictions = NDArray[Any]
"""(n,) what was answered to each test example, in the task's order: labels as uint8, or uint16 where one is above 255;
numbers as float32."""

_TENSOR = "predicted"
_LOSSES = "losses"
_DTYPES = (torch.uint8, torch.uint16, torch.float32)


@dataclass(frozen=True, eq=False)
class StoredAnswers:
    """What a run answered to its test examples."""

    predicted: Predictions
    losses: NDArray[np.float32] | None
    """(n,) loss of each example; None for runs of versions that did not store it."""


def stored(evaluation: Evaluation) -> StoredAnswers:
    """What is stored of the evaluation of a test part. Raises: PredictionsError: it is of another part."""
    if evaluation.predicted is None:
        raise PredictionsError("Only an evaluation of a test part has answers to store.")
    losses = None if evaluation.losses is None else evaluation.losses.cpu().numpy().astype(np.float32)
    return StoredAnswers(compact(evaluation.predicted), losses)


def compact(predicted: Tensor) -> Predictions:
    """Answers of shape (n,) as an array of the smallest type: labels are integers from 0 to 65,535, on any device."""
    if predicted.is_floating_point():
        return predicted.detach().cpu().numpy().astype(np.float32)
    small = not len(predicted) or int(predicted.max()) < 256
    return predicted.cpu().numpy().astype(np.uint8 if small else np.uint16)


def predictions_bytes(answers: StoredAnswers) -> bytes:
    """The file of some answers."""
    tensors = {_TENSOR: torch.from_numpy(answers.predicted)}
    if answers.losses is not None:
        tensors[_LOSSES] = torch.from_numpy(answers.losses)
    return tensors_bytes(tensors, {"format": "pt"})


def read_predictions(path: Path, sha256: str) -> StoredAnswers:
    """Read a file with the content of :func:`predictions_bytes`.

    Args:
        path: of the file.
        sha256: hash of its content, in hex.

    Raises:
        DamagedFileError: the hash differs.
        PredictionsError: it has something else in it.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedFileError("This file of predictions", path)
    tensors, _ = read_tensors(content, path.name, PredictionsError)
    found, losses = tensors.get(_TENSOR), tensors.get(_LOSSES)
    if found is None or found.ndim != 1 or found.dtype not in _DTYPES or not _fits(losses, found):
        raise PredictionsError(f"{path.name} has no predictions in it: remove it, and they are computed again.")
    return StoredAnswers(found.numpy(), None if losses is None else losses.numpy())


def _fits(losses: Tensor | None, predicted: Tensor) -> bool:
    return losses is None or (losses.shape == predicted.shape and losses.dtype == torch.float32)
