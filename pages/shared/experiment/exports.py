"""A run's network as files for other tools, each with what was compared when it was made."""

from __future__ import annotations

import streamlit as st

from core.artifacts.exports import Format
from core.errors import LabError
from core.lab import Lab
from core.numbers import bytes_text
from core.store.record import Run
from pages.shared.ui.download import download_of_run
from pages.shared.ui.literal import literal

PROBLEM = "export-problem"
"""Session state key: run, kind of file, and why the last one could not be made."""


def export_files(lab: Lab, run: Run) -> None:
    """Draw the kinds of files that can hold a run's network: a button that makes each, then a link to it."""
    st.caption(
        "Each file is read by the tool that it is for, and compared with the trained network on the whole test part."
    )
    for form in lab.exports.offered(run):
        with st.container(border=True):
            with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
                st.markdown(f"**{form.title}**  \n{form.line}", width="stretch")
                known = lab.exports.known(run, form)
                if known is None:
                    st.button(
                        "Make and check",
                        icon=":material/build:",
                        key=f"export-{form.name}",
                        on_click=_make,
                        args=(lab, run, form),
                    )
                else:
                    size = bytes_text(known.path.stat().st_size)
                    download_of_run(f"Download ({size})", run.id, known.path.name, f"export-{form.name}")
            if known is not None:
                st.caption(literal(str(known.certificate)))
            problem = st.session_state.get(PROBLEM)
            if problem is not None and problem[:2] == (run.id, form.name):
                st.error(literal(problem[2]))


def _make(lab: Lab, run: Run, form: Format) -> None:
    st.session_state.pop(PROBLEM, None)
    try:
        lab.exports.make(run, form)
    except LabError as error:
        st.session_state[PROBLEM] = run.id, form.name, str(error)
    except OSError as error:
        st.session_state[PROBLEM] = run.id, form.name, f"The file cannot be written: {error.strerror or error}."
