"""The main section of a study's report: the figure along the axis, and every point in numbers."""

from __future__ import annotations

from core.study.arms.study import StudyAnswer
from core.study.arms.study_words import study_table
from core.study.figures.study import study_figure
from core.study.report.parts import Plot, Section, Table


def study_section(found: StudyAnswer) -> Section:
    """The section. Args: found: with at least one point that has results, and read."""
    alt = f"The measure along {found.axis.title.lower()}, and below it the difference from full fine-tuning"
    parts = (
        Plot("study", study_figure(found), alt),
        Table("Every point", study_table(found), "In brackets: the 95 % interval."),
    )
    return Section(found.axis.question, found.axis.line, parts)
