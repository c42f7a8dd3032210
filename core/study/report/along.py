"""The sections of a study's report: the figure along the axis, every point in numbers, and the learning rates."""

from __future__ import annotations

import pandas as pd

from core.study.arms.study import StudyAnswer
from core.study.arms.study_words import study_table
from core.study.arms.tables import rates_table
from core.study.arms.tuning import rate_choices
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


def rates_section(found: StudyAnswer, title: str) -> Section:
    """The learning rates that were tried and chosen at each point. Args: found: as above; title: of the section."""
    tables = []
    for at in found.points:
        table = rates_table(rate_choices(at.runs))
        table.insert(0, found.axis.title, found.axis.tick(at.point))
        tables.append(table)
    lead = "Learning rates were found at each point, for every method and rank alike, on one grid."
    return Section(title, lead, (Table("Learning rates", pd.concat(tables, ignore_index=True)),))
