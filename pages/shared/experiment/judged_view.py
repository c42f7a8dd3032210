"""Results that others report, as every page shows them: the verdict, what they carry, figures, tables, the report."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from core.errors import LabError
from core.lab import Lab
from core.store.judged import Judged
from core.study.arms.verdict_words import headline
from core.study.report.html import report_html
from core.study.report.judged import (
    REPORTED,
    JudgedAnswer,
    carried,
    judged_answer,
    judged_warnings,
    last_judged,
    network_sentences,
)
from core.study.report.judged_report import judged_report
from pages.shared.experiment.verdict_view import basis_view, level_badge, verdict_view
from pages.shared.ui.download import download
from pages.shared.ui.figure_panel import section_view
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import when
from pages.shared.ui.primary import on_primary


def judged_view(lab: Lab, judged: Judged) -> JudgedAnswer | None:
    """Draw the verdict on reported results, what they carry, and their figures and tables.

    Returns:
        The answer; None where there is none, which this says.
    """
    answer = _answer(lab, judged)
    if answer is None:
        return None
    _verdict(answer)
    for section in judged_report(answer).sections:
        st.subheader(literal(section.title))
        section_view(section, judged.id)
    return answer


def judged_report_view(lab: Lab, judged: Judged) -> None:
    """Draw the report on reported results, and offer it as a file."""
    answer = _answer(lab, judged)
    if answer is None:
        return
    _verdict(answer)
    report = judged_report(answer)
    with st.container(horizontal=True, vertical_alignment="center"):
        report_button(answer, primary=True)
        link("compare", "Compare", {"experiment": judged.id})
        link("judge", "Judge", {"experiment": judged.id})
    st.markdown(f"**The question:** {literal(report.question)}")
    for section in report.sections:
        st.subheader(literal(section.title))
        section_view(section, judged.id)
    _pairs("What cannot be concluded", [("", limit) for limit in report.limits])
    _pairs("What was read", list(report.facts))
    _pairs("Words", list(report.words))


def report_button(answer: JudgedAnswer, primary: bool = False) -> None:
    """Offer the report as one HTML file."""
    title = "Report as one HTML file"
    download(
        on_primary(title) if primary else title,
        lambda: report_html(judged_report(answer)),
        f"{answer.judged.id}-report.html",
        "text/html",
        "judged-report-file",
        kind="primary" if primary else "secondary",
        help="A single file that works offline in any browser and can be printed.",
    )


def judged_row(lab: Lab, judged: Judged) -> None:
    """Draw one row for a list: time, name and level, below them the answer, and a link."""
    answer = _answer(lab, judged, last_judged)
    if answer is None:
        return
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(when(judged.created), width="content")
            st.markdown(f"**{literal(judged.name)}**", width="content")
            st.badge("reported by others", color="gray")
            level_badge(answer.verdict)
            st.space("stretch")
            link("judge", "Open", {"experiment": judged.id})
        st.caption(literal(headline(answer.verdict)))


def _answer(lab: Lab, judged: Judged, of: Callable[[Lab, Judged], JudgedAnswer] = judged_answer) -> JudgedAnswer | None:
    try:
        return of(lab, judged)
    except LabError as error:
        st.error(literal(str(error)))
        return None


def _verdict(answer: JudgedAnswer) -> None:
    judged = answer.judged
    files = ", ".join(file.name for file in judged.files)
    st.caption(f"{literal(REPORTED)} {literal(files)} · {when(judged.created)}")
    with st.container(border=True):
        verdict_view(answer.verdict)
        for sentence in network_sentences(answer):
            st.markdown(literal(sentence))
        basis_view(answer.verdict, f"basis-{judged.id}")
    with st.expander("What these results carry", icon=":material/info:", expanded=True, key=f"carried-{judged.id}"):
        st.markdown("\n".join(f"- {literal(sentence)}" for sentence in carried(answer)))
    if judged.note:
        st.markdown(f"**Note:** {literal(judged.note)}")
    for warning in judged_warnings(answer):
        st.warning(literal(warning))


def _pairs(title: str, found: list[tuple[str, str]]) -> None:
    with st.expander(title, key=f"judged-{title}"):
        lines = (f"- **{literal(name)}:** {literal(text)}" if name else f"- {literal(text)}" for name, text in found)
        st.markdown("\n".join(lines))
