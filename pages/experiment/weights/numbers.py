"""Numbers of weights, each computed once per run: a run that has ended never changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import streamlit as st

from core.lab import Lab
from core.store.record import Run
from core.study.weights.change import Changes, WeightChange
from core.study.weights.decomposition import Array, singular_values
from core.study.weights.rank import CutCurve, cut_curves
from core.study.weights.scores import PartName, Scores, evaluator_for
from core.study.weights.spectrum import Spectrum
from core.study.weights.strength import StrengthCurve, strength_curve
from core.study.weights.subspace import (
    MAX_DIRECTIONS,
    Side,
    directions,
    drawn_alike,
)

BAR_SECONDS = 0.2
"""Seconds before a bar is drawn, and between two of its updates: a browser draws each one."""

T = TypeVar("T")
Item = TypeVar("Item")

_RUNS = {Run: lambda run: (run.id, run.ended)}


@st.cache_resource(show_spinner=False)
def _changes() -> Changes:
    return Changes()


def change_of(lab: Lab, run: Run) -> WeightChange:
    """The weight change of a run, from memory or from its files."""
    return _changes().get(lab, run)


def each(items: Sequence[Item], compute: Callable[[Item], T], doing: str) -> list[T]:
    """Compute something of each item; where that takes long, a bar shows how far it is.

    Args:
        items: what to compute it of.
        compute: called with each item; slow only when it is called for the first time.
        doing: what is done, for people.
    """
    if len(items) < 2:
        return [compute(item) for item in items]
    bar, found, drawn = st.empty(), [], time.monotonic()
    for place, item in enumerate(items):
        if time.monotonic() - drawn > BAR_SECONDS:
            bar.progress(place / len(items), f"{doing}: {place} of {len(items)}")
            drawn = time.monotonic()
        found.append(compute(item))
    bar.empty()
    return found


@st.cache_data(max_entries=16_384, show_spinner=False, hash_funcs=_RUNS)
def spectrum_of(_lab: Lab, run: Run, layer: str) -> Spectrum:
    """The spectrum of a layer's ΔW."""
    return change_of(_lab, run).spectrum(layer)


def spectra_of(lab: Lab, runs: Sequence[Run], layers: Sequence[str]) -> Mapping[str, Mapping[str, Spectrum]]:
    """The spectra of some layers of some runs, by run id and path."""
    wanted = [(run, layer) for run in runs for layer in layers]
    found = each(wanted, lambda pair: spectrum_of(lab, *pair), "Reading the weights")
    by_run: dict[str, dict[str, Spectrum]] = {run.id: {} for run in runs}
    for (run, layer), spectrum in zip(wanted, found, strict=True):
        by_run[run.id][layer] = spectrum
    return by_run


@st.cache_data(max_entries=1024, show_spinner="Reading the weights", hash_funcs=_RUNS)
def elsewhere_of(_lab: Lab, run: Run) -> str:
    """A sentence on statistics that training changed, which have no strength; empty if none."""
    return change_of(_lab, run).elsewhere_text


@st.cache_data(max_entries=1024, show_spinner="Reading the weights", hash_funcs=_RUNS)
def changes_the_rest(_lab: Lab, run: Run) -> bool:
    """Whether training changed more than linear layers and a new head."""
    return bool(change_of(_lab, run).changed_elsewhere)


@st.cache_data(max_entries=64, show_spinner="Reading the weights", hash_funcs=_RUNS)
def values_before(_lab: Lab, run: Run, layer: str) -> Array:
    """Singular values of W before training."""
    weight, _ = change_of(_lab, run).layer(layer)
    return singular_values(weight)


@st.cache_data(max_entries=512, show_spinner="Cutting ΔW to lower ranks", hash_funcs=_RUNS)
def cuts_of(_lab: Lab, run: Run, limit: int | None) -> tuple[CutCurve, CutCurve]:
    """Scores of a run with its ΔW cut to each rank, on the validation part and on the test part."""
    validation, test = (evaluator_for(_lab, run, part, limit) for part in ("validation", "test"))
    first, second = cut_curves(change_of(_lab, run), [validation, test])
    return first, second


@st.cache_data(max_entries=2048, show_spinner="Evaluating the runs", hash_funcs=_RUNS)
def scores_of(_lab: Lab, run: Run, part: PartName, limit: int | None) -> Scores:
    """Scores of a run as it was trained."""
    return evaluator_for(_lab, run, part, limit).of_networks([change_of(_lab, run).plain])


@st.cache_data(max_entries=256, show_spinner="Evaluating many alphas", hash_funcs=_RUNS)
def strengths_of(_lab: Lab, run: Run, part: PartName, limit: int | None, step: float) -> StrengthCurve:
    """Scores of a run with its ΔW rescaled."""
    return strength_curve(change_of(_lab, run), evaluator_for(_lab, run, part, limit), step)


@st.cache_data(max_entries=64, show_spinner="Reading the weights", hash_funcs=_RUNS)
def directions_of(_lab: Lab, run: Run, layer: str, side: Side) -> Array:
    """The strongest directions of a layer's ΔW, (d, k)."""
    return directions(change_of(_lab, run).layer(layer)[1], side, MAX_DIRECTIONS)


@st.cache_data(max_entries=512, show_spinner="Reading the weights", hash_funcs=_RUNS)
def began_alike(_lab: Lab, first: Run, second: Run, layer: str) -> bool:
    """Whether two runs of an experiment drew A of a layer from the same random numbers."""
    return drawn_alike(change_of(_lab, first).base, first.spec, second.spec, layer)
