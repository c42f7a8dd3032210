"""Disk usage, with advice when it gets close to the limit."""

from __future__ import annotations

import streamlit as st

from core.lab import Lab
from core.numbers import bytes_text

WARNING_SHARE = 0.9
"""Share of the limit above which the page shows a warning."""


def usage_bar(lab: Lab) -> None:
    """Draw a bar of the disk usage by kind of data."""
    usage = lab.usage.measure()
    share = min(1.0, usage.total / usage.limit)
    st.progress(
        share,
        f"{bytes_text(usage.total)} of {bytes_text(usage.limit)} stored: {bytes_text(usage.runs)} of files, "
        f"{bytes_text(usage.store)} of curves and settings, {bytes_text(usage.datasets)} of datasets, "
        f"{bytes_text(usage.networks)} of networks",
    )
    if share >= WARNING_SHARE:
        st.warning(
            "New runs are refused when the limit is reached. Sort the list by largest files, or look through the "
            "archive, and delete runs that you no longer need."
        )
