"""Results that others report, as one row of a list."""

from __future__ import annotations

import streamlit as st

from core.answer.lines import headline
from core.errors import LabError
from core.lab import Lab
from core.store.judged import Judged
from core.study.report.answer import last_read
from pages.shared.experiment.verdict_view import level_badge
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import when


def judged_row(lab: Lab, judged: Judged) -> None:
    """Draw one row for a list: time, name and level, below them the answer, and a link."""
    try:
        found = last_read(lab, judged)
    except LabError as error:
        st.error(literal(str(error)))
        return
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(when(judged.created), width="content")
            st.markdown(f"**{literal(judged.name)}**", width="content")
            st.badge("reported by others", color="gray")
            level_badge(found)
            st.space("stretch")
            link("experiment", "Open", {"experiment": judged.id})
        st.caption(literal(headline(found)))
