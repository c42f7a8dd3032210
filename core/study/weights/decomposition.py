"""Singular values and vectors of weights, of large ones the fast way, on one thread."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.training.threads import one_thread

Array = NDArray[np.float64]

MIN_GRAM_SIZE = 64
"""Length of the shorter side from which on eigenvectors of M Mᵀ are faster than singular vectors of M."""

MIN_GRAM_RATIO = 1e-10
"""Smallest eigenvalue of M Mᵀ, as a share of the largest, that is not lost in rounding."""


def rounding(shape: tuple[int, ...], values: NDArray[np.floating]) -> float:
    """The size up to which singular values of a float64 matrix are rounding: σ₁ · max(out, in) · ε.

    The customary tolerance of a numerical rank (Golub and Van Loan, "Matrix Computations", §5.4).

    Args:
        shape: (out, in) of the matrix.
        values: its singular values, the largest first.
    """
    return float(values[0]) * max(shape) * float(np.finfo(np.float64).eps) if values.size else 0.0


def singular_values(matrix: Array) -> Array:
    """(min(out, in),) the singular values of a matrix, the largest first.

    Of a large one they are the roots of the eigenvalues of M Mᵀ, unless one is below 10⁻⁵ of the largest: squares of
    these are lost in rounding.
    """
    with one_thread():
        if is_large(matrix):
            squares = torch.linalg.eigvalsh(_gram(matrix)).flip(0)
            if squares[-1] > MIN_GRAM_RATIO * squares[0]:
                return _array(squares.sqrt())
        return _array(torch.linalg.svdvals(torch.from_numpy(matrix)))


def singular_vectors(matrix: Array) -> tuple[Array, Array, Array]:
    """U of shape (out, k), the singular values (k,), and Vᵀ of shape (k, in), for k = min(out, in)."""
    with one_thread():
        left, values, right = torch.linalg.svd(torch.from_numpy(matrix), full_matrices=False)
    return _array(left), _array(values), _array(right)


def short_vectors(matrix: Array) -> tuple[Array, Array]:
    """Eigenvalues of the smaller one of M Mᵀ and Mᵀ M, (k,), the largest first, and its eigenvectors, (k, k).

    Its columns are the singular vectors on the shorter side.
    """
    with one_thread():
        values, vectors = torch.linalg.eigh(_gram(matrix))
    return _array(values.flip(0)), _array(vectors.flip(1))


def projected(matrix: Array, vectors: Array) -> Array:
    """What is left of a matrix in the span of some of its singular vectors.

    Args:
        matrix: (out, in).
        vectors: (out, r) or (in, r), orthonormal columns; those of outputs if both would fit.
    """
    with one_thread():
        whole, kept = torch.from_numpy(matrix), torch.from_numpy(vectors)
        by_outputs = len(kept) == len(whole)
        return _array(kept @ (kept.T @ whole) if by_outputs else (whole @ kept) @ kept.T)


def is_large(matrix: Array) -> bool:
    """Whether :func:`short_vectors` are faster than :func:`singular_vectors`."""
    return bool(min(matrix.shape) >= MIN_GRAM_SIZE)


def is_wide(matrix: Array) -> bool:
    """Whether a matrix has at most as many rows as columns."""
    rows, columns = matrix.shape
    return bool(rows <= columns)


def _gram(matrix: Array) -> Tensor:
    whole = torch.from_numpy(matrix)
    return whole @ whole.T if is_wide(matrix) else whole.T @ whole


def _array(tensor: Tensor) -> Array:
    return np.ascontiguousarray(tensor.numpy())
