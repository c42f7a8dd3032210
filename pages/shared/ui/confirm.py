"""The two buttons that end a dialog about a deletion."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from pages.shared.ui.primary import on_primary


def delete_or_cancel(key: str, is_possible: bool, delete: Callable[[], None]) -> None:
    """Draw Delete and Cancel; either closes the dialog.

    Args:
        key: prefix of the widget keys.
        is_possible: whether nothing prevents the deletion.
        delete: deletes, before the page is drawn again.
    """
    with st.container(horizontal=True):
        answers = [
            st.button(
                on_primary("Delete"),
                type="primary",
                icon=":material/delete:",
                key=f"{key}-yes",
                disabled=not is_possible,
                on_click=delete,
            ),
            st.button("Cancel", key=f"{key}-no"),
        ]
    if any(answers):
        st.rerun()
