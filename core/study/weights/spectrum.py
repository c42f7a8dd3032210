"""Singular values and vectors of ΔW on one thread, and the ranks that they give.

Matrices are float64 arrays of shape (out, in), as PyTorch keeps weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from core.numbers import NOTHING, count_text, number_text, percent
from core.results.arm import Arm
from core.results.intervals import t_interval
from core.training.threads import one_thread

Array = NDArray[np.float64]

ENERGY = 0.9
"""Share of ‖ΔW‖² that the rank of a spectrum holds, where no other is asked for."""


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


@dataclass(frozen=True)
class Spectrum:
    """Singular values of one layer's ΔW, and what they say of its rank."""

    values: Array
    """(min(out, in),) σ₁ ≥ σ₂ ≥ …, all at least 0."""
    base_norm: float
    """‖W‖_F of the weight before training."""

    @property
    def rank(self) -> int:
        """How many singular values are above zero."""
        return int(np.count_nonzero(self.values))

    @cached_property
    def norm(self) -> float:
        """‖ΔW‖_F, the root of Σ σᵢ²."""
        return float(np.sqrt((self.values**2).sum()))

    @property
    def relative_norm(self) -> float:
        """‖ΔW‖_F / ‖W‖_F: how far the layer moved; infinite where W is zero and ΔW is not."""
        if self.base_norm:
            return self.norm / self.base_norm
        return math.inf if self.norm else 0.0

    def rank_holding(self, share: float = ENERGY) -> int:
        """The smallest rank that holds ``share`` of ‖ΔW‖_F², 0 to 1; 0 where ΔW is zero.

        The share of the first r values is what the best approximation of rank r keeps (Eckart and Young, Psychometrika
        1, 1936).
        """
        squares = np.cumsum(self.values**2)
        # Rounding must not ask for one more where the values up to here hold it all.
        return int(np.argmax(squares / squares[-1] >= share - 1e-12)) + 1 if self.norm else 0

    @property
    def effective_rank(self) -> float:
        """exp(−Σ pᵢ ln pᵢ) with pᵢ = σᵢ / Σ σ: from 1 for one direction to min(out, in) for equal ones.

        Source: Roy and Vetterli, "The effective rank", EUSIPCO 2007. 0 where ΔW is zero.
        """
        shares = self.values[self.values > 0] / max(float(self.values.sum()), math.ulp(0))
        return float(np.exp(-(shares * np.log(shares)).sum())) if shares.size else 0.0

    @property
    def stable_rank(self) -> float:
        """‖ΔW‖_F² / σ₁²: never above the rank, and little moved by small values.

        Source: Rudelson and Vershynin, "Sampling from large matrices", J. ACM 54 (2007). 0 where ΔW is zero.
        """
        return float(((self.values / self.values[0]) ** 2).sum()) if self.norm else 0.0


def spectrum(delta: Array, weight: Array) -> Spectrum:
    """The spectrum of one layer; singular values that are nothing but rounding are zero.

    Args:
        delta: ΔW, (out, in), finite.
        weight: W before training, of the same shape.
    """
    values = singular_values(delta)
    return Spectrum(np.where(values > rounding(delta.shape, values), values, 0.0), float(np.linalg.norm(weight)))


def truncations(delta: Array, ranks: Iterable[int]) -> Iterator[Array]:
    """The matrices of at most each rank that are nearest to ``delta``, from one decomposition.

    Nearest in the Frobenius and the spectral norm: Σ σᵢ uᵢ vᵢᵀ over the first values (Eckart and Young, Psychometrika
    1, 1936; Mirsky 1960).

    Args:
        delta: (out, in).
        ranks: 0 or above; at min(out, in) and more, ``delta`` itself.

    Yields:
        (out, in) at each rank, in this order.
    """
    left, values, right = singular_vectors(delta)
    for rank in ranks:
        yield delta.copy() if rank >= min(delta.shape) else (left[:, :rank] * values[:rank]) @ right[:rank]


def spectrum_text(
    arms: Sequence[Arm], spectra: Mapping[str, Mapping[str, Spectrum]], share: float = ENERGY
) -> pd.DataFrame:
    """One row per layer and arm, means over the seeds with half of the 95 % interval, as people read it.

    Args:
        arms: from top to bottom in each layer.
        spectra: of every run of the arms, by run id and layer path.
        share: of ‖ΔW‖² that the first rank holds, 0 to 1.
    """
    measures: dict[str, tuple[Callable[[Spectrum], float], int]] = {
        f"Rank for {percent(100 * share, 0)}": (lambda found: found.rank_holding(share), 1),
        "Effective rank": (lambda found: found.effective_rank, 1),
        "Stable rank": (lambda found: found.stable_rank, 1),
        "‖ΔW‖ / ‖W‖": (lambda found: found.relative_norm, 4),
    }
    rows = []
    for path in spectra[arms[0].runs[0].id]:
        for arm in arms:
            found = [spectra[run.id][path] for run in arm.runs]
            row = {"Layer": path, "Setting": arm.label, "Seeds": count_text(len(found))}
            row |= {title: mean_text([of(each) for each in found], digits) for title, (of, digits) in measures.items()}
            rows.append(row | {"Largest possible": count_text(len(found[0].values))})
    return pd.DataFrame(rows, dtype=object)


def mean_text(values: Sequence[float], digits: int) -> str:
    """Mean over seeds and half of the 95 % interval, as in ``3.3 ± 1.4``; the mean alone where all are alike."""
    interval = t_interval(values)
    if not interval.n:
        return NOTHING
    spread = f" ± {number_text(interval.half_width, digits)}" if interval.half_width > 0 else ""
    return f"{number_text(interval.mean, digits)}{spread}"
