"""Judge: the verdict on results that others report."""

from __future__ import annotations

import streamlit as st

from core.lab import current
from pages.judge.about import ask_to_delete, files_read, name_and_note
from pages.judge.upload import upload_results
from pages.shared.experiment.current import asked_for, choose_experiment, judged_text, known
from pages.shared.experiment.judged_view import judged_view, report_button
from pages.shared.ui.links import link

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
answer = judged_view(lab, judged)
with st.container(horizontal=True, vertical_alignment="center"):
    if answer is not None:
        report_button(answer)
        link("compare", "Compare", {"experiment": judged.id})
        link("report", "Report", {"experiment": judged.id})
    name_and_note(lab, judged)
    if st.button("Delete", icon=":material/delete:", key="judged-ask"):
        ask_to_delete(lab, judged)
with st.expander("Files that were read", icon=":material/folder:", key="judged-files"):
    files_read(judged)
with st.expander("Add a file", icon=":material/add:", key="judged-more"):
    st.caption("Further seeds or settings. This is a further look at the results, and is counted.")
    upload_results(lab, judged)
