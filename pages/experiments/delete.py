"""The dialog that confirms a deletion: what will be deleted, and what prevents it."""

from __future__ import annotations

import streamlit as st

from core.errors import LabError
from core.lab import Lab
from core.methods.method import Role
from core.numbers import bytes_text, count_text, counted, listed
from core.store.notes import DeletionEffects
from core.store.record import Run
from pages.experiments.table import select, selected
from pages.shared.experiment.current import QUERY as EXPERIMENT
from pages.shared.experiment.current import known
from pages.shared.ui.literal import literal
from pages.shared.ui.primary import on_primary

ASKED = "runs-to-delete"
"""Session state key: ids of the runs to delete; the dialog stays open as long as it is set."""

TYPED_ABOVE = 50
"""Number of runs, those of one page of the list, above which the dialog asks for their number to be typed."""

MAX_NAMED = 5
"""Number of runs that the dialog names; the rest are only counted."""


def ask_to_delete(ids: list[str]) -> None:
    """Open the dialog when the page is drawn next."""
    st.session_state[ASKED] = ids


def delete_dialog(lab: Lab) -> None:
    """Draw the dialog if it is open."""
    if ids := st.session_state.get(ASKED):
        _dialog(lab, ids)


def _close() -> None:
    st.session_state.pop(ASKED, None)


@st.dialog("Delete permanently?", icon=":material/delete:", on_dismiss=_close)
def _dialog(lab: Lab, ids: list[str]) -> None:
    of = st.query_params.get(EXPERIMENT, "")  # what is listed are the runs of this experiment
    effects = lab.notes.effects_of_deleting(ids, of)
    if not effects.runs and not effects.kept:
        st.info("These runs have been deleted already.")
        if st.button("Close", key="runs-delete-close"):
            _forget(lab, ids)
        return
    # Three fixed containers: a change inside one does not move the others.
    obstacles, summary, buttons = (
        st.container(),
        st.container(),
        st.container(horizontal=True, horizontal_alignment="right"),
    )
    with obstacles:
        if effects.dependents and _with_dependents(lab, effects):
            ids = [*ids, *effects.dependents]
            effects = lab.notes.effects_of_deleting(ids, of)
        if effects.running:
            _stop_first(lab, effects)
    with summary:
        _what_is_deleted(lab, effects)
        count = len(effects.runs)
        is_asked = count > TYPED_ABOVE
        typed = st.text_input(f"Type {count} to delete them", key="runs-delete-number") if is_asked else str(count)
        problem = st.empty()
    with buttons:
        if st.button("Cancel", key="runs-delete-cancel"):
            _close()
            st.rerun()
        sure = st.button(
            on_primary("Delete"),
            type="primary",
            icon=":material/delete:",
            key="runs-delete-sure",
            disabled=bool(effects.running or effects.dependents),
        )
    if sure and typed.strip() != str(count):
        problem.error(f"These are {count_text(count)} runs: type {count}, then press Delete.")
    elif sure:
        try:
            gone = lab.notes.delete(ids, of)
        except LabError as error:
            problem.error(literal(str(error)))
            return
        st.toast(f"{counted(len(gone), 'run')} deleted", icon=":material/delete:")
        _forget(lab, ids)


def _with_dependents(lab: Lab, effects: DeletionEffects) -> bool:
    """Ask whether to delete the runs that start from these as well."""
    bases = [run.id for run in lab.store.runs_of(effects.runs) if run.spec.role is Role.BASE]
    number = len(effects.dependents)
    verb = "run starts" if number == 1 else "runs start"
    base = "it" if len(bases) == 1 else "them"
    st.warning(f"{count_text(number)} other {verb} from {listed(bases[:3])} and cannot be kept without {base}.")
    return st.toggle(
        "Delete it as well" if number == 1 else f"Delete these {count_text(number)} as well",
        key="runs-delete-dependents",
    )


def _stop_first(lab: Lab, effects: DeletionEffects) -> None:
    count = len(effects.running)
    alone = count == len(effects.runs) == 1
    if alone:
        sentence = "It is still training. Stop it first."
    elif count == 1:
        sentence = "One of them is still training. Stop it first."
    else:
        sentence = f"{count} of them are still training. Stop them first."
    st.warning(sentence)
    st.button(
        "Stop it" if count == 1 else "Stop them",
        icon=":material/stop:",
        key="runs-delete-stop",
        on_click=lab.stop,
        args=effects.running,
        help="This takes about a second.",
    )


def _what_is_deleted(lab: Lab, effects: DeletionEffects) -> None:
    runs = lab.store.runs_of(effects.runs)
    if effects.kept:
        stay = "1 run stays" if len(effects.kept) == 1 else f"{count_text(len(effects.kept))} runs stay"
        have = "has it" if len(effects.kept) == 1 else "has them"
        st.markdown(f"{stay}, because another experiment {have} too.")
    st.markdown("\n".join(f"- {_name(run)}" for run in runs[:MAX_NAMED]))
    if len(runs) > MAX_NAMED:
        st.markdown(f"and {count_text(len(runs) - MAX_NAMED)} more.")
    contents = "its settings, curve and result" if len(runs) == 1 else "their settings, curves and results"
    size = lab.usage.of(effects.runs)
    files = f", and {bytes_text(size)} of files" if size else ""
    if runs:
        st.markdown(f"This deletes {contents}{files}. It cannot be undone.")
    if effects.experiments:
        names = [f"“{literal(name)}”" for name in effects.experiments[:3]]
        if len(effects.experiments) > 3:
            names.append(f"{count_text(len(effects.experiments) - 3)} more")
        noun, verb = ("experiment", "is") if len(effects.experiments) == 1 else ("experiments", "are")
        st.markdown(f"The {noun} {listed(names)} will have no runs left and {verb} deleted too.")


def _forget(lab: Lab, ids: list[str]) -> None:
    """Close the dialog and redraw the page without these runs."""
    _close()
    select([id for id in selected() if id not in ids])
    if (experiment := st.query_params.get(EXPERIMENT)) and known(lab, experiment) is None:
        del st.query_params[EXPERIMENT]
    st.rerun()


def _name(run: Run) -> str:
    return literal(f"{run.spec.label}, seed {run.spec.seed}, on {run.spec.task.dataset} · {run.state} · {run.id}")
