"""The file that somebody has chosen to upload and not saved yet: one per session, which visits to other pages keep."""

from __future__ import annotations

from dataclasses import dataclass, replace

import streamlit as st

from core.data.uploads import MAX_BYTES

FILE = "upload-chosen"
"""Session state key: the file. The field itself is empty when somebody comes back from another page."""


@dataclass(frozen=True)
class ChosenFile:
    """A file in review, of at most :data:`core.data.uploads.MAX_BYTES`."""

    kind: str
    """Kind of data that it was chosen as."""
    id: str
    """Another one for each upload."""
    name: str
    content: bytes
    """Shared with Streamlit, which holds uploads until the session ends, and counts them (``app.held_uploads()``)."""


def chosen_file() -> ChosenFile | None:
    """The file in review, of any kind; None if there is none."""
    found: ChosenFile | None = st.session_state.get(FILE)
    return found


def take_as(kind: str, file: ChosenFile) -> ChosenFile:
    """Put the file in review as data of another kind."""
    taken = replace(file, kind=kind)
    st.session_state[FILE] = taken
    return taken


def forget_file() -> None:
    """End the review, without a trace of the file."""
    st.session_state.pop(FILE, None)


def file_field(kind: str, label: str, key: str) -> bool:
    """Draw a field for a file. A file in it replaces the one in review; emptying the field ends the review.

    Args:
        kind: of the data.
        label: of the field.
        key: of the field.

    Returns:
        Whether the field has a file.
    """

    def changed() -> None:
        if st.session_state[key] is None:
            forget_file()

    # Any type: the reader says what is wrong with a file, while the field would keep each refused one in its list.
    file = st.file_uploader(label, max_upload_size=MAX_BYTES // 2**20, key=key, on_change=changed)
    if file is None:
        return False
    chosen = chosen_file()
    if chosen is None or chosen.id != file.file_id:
        st.session_state[FILE] = ChosenFile(kind, file.file_id, file.name, file.getvalue())
    return True
