"""Tables of weight changes, as text to read or as numbers to download."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from core.numbers import NOTHING, count_text, number_text, percent
from core.study.arms.arm import Arm
from core.study.stats.intervals import t_interval
from core.study.weights.spectrum import ENERGY, Spectrum
from core.study.weights.strength import Switches
from core.study.weights.subspace import Amplification

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


def spectrum_numbers(arms: Sequence[Arm], spectra: SpectraOf, share: float = ENERGY) -> pd.DataFrame:
    """One row per layer and run, as numbers; arguments as of :func:`spectrum_text`."""
    rows = [
        {
            "Layer": path,
            "Setting": arm.label,
            "Run": run.id,
            "Seed": run.spec.seed,
            "Energy share": share,
            "Rank holding it": found.rank_holding(share),
            "Singular values above zero": found.rank,
            "Effective rank": found.effective_rank,
            "Stable rank": found.stable_rank,
            "Norm of ΔW": found.norm,
            "Norm of W": found.base_norm,
            "Relative norm": found.relative_norm,
            **{f"σ{i}": value for i, value in enumerate(found.values, 1)},
        }
        for path in _paths(arms, spectra)
        for arm in arms
        for run in arm.runs
        for found in [spectra[run.id][path]]
    ]
    return pd.DataFrame(rows)


def amplification_text(rows: Sequence[tuple[str, Amplification]]) -> pd.DataFrame:
    """One row per arm: the norms of table 7 of the LoRA paper, the factor, and that of a random ΔW.

    Args:
        rows: the arm's label, and what was measured.
    """
    return pd.DataFrame(
        {
            "Setting": [label for label, _ in rows],
            "‖ΔW‖": [number_text(found.delta) for _, found in rows],
            "‖UᵀWV‖ along ΔW": [number_text(found.along_delta) for _, found in rows],
            "‖UᵀWV‖ along W": [number_text(found.along_weight) for _, found in rows],
            "‖UᵀWV‖, random": [number_text(found.along_random) for _, found in rows],
            "Amplification": [f"{number_text(found.factor)} ×" for _, found in rows],
            "Of a random ΔW": [f"{number_text(found.random_factor)} ×" for _, found in rows],
        },
        dtype=object,
    )


def amplification_sentence(name: str, layer: str, found: Amplification) -> str:
    """What the row of a run says; empty where ΔW is zero or W has nothing in its directions.

    Args:
        name: of the run.
        layer: its path.
        found: what was measured.
    """
    if not math.isfinite(found.factor):
        return ""
    beside = "weaker" if found.along_delta < found.along_random else "stronger"
    return (
        f"{name}: ΔW of {layer} is {number_text(found.factor)} times as large as W in the same directions; in random "
        f"ones it would be {number_text(found.random_factor)} times. Its directions are {beside} in W than random ones."
    )


def contributions_text(switches: Switches, masked: bool) -> pd.DataFrame:
    """One row per group of layers: the score without it, its contribution, and the score with only that group.

    A contribution is positive where the network is better with the group, whatever the direction of the measure.

    Args:
        switches: measured.
        masked: whether the source is judged among its own classes only.
    """
    scores, everything = switches.scores, switches.everything
    measure = scores.measure
    rows = []
    single = all(len(parts) == 1 for parts in switches.groups.values())
    first, alone = ("Layer", "only this layer") if single else ("Layers", "only these layers")
    for name in switches.names:
        without, only = switches.without(name), switches.only(name)
        row = {
            first: name,
            "Target without it" if single else "Target without them": measure.text(scores.target[without]),
            "Contribution": measure.change_text(float(scores.oriented[everything] - scores.oriented[without])),
            f"Target, {alone}": measure.text(scores.target[only]),
        }
        if scores.source is not None:
            source, title = scores.line("source", masked), "Source, own classes," if masked else "Source"
            row[f"{title} without it" if single else f"{title} without them"] = measure.text(source[without])
            row[f"{title} {alone}" if masked else f"{title}, {alone}"] = measure.text(source[only])
        rows.append(row)
    return pd.DataFrame(rows, dtype=object)


def combinations_text(switches: Switches, masked: bool, shown: int | None = None) -> pd.DataFrame:
    """One row per combination of groups of layers that are on, with its scores.

    Args:
        switches: measured.
        masked: whether scores among the task's own classes are shown too.
        shown: row that is marked.
    """
    scores = switches.scores
    columns: dict[str, list[Any]] = {"Shown": ["●" if place == shown else "" for place in range(len(switches.on))]}
    for place, name in enumerate(switches.names):
        columns[name] = ["on" if on[place] else "off" for on in switches.on]
    for line in scores.lines(masked):
        columns[line.title] = [scores.measure.text(value) for value in line.values]
    return pd.DataFrame(columns, dtype=object)


def mean_text(values: Sequence[float], digits: int) -> str:
    """Mean over seeds and half of the 95 % interval, as in ``3.3 ± 1.4``; the mean alone where all are alike."""
    interval = t_interval(values)
    if not interval.n:
        return NOTHING
    spread = f" ± {number_text(interval.half_width, digits)}" if interval.half_width > 0 else ""
    return f"{number_text(interval.mean, digits)}{spread}"


def _paths(arms: Sequence[Arm], spectra: SpectraOf) -> list[str]:
    return list(spectra[arms[0].runs[0].id]) if arms else []
