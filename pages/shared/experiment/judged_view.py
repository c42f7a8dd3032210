"""Results that others report, as every page shows them: the verdict, what they carry, figures, tables, the report."""

from __future__ import annotations

import streamlit as st

from core.answer.lines import headline
from core.errors import LabError
from core.lab import Lab
from core.store.judged import Judged
from core.study.report.answer import last_read
from core.study.report.html import report_html
from core.study.report.judged import REPORTED, carried, judged_evidence, judged_report, network_sentences
from pages.shared.experiment.verdict_view import checks_view, level_badge, verdict_view
from pages.shared.ui.download import download
from pages.shared.ui.figure_panel import section_view
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import when
from pages.shared.ui.primary import on_primary

PLACES = {"judge": "Judge", "compare": "Compare", "report": "Report"}
"""Pages that show reported results."""


def judged_view(lab: Lab, judged: Judged, page: str) -> None:
    """Draw the verdict on reported results, what they carry, their figures and tables, and links.

    Args:
        lab: has them.
        judged: which ones.
        page: that draws; Report has the question, the files and the words, too.
    """
    try:
        evidence = judged_evidence(lab, judged)
    except LabError as error:
        st.error(literal(str(error)))
        return
    report, is_report = judged_report(evidence), page == "report"
    files = ", ".join(file.name for file in judged.files)
    st.caption(f"{literal(REPORTED)} {literal(files)} · {when(judged.created)}")
    with st.container(border=True):
        verdict_view(evidence.verdict)
        for sentence in network_sentences(evidence):
            st.markdown(literal(sentence))
        checks_view(evidence.verdict, f"checks-{judged.id}")
    with st.container(horizontal=True, vertical_alignment="center"):
        title = "Report as one HTML file"
        download(
            on_primary(title) if is_report else title,
            lambda: report_html(report),
            f"{judged.id}-report.html",
            "text/html",
            "judged-report-file",
            kind="primary" if is_report else "secondary",
            help="A single file that works offline in any browser and can be printed.",
        )
        for name in (name for name in PLACES if name != page):
            link(name, PLACES[name], {"experiment": judged.id})
    with st.expander("What these results carry", icon=":material/info:", expanded=True, key=f"carried-{judged.id}"):
        st.markdown("\n".join(f"- {literal(sentence)}" for sentence in carried(evidence)))
    if judged.note:
        st.markdown(f"**Note:** {literal(judged.note)}")
    for warning in report.warnings:
        st.warning(literal(warning))
    if is_report:
        st.markdown(f"**The question:** {literal(report.question)}")
    for section in report.sections:
        st.subheader(literal(section.title))
        section_view(section, judged.id)
    for title, pairs in (("What was read", report.facts), ("Words", report.words)) if is_report else ():
        with st.expander(title, key=f"judged-{title}"):
            st.markdown("\n".join(f"- **{literal(name)}:** {literal(text)}" for name, text in pairs))


def judged_row(lab: Lab, judged: Judged) -> None:
    """Draw one row for a list: time, name and level, below them the answer, and a link."""
    try:
        found = last_read(lab, judged)
    except LabError as error:
        st.error(literal(str(error)))
        return
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(when(judged.created), width="content")
            st.markdown(f"**{literal(judged.name)}**", width="content")
            st.badge("reported by others", color="gray")
            level_badge(found)
            st.space("stretch")
            link("judge", "Open", {"experiment": judged.id})
        st.caption(literal(headline(found)))
