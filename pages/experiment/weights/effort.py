"""How many examples the tab Weights evaluates networks on: all of them, or some where the network is large."""

from __future__ import annotations

import streamlit as st

from core.forecast.forecast import plan
from core.methods.full import FullSpec
from core.numbers import count_text
from core.objectives.classification import ACCURACY
from pages.experiment.weights.focus import Focus

MAX_AT_ONCE = 2_000_000
"""Parameters up to which a network is evaluated on all examples without being asked."""

ALL = "All"
CHOICES = ("100", "400", ALL)


def is_quick(focus: Focus) -> bool:
    """Whether the network is small enough to be evaluated many times while a page waits."""
    return plan(focus.run.spec.network, FullSpec()).parameters <= MAX_AT_ONCE


def choose_limit(focus: Focus) -> tuple[bool, int | None]:
    """Draw a choice of how many examples to evaluate on, if the network is large; at first none is evaluated.

    Returns:
        Whether to evaluate; and the maximum number of examples of each part, None for all.
    """
    if is_quick(focus):
        return True, None
    known = " With 100 examples, an accuracy near 80 % is known to about 8 points, with 400 to about 4."
    chosen = st.segmented_control(
        "Examples to evaluate on",
        CHOICES,
        key="examples",
        bind="query-params",
        persist_state="session",
        help=f"Drawn at random from each part, always the same ones.{known if focus.measure == ACCURACY else ''}",
    )
    size = count_text(plan(focus.run.spec.network, FullSpec()).parameters)
    if chosen is None:
        st.caption(
            f"A network of {size} parameters takes seconds for each hundred examples, and this needs many "
            "evaluations: choose how many examples to use. Nothing is evaluated until then."
        )
        return False, None
    if chosen == ALL:
        return True, None
    st.caption(f"All {focus.measure.values_noun} that are measured here are on {chosen} examples of each part.")
    return True, int(chosen)
