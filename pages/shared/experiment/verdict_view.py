"""The verdict of an experiment as every page shows it: level, headline, and what it rests on."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from core.study.arms.verdict import About, Verdict
from core.study.arms.verdict_words import MEANINGS, explanation, headline
from core.study.stats.claims import Level
from pages.shared.ui.literal import literal

COLOURS: dict[Level, Literal["green", "orange", "gray"]] = {
    Level.SHOWN: "green",
    Level.LEANING: "orange",
    Level.OPEN: "gray",
}


SCOPES = {About.METHODS: "", About.BUDGET: " for this budget", About.RATES: " at these rates"}


def level_of(found: Verdict) -> str:
    """The verdict's level, and what it is limited to, as in ``shown at these rates``."""
    return f"{found.level}{SCOPES[found.about] if found.claim is not None else ''}"


def level_badge(found: Verdict) -> None:
    """Draw a badge with the verdict's level, which its tooltip explains."""
    st.badge(level_of(found), color=COLOURS[found.level], help=MEANINGS[found.level])


def verdict_view(found: Verdict) -> None:
    """Draw headline, badge and explanation; see :func:`core.study.arms.verdict_words.explanation`."""
    is_given = not found.reason and not found.withheld
    badge = f" :{COLOURS[found.level]}-badge[{level_of(found)}]" if is_given else ""
    st.markdown(f"#### {literal(headline(found))}{badge}", help=MEANINGS[found.level] if is_given else None)
    if sentences := explanation(found):
        st.caption(literal(" ".join(sentences)))
