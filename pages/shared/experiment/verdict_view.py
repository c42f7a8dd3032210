"""The verdict of an experiment as every page shows it: level, headline, and what it rests on."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from core.errors import LabError
from core.lab import Lab
from core.study.arms.verdict import Verdict
from core.study.arms.verdict_words import MEANINGS, explanation, headline
from core.study.stats.claims import Level
from core.study.stats.images import CrossedInterval
from core.study.weights.predicted import over_images
from pages.shared.experiment.measured import measured
from pages.shared.ui.literal import literal

COLOURS: dict[Level, Literal["green", "orange", "gray"]] = {
    Level.SHOWN: "green",
    Level.LEANING: "orange",
    Level.OPEN: "gray",
}


def level_badge(found: Verdict) -> None:
    """Draw a badge with the verdict's level, which its tooltip explains."""
    st.badge(found.level, color=COLOURS[found.level], help=MEANINGS[found.level])


def verdict_view(lab: Lab, found: Verdict) -> None:
    """Draw headline, badge and explanation.

    Args:
        lab: has the predictions of the runs.
        found: what to draw.
    """
    verdict_text(found, _over_images(lab, found))


def verdict_text(found: Verdict, crossed: CrossedInterval | None) -> None:
    """Draw headline, badge and explanation; see :func:`core.study.arms.verdict_words.explanation`."""
    badge = "" if found.reason else f" :{COLOURS[found.level]}-badge[{found.level}]"
    st.markdown(f"#### {literal(headline(found))}{badge}", help=None if found.reason else MEANINGS[found.level])
    if sentences := explanation(found, crossed):
        st.caption(literal(" ".join(sentences)))


def _over_images(lab: Lab, found: Verdict) -> CrossedInterval | None:
    if found.told is None or found.full is None:
        return None
    try:
        return measured(over_images, lab, found.told.arm, found.full)
    except LabError:
        return None  # A network or the dataset is gone: the interval over seeds is all there is.
