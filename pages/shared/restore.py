"""The offer to list again runs that have a folder but no place in the store."""

from __future__ import annotations

import streamlit as st

from core.errors import LabError
from core.lab import Lab
from core.store.restore import Restored
from pages.shared.literal import literal

DONE = "restored"
"""Where the session keeps what came of it, until it has been shown once."""


def offer_to_restore(lab: Lab) -> None:
    """Say what the store has lost, with the button that lists it again; nothing where nothing is lost."""
    restored: Restored | None = st.session_state.pop(DONE, None)
    if restored is not None:
        show = st.warning if restored.strays else st.success
        show(literal(restored.sentence), icon=":material/restore:")
    lost = lab.unlisted()
    if not lost:
        return
    runs = "1 run was" if len(lost) == 1 else f"{len(lost):,} runs were"
    with st.container(border=True):
        st.markdown(
            f"**{runs} trained here and {'is' if len(lost) == 1 else 'are'} not in the list.** Their folders are in "
            f"{literal(str(lab.settings.runs))}, but the store of runs, {literal(lab.settings.store.name)}, does not "
            "know them: it was lost, or replaced by an older or empty one. Restoring lists them again, with their "
            "curves, tags, notes and experiments, and deletes nothing."
        )
        if st.button("Restore these runs", icon=":material/restore:", type="primary", key="restore"):
            try:
                with st.spinner("Reading the folders of the runs"):
                    st.session_state[DONE] = lab.restore()
            except (LabError, OSError) as error:
                st.error(literal(str(error)))
            else:
                st.rerun()
