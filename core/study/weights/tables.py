"""Tables of weight changes, as text to read or as numbers to download."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from core.numbers import NOTHING, count_text, number_text, percent
from core.results.arm import Arm
from core.results.intervals import t_interval
from core.study.weights.spectrum import ENERGY, Spectrum

SpectraOf = Mapping[str, Mapping[str, Spectrum]]
"""Spectra by run id and layer path."""


def layer_text(path: str, shape: tuple[int, int]) -> str:
    """Format a layer with its inputs and outputs, as in ``layers.0 · 784 → 128``; ``shape`` is (out, in)."""
    return f"{path} · {shape[1]:,} → {shape[0]:,}"


def spectrum_text(arms: Sequence[Arm], spectra: SpectraOf, share: float = ENERGY) -> pd.DataFrame:
    """One row per layer and arm, means over the seeds with half of the 95 % interval, as people read it.

    Args:
        arms: from top to bottom in each layer.
        spectra: of every run of the arms.
        share: of ‖ΔW‖² that the first rank holds, 0 to 1.
    """
    measures: dict[str, tuple[Callable[[Spectrum], float], int]] = {
        f"Rank for {percent(100 * share, 0)}": (lambda found: found.rank_holding(share), 1),
        "Effective rank": (lambda found: found.effective_rank, 1),
        "Stable rank": (lambda found: found.stable_rank, 1),
        "‖ΔW‖ / ‖W‖": (lambda found: found.relative_norm, 4),
    }
    rows = []
    for path in _paths(arms, spectra):
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


def _paths(arms: Sequence[Arm], spectra: SpectraOf) -> list[str]:
    return list(spectra[arms[0].runs[0].id]) if arms else []
