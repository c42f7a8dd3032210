"""The offer to restore runs that have a folder but no entry in the store."""

from __future__ import annotations

import streamlit as st

from core.errors import LabError
from core.lab import Lab
from core.store.restore import Restored
from pages.shared.ui.literal import literal
from pages.shared.ui.primary import on_primary

DONE = "restored"
"""Session state key: result of a restore, until it has been shown."""


def offer_to_restore(lab: Lab) -> None:
    """Show which runs the store has lost, with a button that restores them; draw nothing if none are lost."""
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
            f"**{runs} trained here but {'is' if len(lost) == 1 else 'are'} missing from the list.** The files are in "
            f"{literal(str(lab.settings.runs))}, but the database {literal(lab.settings.store.name)} has no entry for "
            "them: it was lost, or replaced by an older or empty one. Restoring adds the runs to the list again, with "
            "their curves, tags, notes and experiments. Nothing is deleted."
        )
        if st.button(on_primary("Restore these runs"), icon=":material/restore:", type="primary", key="restore"):
            try:
                with st.spinner("Reading the folders of the runs"):
                    st.session_state[DONE] = lab.restore()
            except (LabError, OSError) as error:
                st.error(literal(str(error)))
            else:
                st.rerun()
