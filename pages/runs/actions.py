"""What can be done with the selected runs, one or several at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from core.errors import LabError
from core.lab import Lab
from core.store.search import Entry
from core.study.arms.settings import share_base_and_task
from core.wording.numbers import count_text
from pages.runs.delete import ask_to_delete
from pages.runs.table import select
from pages.shared.links import link
from pages.shared.literal import literal

PROBLEM = "runs-problem"
"""In session state: why the last thing that was asked could not be done."""


def actions(lab: Lab, entries: Sequence[Entry]) -> None:
    """Draw a button for everything that these runs allow."""
    runs = [entry.run for entry in entries]
    ids = [run.id for run in runs]
    live = [run.id for run in runs if run.is_live]
    interrupted = [run.id for run in runs if run.state == "interrupted"]
    with st.container(horizontal=True, vertical_alignment="center"):
        if interrupted:
            # All at once: those that were trained together go on together.
            _button(
                "Resume",
                "play_arrow",
                lab.resume,
                interrupted,
                len(ids),
                type="primary",
                help="Goes on from its last checkpoint.",
            )
        if live:
            _button(
                "Stop",
                "stop",
                lambda ids: [lab.stop(id) for id in ids],
                live,
                len(ids),
                help="What has been learnt so far is kept.",
            )
        st.button(
            "Run again",
            icon=":material/replay:",
            key="runs-repeat",
            on_click=_attempt,
            args=(_repeat, lab, ids),
            help="Queues new runs of the same settings.",
        )
        if not all(entry.archived for entry in entries):
            st.button(
                "Archive",
                icon=":material/archive:",
                key="runs-archive",
                on_click=_attempt,
                args=(lab.notes.archive, ids),
                help="Keeps them out of sight.",
            )
        if any(entry.archived for entry in entries):
            st.button(
                "Unarchive",
                icon=":material/unarchive:",
                key="runs-unarchive",
                on_click=_attempt,
                args=(lab.notes.archive, ids, False),
                help="Brings them back into the list.",
            )
        if len(ids) > 1:
            _tag(lab, ids)
        st.button("Delete", icon=":material/delete:", key="runs-delete", on_click=ask_to_delete, args=(ids,))
        _compare_link(entries)
        st.button(
            "Clear selection",
            icon=":material/deselect:",
            key="runs-clear",
            type="tertiary",
            on_click=select,
            args=([],),
        )


def problem() -> None:
    """Say why the last thing that was asked could not be done, if so."""
    if sentence := st.session_state.pop(PROBLEM, None):
        st.error(literal(sentence))


def _button(
    label: str, icon: str, act: Callable[[list[str]], object], ids: list[str], of: int, **settings: Any
) -> None:
    """A button that does something to some of the selected runs, and says to how many."""
    st.button(
        label if len(ids) == of else f"{label} ({len(ids)} of {of})",
        icon=f":material/{icon}:",
        key=f"runs-{label.lower()}",
        on_click=_attempt,
        args=(act, ids),
        **settings,
    )


def _repeat(lab: Lab, ids: list[str]) -> None:
    new = lab.repeat(*ids)
    st.toast(f"{count_text(len(new))} run{'s' if len(new) > 1 else ''} queued", icon=":material/schedule:")


def _attempt(act: Callable[..., object], *arguments: object) -> None:
    """Do something; where it cannot be done, the page says why."""
    try:
        act(*arguments)
    except LabError as error:
        st.session_state[PROBLEM] = str(error)


def _tag(lab: Lab, ids: list[str]) -> None:
    with st.popover("Tag", icon=":material/label:"):
        tag = st.selectbox(
            "Tag for all of them",
            lab.search.tags(),
            index=None,
            accept_new_options=True,
            key="runs-tag-all",
            placeholder="Choose or write one",
        )
        st.button(
            "Add the tag", disabled=not tag, key="runs-tag-add", on_click=_attempt, args=(lab.notes.add_tag, ids, tag)
        )


def _compare_link(entries: Sequence[Entry]) -> None:
    """A link to Compare, where these runs can be compared."""
    runs = [entry.run for entry in entries]
    if len(runs) == 1 and runs[0].experiment:
        label, query = "Its comparison", {"experiment": runs[0].experiment}
    elif len(runs) > 1 and share_base_and_task(runs):
        label, query = "Compare", {"runs": ",".join(run.id for run in runs)}
    else:
        return
    link("compare", label, query)
