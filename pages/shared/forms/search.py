"""How a form searches for learning rates, and whether it trains longer while a method still gets better."""

from __future__ import annotations

import streamlit as st

from core.networks.network import NetworkSpec
from core.plan.course import LONGER
from core.plan.rate_grid import TuneSpec, default_search
from core.run_spec import OptimSpec
from core.spec import bounds
from pages.shared.forms.optim import family_key


def search_form(key: str, network: NetworkSpec, optim: OptimSpec) -> TuneSpec:
    """Draw how long a search may train.

    Args:
        key: prefix of the form's widget keys.
        network: which one is fine-tuned.
        optim: how long it trains at first.
    """
    usual = default_search(network)
    about = bounds(TuneSpec, "longer")
    most = bounds(OptimSpec, "epochs").high or optim.epochs
    choices = [times for times in range(int(about.high or 0) + 1) if optim.epochs * LONGER**times <= most]
    times = st.segmented_control(
        about.title,
        choices,
        default=min(usual.longer, choices[-1]),
        format_func=lambda times: f"{optim.epochs * LONGER**times} epochs" if times else "No",
        help=about.description,
        key=f"{family_key(key, network)}-longer",
        persist_state="session",
        required=True,
    )
    return usual.but(longer=times)
