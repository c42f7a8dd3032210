"""Networks that people have imported, and ways to import others."""

from __future__ import annotations

import streamlit as st

from core.lab import Lab
from core.networks.causal import TESTED
from core.numbers import listed
from pages.library.importing import by_folder, by_hub_name, by_zip, known_networks
from pages.library.network_card import show_card
from pages.shared.ui.access import is_local


def networks_part(lab: Lab) -> None:
    """Draw the networks that were imported, and how others are."""
    mine, others = st.columns(2, gap="large")
    with mine:
        st.subheader("Your networks")
        cards = lab.networks.list()
        for card in cards:
            show_card(lab, card)
        if not cards:
            st.caption("Networks that you import are listed here.")
    with others:
        st.subheader(
            "Import a network",
            help="Any encoder or decoder of Hugging Face with weights as safetensors, to classify your texts; those "
            f"of {listed([*TESTED])} can also learn to continue texts. Each is checked once and kept on this machine. "
            "Networks for images or sound, encoders with a decoder, mixtures of experts and quantized weights are "
            "refused.",
        )
        known_networks(lab)
        by_hub_name(lab)
        if is_local():
            by_folder(lab)
        by_zip(lab)
