"""Where the tab Weights writes its formulas: behind what it found."""

from __future__ import annotations

import streamlit as st


def formulas(text: str) -> None:
    """Draw a closed expander with what is computed, and how. Args: text: Markdown."""
    with st.expander("Formulas", icon=":material/function:"):
        st.markdown(text)
