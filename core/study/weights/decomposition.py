"""Singular values and vectors of weights, on one thread."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from core.training.threads import one_thread

Array = NDArray[np.float64]


def rounding(shape: tuple[int, ...], values: NDArray[np.floating]) -> float:
    """The size up to which singular values of a float64 matrix are rounding: σ₁ · max(out, in) · ε.

    The customary tolerance of a numerical rank (Golub and Van Loan, "Matrix Computations", §5.4).

    Args:
        shape: (out, in) of the matrix.
        values: its singular values, the largest first.
    """
    return float(values[0]) * max(shape) * float(np.finfo(np.float64).eps) if values.size else 0.0


def singular_values(matrix: Array) -> Array:
    """(min(out, in),) the singular values of a matrix, the largest first."""
    with one_thread():
        values: Array = torch.linalg.svdvals(torch.from_numpy(matrix)).numpy()
    return values


def singular_vectors(matrix: Array) -> tuple[Array, Array, Array]:
    """U of shape (out, k), the singular values (k,), and Vᵀ of shape (k, in), for k = min(out, in)."""
    with one_thread():
        left, values, right = torch.linalg.svd(torch.from_numpy(matrix), full_matrices=False)
    return left.numpy(), values.numpy(), right.numpy()
