"""Judge: the verdict on results that others report."""

from __future__ import annotations

import streamlit as st

from core.lab import Lab, current
from core.numbers import bytes_text
from core.store.judged import Judged
from core.store.notes import MAX_NOTE
from core.wording.tasks import MAX_NAME
from pages.judge.upload import upload_results
from pages.shared.experiment.current import CURRENT, QUERY, asked_for, choose_experiment, judged_text, known
from pages.shared.experiment.judged_view import judged_view
from pages.shared.ui.confirm import delete_or_cancel
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.literal import errors_shown, literal
from pages.shared.ui.pickers import when


def name_and_note(lab: Lab, judged: Judged) -> None:
    """Draw a popover with name and note."""
    with st.popover("Name and note", icon=":material/edit:", key=f"judged-about-{judged.id}"):
        name = st.text_input("Name", judged.name, max_chars=MAX_NAME, key=f"judged-name-{judged.id}")
        note = st.text_area("Note", judged.note, max_chars=MAX_NOTE, key=f"judged-note-{judged.id}")
        if st.button("Save", icon=":material/save:", key=f"judged-save-{judged.id}"):
            with errors_shown():
                lab.judged.rename(judged.id, name or "")
                lab.judged.set_note(judged.id, note or "")
                st.rerun()


@st.dialog("Delete these results?", icon=":material/delete:")
def ask_to_delete(lab: Lab, judged: Judged) -> None:
    """Ask whether to delete results."""

    def delete() -> None:
        lab.judged.delete(judged.id)
        if st.query_params.get(QUERY) == judged.id:
            del st.query_params[QUERY]
        st.session_state.pop(CURRENT, None)

    st.markdown(
        f"This deletes **{literal(judged.name)}** with its note and the record of its looks. The files that were read "
        "stay where they are, and nothing that was trained here is touched."
    )
    delete_or_cancel("judged-delete", True, delete)


lab = current()

st.title("Judge")
st.markdown(
    "Results of other tools, such as the Trainer, TRL, Unsloth or Axolotl, get the verdict of the same rule as "
    "experiments here: seeds are paired, intervals and levels computed, looks counted. Such results are **reported by "
    "others, not measured here**, and no sentence says more than they carry."
)
results = lab.judged.list()
asked = asked_for(lab, judged=True)
if asked and known(lab, asked) is not None:  # an experiment that another page shows
    asked = None

with st.expander("Judge results", icon=":material/upload_file:", expanded=not results, key="judge-new"):
    upload_results(lab)

if asked is None and "experiment" in st.query_params:
    del st.query_params["experiment"]
missing = f"There are no judged results {asked!r}; they may have been deleted."
judged = choose_experiment("Results", results, {each.id: judged_text(each) for each in results}, asked, missing)
if judged is None:
    st.stop()
judged_view(lab, judged, "judge")
with st.container(horizontal=True, vertical_alignment="center"):
    name_and_note(lab, judged)
    if st.button("Delete", icon=":material/delete:", key="judged-ask"):
        ask_to_delete(lab, judged)
with st.expander("Files that were read", icon=":material/folder:", key="judged-files"):
    read = [
        {"File": file.name, "SHA-256": file.sha256, "Size": bytes_text(file.bytes), "Read": when(file.at)}
        for file in judged.files
    ]
    dataframe(read, hide_index=True, alt="Files that were read, with their SHA-256")
with st.expander("Add a file", icon=":material/add:", key="judged-more"):
    st.caption("Further seeds or settings. This is a further look at the results, and is counted.")
    upload_results(lab, judged)
