"""A section as text for a terminal: its title, its line, and its tables; figures are for pages and files."""

from __future__ import annotations

from core.study.arms.tables import plain_table
from core.study.report.parts import Section, Table


def section_text(section: Section) -> str:
    """The section, lines of any length."""
    lines = [section.title, section.lead]
    for part in section.parts:
        if isinstance(part, Table):
            lines += ["", part.title, plain_table(part.frame)]
    return "\n".join(lines)
