"""The experiments before the one that Home shows: when each was asked, what it is called, and its answer."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from core.lab import Lab
from core.store.record import Experiment
from core.study.arms.verdict_words import headline
from core.study.report.answer import answer_of
from pages.shared.experiment.current import remember
from pages.shared.experiment.verdict_view import level_badge
from pages.shared.ui.in_view import ask_to_see
from pages.shared.ui.links import ENTRIES
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import when


def earlier(lab: Lab, experiments: Iterable[Experiment]) -> None:
    """Draw one row per experiment: time, name and level, below them the answer, and a link."""
    st.subheader("Earlier")
    for experiment in experiments:
        found = answer_of(lab, experiment, lab.members(experiment))
        with st.container(border=True, gap="small"):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.caption(when(experiment.created), width="content")
                st.markdown(f"**{literal(experiment.name)}**", width="content")
                level_badge(found)
                st.space("stretch")
                # A link to the page that is open leaves the address as it is.
                st.button(
                    "Open",
                    icon=ENTRIES["home"].icon,
                    key=f"open-{experiment.id}",
                    on_click=_open,
                    args=(experiment.id,),
                )
            st.caption(literal(headline(found)))


def _open(id: str) -> None:
    """Show an experiment, whose answer is far above on a small screen."""
    remember(id)
    ask_to_see(id)
