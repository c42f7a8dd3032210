"""Spectrum: the size and the effective rank of ΔW."""

from __future__ import annotations

import streamlit as st

from core.methods.roles import Layers
from core.numbers import listed, percent
from core.study.weights.change import run_of_seed
from core.study.weights.figures import NamedSpectrum, singular_value_figure
from core.study.weights.spectrum import ENERGY, spectrum_text
from pages.experiment.weights.focus import Focus
from pages.experiment.weights.numbers import spectrum_of, values_before
from pages.shared.experiment.measured import measured
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.figure_panel import show


def spectrum_part(focus: Focus) -> None:
    """Draw singular values and energy of one layer, and the table of all layers and arms."""
    # Of a network with blocks of layers, one layer is shown at a time.
    layers = [focus.layer] if Layers(tuple(focus.shapes)).blocks else list(focus.shapes)
    spectra = {
        run.id: {layer: measured(spectrum_of, focus.lab, run, layer) for layer in layers}
        for arm in focus.arms
        for run in arm.runs
    }
    chosen = {run_of_seed(arm, focus.seed).id for arm in focus.arms}
    changed = {run for run, layers in spectra.items() if layers[focus.layer].rank}
    lines = [
        NamedSpectrum(arm.label, focus.colours[arm.key], run.spec.seed, spectra[run.id][focus.layer], run.id in chosen)
        for arm in focus.arms
        for run in arm.runs
        if run.id in changed
    ]
    unchanged = [arm.label for arm in focus.arms if not changed & {run.id for run in arm.runs}]
    share = st.slider(
        "Share of energy",
        0.5,
        0.99,
        ENERGY,
        0.01,
        format="percent",
        key="energy",
        bind="query-params",
        width=320,
        help="The energy of ΔW is ‖ΔW‖², the sum of all σᵢ². The table shows the rank needed for this share.",
    )
    if lines:
        figure = singular_value_figure(lines, measured(values_before, focus.lab, focus.run, focus.layer))
        alt = f"Singular values of ΔW of {focus.layer}, one line per run, log scale"
        show(figure, focus.run.id, "singular-values", alt)
    if unchanged:
        st.caption(f"Not drawn, because training did not change {focus.layer}: {listed(unchanged)}.")
    dataframe(
        spectrum_text(focus.arms, spectra, share),
        hide_index=True,
        height="content",
        alt="Ranks and relative norm of ΔW of each layer and setting",
    )
    st.caption("Means over the seeds ± half the width of the 95 % interval.")
    st.expander("Formulas", icon=":material/function:").markdown(
        r"Fine-tuning adds a matrix to each weight, $W_{\text{new}} = W + \Delta W$. Every $\Delta W$ is a sum of "
        r"directions, $\Delta W = \sum_i \sigma_i\, u_i v_i^\top$, and $\sigma_i$ says how large the i-th one is. If "
        "they decrease quickly, a few directions make up most of the change. LoRA of rank $r$ has at most $r$ "
        "directions, full fine-tuning may use all. A direction with a small $\\sigma_i$ can still matter for the "
        f"{focus.measure.noun}: the Rank tab measures that.\n\n"
        f"**Rank for {percent(100 * share, 0)}**: the "
        r"smallest number of directions with this share of $\sum_i \sigma_i^2$. **Effective rank**: "
        r"$\exp(-\sum_i p_i \ln p_i)$ with $p_i = \sigma_i / \sum_j \sigma_j$ (Roy and Vetterli 2007). "
        r"**Stable rank**: $\sum_i \sigma_i^2 / \sigma_1^2$ (Rudelson and Vershynin 2007). "
        "**‖ΔW‖ / ‖W‖**: size of the change relative to the weight."
    )
