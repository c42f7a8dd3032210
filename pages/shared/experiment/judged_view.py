"""Results that others report, as every page shows them: the verdict, what they carry, figures, tables, the report."""

from __future__ import annotations

import streamlit as st

from core.answer.lines import headline
from core.errors import LabError
from core.lab import Lab
from core.store.judged import Judged
from core.study.report.answer import last_read
from core.study.report.html import report_html
from core.study.report.judged import (
    REPORTED,
    JudgedEvidence,
    carried,
    judged_evidence,
    judged_warnings,
    network_sentences,
)
from core.study.report.judged_report import judged_report
from pages.shared.experiment.verdict_view import checks_view, level_badge, verdict_view
from pages.shared.ui.download import download
from pages.shared.ui.figure_panel import section_view
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import when
from pages.shared.ui.primary import on_primary


def judged_view(lab: Lab, judged: Judged) -> JudgedEvidence | None:
    """Draw the verdict on reported results, what they carry, and their figures and tables.

    Returns:
        What it is based on; None where it cannot be read, which this says.
    """
    evidence = _evidence(lab, judged)
    if evidence is None:
        return None
    _verdict(evidence)
    for section in judged_report(evidence).sections:
        st.subheader(literal(section.title))
        section_view(section, judged.id)
    return evidence


def judged_report_view(lab: Lab, judged: Judged) -> None:
    """Draw the report on reported results, and offer it as a file."""
    evidence = _evidence(lab, judged)
    if evidence is None:
        return
    _verdict(evidence)
    report = judged_report(evidence)
    with st.container(horizontal=True, vertical_alignment="center"):
        report_button(evidence, primary=True)
        link("experiment", "Compare", {"experiment": judged.id})
        link("judge", "Judge", {"experiment": judged.id})
    st.markdown(f"**The question:** {literal(report.question)}")
    for section in report.sections:
        st.subheader(literal(section.title))
        section_view(section, judged.id)
    _pairs("What was read", list(report.facts))
    _pairs("Words", list(report.words))


def report_button(evidence: JudgedEvidence, primary: bool = False) -> None:
    """Offer the report as one HTML file."""
    title = "Report as one HTML file"
    download(
        on_primary(title) if primary else title,
        lambda: report_html(judged_report(evidence)),
        f"{evidence.judged.id}-report.html",
        "text/html",
        "judged-report-file",
        kind="primary" if primary else "secondary",
        help="A single file that works offline in any browser and can be printed.",
    )


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


def _evidence(lab: Lab, judged: Judged) -> JudgedEvidence | None:
    try:
        return judged_evidence(lab, judged)
    except LabError as error:
        st.error(literal(str(error)))
        return None


def _verdict(evidence: JudgedEvidence) -> None:
    judged = evidence.judged
    files = ", ".join(file.name for file in judged.files)
    st.caption(f"{literal(REPORTED)} {literal(files)} · {when(judged.created)}")
    with st.container(border=True):
        verdict_view(evidence.verdict)
        for sentence in network_sentences(evidence):
            st.markdown(literal(sentence))
        checks_view(evidence.verdict, f"checks-{judged.id}")
    with st.expander("What these results carry", icon=":material/info:", expanded=True, key=f"carried-{judged.id}"):
        st.markdown("\n".join(f"- {literal(sentence)}" for sentence in carried(evidence)))
    if judged.note:
        st.markdown(f"**Note:** {literal(judged.note)}")
    for warning in judged_warnings(evidence):
        st.warning(literal(warning))


def _pairs(title: str, found: list[tuple[str, str]]) -> None:
    with st.expander(title, key=f"judged-{title}"):
        st.markdown("\n".join(f"- **{literal(name)}:** {literal(text)}" for name, text in found))
