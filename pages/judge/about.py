"""What is kept of judged results beside the verdict: name, note, files, and how to delete them."""

from __future__ import annotations

import streamlit as st

from core.errors import LabError
from core.lab import Lab
from core.numbers import bytes_text
from core.store.judged import Judged
from core.store.notes import MAX_NOTE
from core.wording.experiments import MAX_NAME
from pages.shared.experiment.current import CURRENT, QUERY
from pages.shared.ui.confirm import delete_or_cancel
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import when


def name_and_note(lab: Lab, judged: Judged) -> None:
    """Draw a popover with name and note."""
    with st.popover("Name and note", icon=":material/edit:", key=f"judged-about-{judged.id}"):
        name = st.text_input("Name", judged.name, max_chars=MAX_NAME, key=f"judged-name-{judged.id}")
        note = st.text_area("Note", judged.note, max_chars=MAX_NOTE, key=f"judged-note-{judged.id}")
        if st.button("Save", icon=":material/save:", key=f"judged-save-{judged.id}"):
            try:
                lab.judged.rename(judged.id, name or "")
                lab.judged.set_note(judged.id, note or "")
            except LabError as error:
                st.error(literal(str(error)))
                return
            st.rerun()


def files_read(judged: Judged) -> None:
    """Draw the files that were read, with their SHA-256."""
    st.dataframe(
        {
            "File": [file.name for file in judged.files],
            "SHA-256": [file.sha256 for file in judged.files],
            "Size": [bytes_text(file.bytes) for file in judged.files],
            "Read": [when(file.at) for file in judged.files],
        },
        hide_index=True,
        alt="Files that were read, with their SHA-256",
    )


@st.dialog("Delete these results?", icon=":material/delete:")
def ask_to_delete(lab: Lab, judged: Judged) -> None:
    """Ask whether to delete results."""
    st.markdown(
        f"This deletes **{literal(judged.name)}** with its note and the record of its looks. The files that were read "
        "stay where they are, and nothing that was trained here is touched."
    )
    delete_or_cancel("judged-delete", True, lambda: _delete(lab, judged.id))


def _delete(lab: Lab, id: str) -> None:
    lab.judged.delete(id)
    if st.query_params.get(QUERY) == id:
        del st.query_params[QUERY]
    st.session_state.pop(CURRENT, None)
