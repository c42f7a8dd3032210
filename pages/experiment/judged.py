"""Results that others report: the verdict, what they carry, figures and tables, and what can be done with them."""

from __future__ import annotations

import streamlit as st

from core.errors import LabError
from core.lab import Lab
from core.numbers import bytes_text
from core.store.judged import Judged
from core.store.notes import MAX_NOTE
from core.study.report.html import report_html
from core.study.report.judged import REPORTED, carried, judged_evidence, judged_report, network_sentences
from core.study.report.report import Report
from core.wording.tasks import MAX_NAME
from pages.shared.experiment.current import CURRENT, QUERY
from pages.shared.experiment.results_upload import upload_results
from pages.shared.experiment.verdict_view import checks_view, verdict_view
from pages.shared.ui.confirm import delete_or_cancel
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.download import download
from pages.shared.ui.figure_panel import section_view
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


def judged_part(lab: Lab, judged: Judged) -> None:
    """Draw the verdict on reported results, what they carry, their figures and tables, and how they are changed."""
    try:
        evidence = judged_evidence(lab, judged)
    except LabError as error:
        st.error(literal(str(error)))
        _manage(lab, judged)
        return
    report = judged_report(evidence)
    files = ", ".join(file.name for file in judged.files)
    st.caption(f"{literal(REPORTED)} {literal(files)} · {when(judged.created)}")
    with st.container(border=True):
        verdict_view(evidence.verdict)
        for sentence in network_sentences(evidence):
            st.markdown(literal(sentence))
        checks_view(evidence.verdict, f"checks-{judged.id}")
    _manage(lab, judged, report)
    with st.expander("What these results carry", icon=":material/info:", expanded=True, key=f"carried-{judged.id}"):
        st.markdown("\n".join(f"- {literal(sentence)}" for sentence in carried(evidence)))
    if judged.note:
        st.markdown(f"**Note:** {literal(judged.note)}")
    for warning in report.warnings:
        st.warning(literal(warning))
    for section in report.sections:
        st.subheader(literal(section.title))
        section_view(section, judged.id)
    for title, pairs in (("What was read", report.facts), ("Words", report.words)):
        with st.expander(title, key=f"judged-{title}"):
            st.markdown("\n".join(f"- **{literal(name)}:** {literal(text)}" for name, text in pairs))


def _manage(lab: Lab, judged: Judged, report: Report | None = None) -> None:
    """Draw the report as a file, name and note, what was read, a further file, and how all of it is deleted."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if report is not None:
            download(
                "Report as one HTML file",
                lambda: report_html(report),
                f"{judged.id}-report.html",
                "text/html",
                "judged-report-file",
                help="A single file that works offline in any browser and can be printed.",
            )
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
