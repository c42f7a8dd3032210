"""What an experiment's networks are good for: the adapter, trying networks, and how programs ask them."""

from __future__ import annotations

import streamlit as st

from core.lab import Lab
from core.store.record import Experiment
from pages.experiment.use.adapter import adapter_part
from pages.experiment.use.programs import programs_part
from pages.experiment.use.tryit import try_part

USES = {"Adapter": adapter_part, "Try it": try_part, "Programs": programs_part}


def uses(lab: Lab, experiment: Experiment) -> None:
    """Draw the choice of a use, and that use."""
    use = st.segmented_control(
        "Use",
        list(USES),
        default=next(iter(USES)),
        key="use",
        bind="query-params",
        required=True,
        label_visibility="collapsed",
    )
    USES[use](lab, experiment)
