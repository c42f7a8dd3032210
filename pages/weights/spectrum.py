"""Weights, first part: how large ΔW is, and how many directions it has."""

from __future__ import annotations

import streamlit as st

from core.study.weights.figures import NamedSpectrum, energy_held, singular_values
from core.study.weights.spectrum import ENERGY
from core.study.weights.tables import spectrum_numbers, spectrum_text
from core.wording.csv_file import csv_of
from core.wording.numbers import percent
from pages.shared.figure_panel import show
from pages.weights.focus import Focus, same_seed
from pages.weights.numbers import spectra_of, values_before


def spectrum_part(focus: Focus) -> None:
    """Draw singular values and energy of one layer, and the table of all layers and arms."""
    st.markdown(
        r"Every $\Delta W$ is a sum of directions, $\Delta W = \sum_i \sigma_i\, u_i v_i^\top$, and $\sigma_i$ says "
        "how strong the i-th one is. A line that falls steeply means that a few directions do most of the work. LoRA "
        "of rank $r$ has exactly $r$ of them; full fine-tuning may use all. A small $\\sigma_i$ is not a useless one: "
        "what a direction is worth for the accuracy, the next tab measures."
    )
    spectra = {run.id: spectra_of(focus.lab, run) for arm in focus.arms for run in arm.runs}
    chosen = {run.id for _, run in same_seed(focus)}
    lines = [
        NamedSpectrum(arm.label, focus.colours[arm.key], run.spec.seed, spectra[run.id][focus.layer], run.id in chosen)
        for arm in focus.arms
        for run in arm.runs
    ]
    share = st.slider(
        "Energy to hold",
        0.5,
        0.99,
        ENERGY,
        0.01,
        format="percent",
        key="energy",
        bind="query-params",
        width=320,
        help="Share of ‖ΔW‖², the sum of all σᵢ².",
    )
    left, right = st.columns(2, gap="large")
    with left:
        figure = singular_values(lines, values_before(focus.lab, focus.run, focus.layer))
        show(
            figure,
            focus.run.id,
            "singular-values",
            f"Singular values of ΔW of {focus.layer}, one line per run, log scale",
        )
    with right:
        figure = energy_held(lines, share)
        show(figure, focus.run.id, "energy", f"Share of the energy of ΔW of {focus.layer} in its first r directions")
    arms = list(focus.arms)
    st.dataframe(
        spectrum_text(arms, spectra, share),
        hide_index=True,
        height="content",
        alt="Ranks and relative norm of ΔW of each layer and arm",
    )
    st.download_button(
        "Download CSV",
        lambda: csv_of(spectrum_numbers(arms, spectra, share)),
        f"{focus.experiment.id}-spectra.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="spectra-csv",
        help="One row per layer and run, with every singular value.",
    )
    st.caption(
        f"Means over the seeds ± half of the 95 % interval. **Rank for {percent(100 * share, 0)}**: the fewest "
        r"directions that hold this share of $\sum_i \sigma_i^2$. **Effective rank**: $\exp(-\sum_i p_i \ln p_i)$ with "
        r"$p_i = \sigma_i / \sum_j \sigma_j$ (Roy and Vetterli 2007). **Stable rank**: $\sum_i \sigma_i^2 / "
        r"\sigma_1^2$ (Rudelson and Vershynin 2007). **‖ΔW‖ / ‖W‖**: how far the layer moved, against its size before."
    )
