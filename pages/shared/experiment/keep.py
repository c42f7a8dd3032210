"""The choice to keep only some of the networks that an experiment trains, where all take much space."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.lab import Lab
from core.numbers import bytes_text
from core.run_spec import RunSpec

MUCH_SPACE = 500_000_000
"""Bytes of files from which on a form asks which networks are to be kept."""


def keep_networks(lab: Lab, specs: Sequence[RunSpec], key: str) -> bool:
    """Where whole networks take much space, draw the choice to keep only some; return whether only the chosen ones.

    Args:
        lab: knows how much runs store.
        specs: of all runs.
        key: prefix of the widget keys of the form.
    """
    size = lab.usage.expected(specs)
    if size < MUCH_SPACE:
        return False
    return st.toggle(
        f"Keep only the networks of chosen settings; all take {bytes_text(size)}",
        key=f"{key}-trim",
        persist_state="session",
        help="A run that trains the whole network stores it. Once all runs have ended, the networks of settings that "
        "validation did not choose are deleted; their results, curves and predictions stay, and so do all adapters.",
    )
