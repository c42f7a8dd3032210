"""What the review of any upload draws: what cannot be used, with the button that leaves it out, warnings, what was
counted, and of tables the choice of a column and the texts as a network reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeGuard, TypeVar

import pandas as pd
import streamlit as st

from core.data.dataset import Dataset, overlap_sentence
from core.data.uploads import Draft, Faults, short_name
from core.numbers import count_text
from pages.shared.ui.literal import errors_shown, literal

D = TypeVar("D", bound=Dataset)

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


def is_reviewed(draft: Draft[D] | str, what: str, key: str, remedy: str = "") -> TypeGuard[Draft[D]]:
    """Draw what an upload would become, with its warnings and counts; return whether it can be saved.

    Args:
        draft: what it would become, or why it can become nothing.
        what: the files or rows are, in the plural.
        key: of the choice to leave out what cannot be used.
        remedy: title of the switch above that leaves out what is repeated, named where that helps.
    """
    if isinstance(draft, str):
        st.error(literal(draft))
        return False
    if not are_left_out(draft.faults, what, key):
        return False
    st.markdown(literal(draft.line))
    overlap = overlap_sentence(draft.dataset)
    for warning in draft.warnings:
        helps = warning == overlap and draft.duplicates and not draft.without_duplicates
        more = f" *{remedy}*, above, keeps one of each." if helps and remedy else ""
        st.warning(literal(warning) + more, icon=":material/warning:")
    if draft.facts:
        facts = pd.DataFrame(draft.facts, columns=["Fact", "Value"]).set_index("Fact")
        st.table(facts, hide_header=True, alt="Lengths, and what is empty, repeated or in both parts")
    return True


def choose_column(title: str, among: Sequence[str | None], name: str | None, about: str, key: str) -> str | None:
    """Draw the choice of a column of a table.

    Args:
        title: of the choice.
        among: names of columns; None for no column.
        name: the one that is chosen at first.
        about: help.
        key: of the widget.
    """
    found: str | None = st.selectbox(
        title,
        among,
        among.index(name) if name in among else None,
        format_func=lambda name: "None" if name is None else short_name(name),
        key=key,
        placeholder="None",
        help=about,
        persist_state="session",
    )
    return found


def as_tokens(file_id: str, names: Mapping[str, str], draw: Callable[[str], None]) -> None:
    """Draw a fold in which a network is chosen, and what that network reads.

    Args:
        file_id: of the upload.
        names: titles of networks by what identifies them.
        draw: draws the first examples as one of them reads them.
    """
    fold = st.expander("As a network reads them", icon=":material/token:", key=f"tokens-{file_id}", on_change="rerun")
    if not fold.open:
        return
    with fold, errors_shown():
        draw(st.selectbox("Network", list(names), format_func=names.__getitem__, key=f"tokens-of-{file_id}"))


def _listed(faults: Sequence[str]) -> str:
    """Sentences as a list in markdown."""
    return "\n".join(f"- {literal(fault)}" for fault in faults)
