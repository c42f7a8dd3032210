"""How much is stored, and what to delete where that is much."""

from __future__ import annotations

import streamlit as st

from core.lab import Lab
from core.wording.numbers import bytes_text

MUCH = 0.9
"""Share of the limit from which the page advises to delete."""


def space(lab: Lab) -> None:
    """A bar with what is stored, and where it is."""
    usage = lab.usage.measure()
    share = min(1.0, usage.total / usage.limit)
    st.progress(
        share,
        f"{bytes_text(usage.total)} of {bytes_text(usage.limit)} stored: {bytes_text(usage.runs)} of files, "
        f"{bytes_text(usage.store)} of curves and settings, {bytes_text(usage.datasets)} of datasets",
    )
    if share >= MUCH:
        st.warning(
            "New runs are refused when it is full. Order the list by largest files, or look into the archive, and "
            "delete what nobody needs."
        )
