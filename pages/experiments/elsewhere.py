"""Results of other tools: files to judge, and what was judged before."""

from __future__ import annotations

import streamlit as st

from core.lab import Lab
from pages.shared.experiment.judged_row import judged_row
from pages.shared.experiment.results_upload import upload_results


def elsewhere_part(lab: Lab) -> None:
    """Draw the upload of results that other tools trained, and below it those that were judged, the newest first."""
    st.caption(
        "Results of the Trainer, TRL, Unsloth, Axolotl and others get the verdict of the same rule, as reported by "
        "others, not measured here."
    )
    upload_results(lab)
    for each in lab.judged.list():
        judged_row(lab, each)
