"""The verdict of an experiment as every page shows it: level, headline, and what it rests on."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from core.study.arms.verdict import Verdict
from core.study.arms.verdict_words import MEANINGS, explanation, headline
from core.study.stats.claims import Level
from pages.shared.literal import literal

COLOURS: dict[Level, Literal["green", "orange", "gray"]] = {
    Level.SHOWN: "green",
    Level.LEANING: "orange",
    Level.OPEN: "gray",
}


def level_badge(found: Verdict) -> None:
    """Draw a badge with the verdict's level, which its tooltip explains."""
    st.badge(found.level, color=COLOURS[found.level], help=MEANINGS[found.level])


def verdict_view(found: Verdict) -> None:
    """Draw badge, headline and explanation."""
    if not found.reason:
        level_badge(found)
    st.markdown(f"#### {literal(headline(found))}")
    if sentences := explanation(found):
        st.caption(literal(" ".join(sentences)))
