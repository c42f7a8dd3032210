"""The question before runs are deleted: what goes, what stands against it, and then it is done or not."""

from __future__ import annotations

import streamlit as st

from core.errors import LabError
from core.lab import Lab
from core.store.notes import DeletionEffects
from core.store.record import Run
from core.wording.numbers import bytes_text, count_text, listed
from pages.runs.table import select, selected
from pages.shared.literal import literal

ASKED = "runs-to-delete"
"""In session state: ids of the runs that the question is about; it stays open however often the page is drawn."""

MOST_NAMED = 5
"""Runs that the question names; the others are counted."""


def ask_to_delete(ids: list[str]) -> None:
    """Open the question at the next drawing of the page."""
    st.session_state[ASKED] = ids


def delete_dialog(lab: Lab) -> None:
    """The question, while it is open."""
    if ids := st.session_state.get(ASKED):
        _question(lab, ids)


def _close() -> None:
    st.session_state.pop(ASKED, None)


@st.dialog("Delete for good?", icon=":material/delete:", on_dismiss=_close)
def _question(lab: Lab, ids: list[str]) -> None:
    effects = lab.notes.effects_of_deleting(ids)
    if not effects.runs:
        st.info("These runs have been deleted already.")
        if st.button("Close", key="runs-delete-close"):
            _forget(ids)
        return
    # Three places that are always there: what changes inside one leaves the others where they are.
    against, what, answer = st.container(), st.container(), st.container(horizontal=True, horizontal_alignment="right")
    with against:
        if effects.dependents and _with_dependents(lab, effects):
            ids = [*ids, *effects.dependents]
            effects = lab.notes.effects_of_deleting(ids)
        if effects.running:
            _stop_first(lab, effects)
    with what:
        _what_goes(lab, effects)
    with answer:
        if st.button("Keep", key="runs-delete-keep"):
            _close()
            st.rerun()
        sure = st.button(
            "Delete",
            type="primary",
            icon=":material/delete:",
            key="runs-delete-sure",
            disabled=bool(effects.running or effects.dependents),
        )
    if sure:
        try:
            gone = lab.notes.delete(ids)
        except LabError as error:
            st.error(literal(str(error)))
            return
        st.toast(f"{count_text(len(gone))} run{'' if len(gone) == 1 else 's'} deleted", icon=":material/delete:")
        _forget(ids)


def _with_dependents(lab: Lab, effects: DeletionEffects) -> bool:
    """Whether the runs that start from these shall go too."""
    bases = [run.id for run in lab.runs_of(effects.runs) if run.spec.method == "pretrain"]
    number = len(effects.dependents)
    verb = "run starts" if number == 1 else "runs start"
    st.warning(f"{count_text(number)} other {verb} from {listed(bases[:3])}, and cannot stay without it.")
    return st.toggle(
        "Delete it too" if number == 1 else f"Delete these {count_text(number)} too", key="runs-delete-dependents"
    )


def _stop_first(lab: Lab, effects: DeletionEffects) -> None:
    count = len(effects.running)
    alone = count == len(effects.runs) == 1
    st.warning("It is being trained: stop it first." if alone else f"{count} of them are being trained: stop first.")
    st.button(
        "Stop it" if count == 1 else "Stop them",
        icon=":material/stop:",
        key="runs-delete-stop",
        on_click=_stop,
        args=(lab, effects.running),
        help="This takes about a second.",
    )


def _stop(lab: Lab, ids: tuple[str, ...]) -> None:
    for id in ids:
        lab.stop(id)


def _what_goes(lab: Lab, effects: DeletionEffects) -> None:
    runs = lab.runs_of(effects.runs)
    st.markdown("\n".join(f"- {_name(run)}" for run in runs[:MOST_NAMED]))
    if len(runs) > MOST_NAMED:
        st.markdown(f"and {count_text(len(runs) - MOST_NAMED)} more.")
    what = "Its settings, curve and result" if len(runs) == 1 else "Their settings, curves and results"
    size = lab.usage.of(effects.runs)
    files = f", and {bytes_text(size)} of files" if size else ""
    st.markdown(f"{what} go{files}. Nothing brings them back.")
    if effects.experiments:
        names = [f"“{literal(name)}”" for name in effects.experiments[:3]]
        if len(effects.experiments) > 3:
            names.append(f"{count_text(len(effects.experiments) - 3)} more")
        noun = "experiment" if len(effects.experiments) == 1 else "experiments"
        st.markdown(f"With the last of their runs {'goes' if len(names) == 1 else 'go'} the {noun} {listed(names)}.")


def _forget(ids: list[str]) -> None:
    """Close the question and draw the page without these runs."""
    _close()
    select([id for id in selected() if id not in ids])
    st.rerun()


def _name(run: Run) -> str:
    return literal(f"{run.spec.label}, seed {run.spec.seed}, on {run.spec.task.dataset} · {run.state} · {run.id}")
