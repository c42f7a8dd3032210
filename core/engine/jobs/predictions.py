"""The labels that a run predicted on its test part, as a file in the run's folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.errors import DamagedFileError, PredictionsError
from core.tensor_file import read_tensors, tensors_bytes

PREDICTIONS = "predictions.safetensors"

Predictions = NDArray[np.unsignedinteger[Any]]
"""(n,) predicted label of each test example, in the task's order: uint8, or uint16 where a label is above 255."""

_TENSOR = "predicted"


def compact(labels: Tensor) -> Predictions:
    """Labels of shape (n,), integers from 0 to 65,535 on any device, as an array of the smallest type that has them."""
    small = not len(labels) or int(labels.max()) < 256
    return labels.cpu().numpy().astype(np.uint8 if small else np.uint16)


def predictions_bytes(labels: Tensor) -> bytes:
    """The file of predicted labels. Args: labels: see :func:`compact`."""
    return tensors_bytes({_TENSOR: torch.from_numpy(compact(labels))}, {"format": "pt"})


def read_predictions(path: Path, sha256: str) -> Predictions:
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
    found = tensors.get(_TENSOR)
    if found is None or found.ndim != 1 or found.dtype not in (torch.uint8, torch.uint16):
        raise PredictionsError(f"{path.name} has no predicted labels in it: remove it, and they are computed again.")
    labels: Predictions = found.numpy()
    return labels
