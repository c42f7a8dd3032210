"""What is wrong with an upload: the files or rows that cannot be used, with the button that leaves them out, and
warnings.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.data.dataset import overlap_sentence
from core.data.uploads import Faults, PassageDraft, TextDraft
from core.numbers import count_text
from pages.shared.ui.literal import literal

SHOWN = 5
"""Faults that are shown at once; the others are in a fold."""


def are_left_out(faults: Faults, what: str, key: str) -> bool:
    """Draw what cannot be used with a button that leaves it out, or say that it is left out; return which of both.

    Args:
        faults: of the upload; nothing is drawn if there are none.
        what: the files or rows are, in the plural.
        key: of the choice; another file or column has another one.
    """
    if not faults.count:
        return True
    one = faults.count == 1
    named = f"1 {what.removesuffix('s')}" if one else f"{count_text(faults.count)} {what}"
    if st.session_state.get(key):
        st.info(f"{named} that cannot be used {'is' if one else 'are'} left out.", icon=":material/filter_alt:")
        return True
    st.warning(f"{named} cannot be used:\n\n{_listed(faults.told[:SHOWN])}")
    if others := faults.told[SHOWN:]:
        with st.expander(f"The other {count_text(faults.count - SHOWN)}", icon=":material/list:"):
            more = faults.count - len(faults.told)
            st.markdown(_listed(others) + (f"\n- … and {count_text(more)} more" if more else ""))
    if st.button("Leave these out", icon=":material/filter_alt:", key=f"{key}-button"):
        st.session_state[key] = True
        st.rerun()
    return False


def warnings_view(draft: TextDraft | PassageDraft, switch: str) -> None:
    """Draw what is to be known of an upload.

    Args:
        draft: what it would become.
        switch: title of the one above that leaves out what is repeated, named where that helps.
    """
    overlap = overlap_sentence(draft.dataset)
    for warning in draft.warnings:
        helps = warning == overlap and draft.duplicates and not draft.without_duplicates
        remedy = f" *{switch}*, above, keeps one of each." if helps else ""
        st.warning(literal(warning) + remedy, icon=":material/warning:")


def _listed(faults: Sequence[str]) -> str:
    """Sentences as a list in markdown."""
    return "\n".join(f"- {literal(fault)}" for fault in faults)
