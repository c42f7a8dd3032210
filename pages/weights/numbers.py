"""Numbers of the Weights page, each computed once per run: a run that has ended never changes."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.lab import Lab
from core.store.record import Run
from core.study.weights.change import read_change
from core.study.weights.directions import MAX_DIRECTIONS, Newness, ScalingCheck, newness, rank_of, scaling_check
from core.study.weights.rank import CutCurve, cut_curve, cut_scores
from core.study.weights.scores import PartName, Scores, read_exam
from core.study.weights.spectrum import Array, Spectrum
from core.study.weights.strength import StrengthCurve, Switches, strength_curve, switches
from core.study.weights.subspace import Amplification, Side, amplification, directions

_RUNS = {Run: lambda run: (run.id, run.ended)}


@st.cache_data(max_entries=1024, show_spinner="Reading the weights", hash_funcs=_RUNS)
def spectra_of(_lab: Lab, run: Run) -> dict[str, Spectrum]:
    """The spectrum of each layer's ΔW."""
    return read_change(_lab, run).spectra()


@st.cache_data(max_entries=1024, show_spinner="Reading the weights", hash_funcs=_RUNS)
def elsewhere_of(_lab: Lab, run: Run) -> str:
    """A sentence on what training changed beside linear layers; empty if nothing."""
    return read_change(_lab, run).elsewhere_text


@st.cache_data(max_entries=64, show_spinner="Reading the weights", hash_funcs=_RUNS)
def values_before(_lab: Lab, run: Run, layer: str) -> Array:
    """Singular values of W before training."""
    weight, _ = read_change(_lab, run).layer(layer)
    return np.asarray(np.linalg.svd(weight, compute_uv=False))


@st.cache_data(max_entries=512, show_spinner="Cutting ΔW to lower ranks", hash_funcs=_RUNS)
def cuts_of(_lab: Lab, run: Run) -> CutCurve:
    """Accuracies of a run with its ΔW cut to each rank, on the validation part."""
    return cut_curve(read_change(_lab, run), read_exam(_lab, run, "validation"))


@st.cache_data(max_entries=512, show_spinner="Reading the test part", hash_funcs=_RUNS)
def cut_on_test(_lab: Lab, run: Run, rank: int) -> Scores:
    """Accuracies of a run with its ΔW cut to one rank, on the test part."""
    return cut_scores(read_change(_lab, run), read_exam(_lab, run, "test"), rank)


@st.cache_data(max_entries=1024, show_spinner="Evaluating the runs", hash_funcs=_RUNS)
def validated(_lab: Lab, run: Run) -> Scores:
    """Accuracies of a run as it was trained, on the validation part."""
    return read_exam(_lab, run, "validation").of_networks([read_change(_lab, run).plain])


@st.cache_data(max_entries=256, show_spinner="Evaluating many alphas", hash_funcs=_RUNS)
def strengths_of(_lab: Lab, run: Run, part: PartName) -> StrengthCurve:
    """Accuracies of a run with its ΔW rescaled."""
    return strength_curve(read_change(_lab, run), read_exam(_lab, run, part))


@st.cache_data(max_entries=256, show_spinner="Evaluating every combination of layers", hash_funcs=_RUNS)
def switches_of(_lab: Lab, run: Run) -> Switches:
    """Accuracies of a run with layers on and off, on the test part."""
    return switches(read_change(_lab, run), read_exam(_lab, run, "test"))


@st.cache_data(max_entries=64, show_spinner="Reading the weights", hash_funcs=_RUNS)
def directions_of(_lab: Lab, run: Run, layer: str, side: Side) -> Array:
    """The strongest directions of a layer's ΔW, (d, k)."""
    return directions(read_change(_lab, run).layer(layer)[1], side, MAX_DIRECTIONS)


@st.cache_data(max_entries=512, show_spinner="Reading the weights", hash_funcs=_RUNS)
def amplification_of(_lab: Lab, run: Run, layer: str, rank: int) -> Amplification:
    """The amplification factor of a layer."""
    weight, delta = read_change(_lab, run).layer(layer)
    return amplification(delta, weight, rank)


@st.cache_data(max_entries=512, show_spinner="Reading the weights", hash_funcs=_RUNS)
def rank_on(_lab: Lab, run: Run, layer: str, otherwise: int) -> int:
    """Rank of a run's adapter on a layer; ``otherwise`` where it has none."""
    return rank_of(read_change(_lab, run), layer, otherwise)


@st.cache_data(max_entries=256, show_spinner="Comparing with random changes", hash_funcs=_RUNS)
def newness_of(_lab: Lab, run: Run, layer: str) -> Newness:
    """How well W knew the strongest directions of W + ΔW, beside random ΔW."""
    return newness(*read_change(_lab, run).layer(layer))


@st.cache_data(max_entries=256, show_spinner="Scaling the intruders", hash_funcs=_RUNS)
def check_of(_lab: Lab, run: Run, layer: str, indices: tuple[int, ...]) -> ScalingCheck:
    """Accuracies with intruders scaled, on the validation part."""
    return scaling_check(read_change(_lab, run), read_exam(_lab, run, "validation"), layer, indices)
