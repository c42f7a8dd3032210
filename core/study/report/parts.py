"""A section of an answer as data: a title, a line, figures and tables."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go


@dataclass(frozen=True)
class Plot:
    """A figure of the report."""

    key: str
    figure: go.Figure
    alt: str
    """Alternative text."""


@dataclass(frozen=True)
class Table:
    """A table of the report, as text to read."""

    title: str
    frame: pd.DataFrame
    note: str = ""


@dataclass(frozen=True)
class Section:
    """Figures and tables that belong together."""

    title: str
    lead: str
    parts: tuple[Plot | Table, ...]
