"""What an answer looks like, on the first page of somebody who has none yet."""

from __future__ import annotations

import streamlit as st

from core.study.report.example import example, example_verdict
from pages.home.answer import evidence_of
from pages.shared.experiment.verdict_view import verdict_view
from pages.shared.ui.literal import literal


def example_answer() -> None:
    """Draw the answer of the experiment that ships with the project; no run of it can be opened."""
    shown = example()
    found = example_verdict()
    with st.container(border=True):
        st.caption(
            f"**Example: {literal(shown.name)}.** This is what an answer looks like. These {len(shown.runs)} runs were "
            "not trained on this machine; your own answer takes their place."
        )
        verdict_view(found)
        evidence_of(found, list(shown.runs), "example")
