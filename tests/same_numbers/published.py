"""The reports in ``docs/reports`` as they are committed: their tables, their answers, and the dots of their figures."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from html import unescape
from typing import Any

from core.results.measures import quantity
from core.rule.claims import Difference, difference_of
from tests.same_numbers.figures import unpacked
from tests.same_numbers.homes import TESTS
from tests.same_numbers.printed import FIGURE

REPORTS = TESTS.parent / "docs" / "reports"
NAMES = ("rotation-45", "ten-shot", "split", "permutation", "fashion")

FULL = "Full"
CONTROLS = ("Head only", "Biases only", "From scratch")

TABLE = re.compile(r"<h3>(.*?)</h3><div class=\"scroll\"><table>(.*?)</table>", re.DOTALL)
ROW = re.compile(r"<tr>(.*?)</tr>", re.DOTALL)
CELL = re.compile(r"<t[hd]>(.*?)</t[hd]>", re.DOTALL)
SEED = re.compile(r"seed (\d+): ")

Row = dict[str, str]

ACCURACY = quantity("accuracy")


@dataclass(frozen=True)
class Published:
    """One report."""

    answer: str
    tables: dict[str, list[Row]]
    """Rows by title of the table, each with its cells by title of the column."""
    figures: dict[str, Any]
    """Plotly's JSON, by name of the figure."""

    @property
    def accuracy(self) -> dict[str, dict[int, float]]:
        """Accuracy of every run, by setting and seed: the dots of the figure."""
        dots = [
            trace for trace in self.figures["plot-accuracy-data"]["data"] if SEED.match("".join(trace.get("text", ())))
        ]
        return {
            trace["name"]: {
                int(SEED.findall(text)[0]): value for text, value in zip(trace["text"], trace["x"], strict=True)
            }
            for trace in dots
        }

    def minus(self, others: list[str], reference: str) -> list[Difference]:
        """The accuracy of settings minus that of another one."""
        found = self.accuracy
        return [difference_of(one, reference, found[one], found[reference], ACCURACY) for one in others]

    @property
    def adapters(self) -> list[str]:
        """The settings of LoRA, by rank."""
        return [name for name in self.accuracy if name not in (FULL, *CONTROLS)]

    @property
    def controls(self) -> list[str]:
        """The controls."""
        return [name for name in self.accuracy if name in CONTROLS]

    def table(self, beginning: str) -> list[Row]:
        """The rows of the table whose title begins with this."""
        (found,) = [rows for title, rows in self.tables.items() if title.startswith(beginning)]
        return found


@cache
def published(name: str) -> Published:
    """Read one of :data:`NAMES`."""
    html = (REPORTS / f"{name}.html").read_text(encoding="utf-8")
    tables = {}
    for title, text in TABLE.findall(html):
        head, *rows = [[unescape(cell) for cell in CELL.findall(row)] for row in ROW.findall(text)]
        tables[unescape(title)] = [dict(zip(head, row, strict=True)) for row in rows]
    answer = unescape(html.partition('<div class="answer">')[2].partition("</div>")[0])
    return Published(answer, tables, {id: unpacked(json.loads(text)) for id, text in FIGURE.findall(html)})


def readme_row(title: str, setting: str) -> list[str]:
    """The cells of a setting in a table of the README beside the reports.

    Args:
        title: how the title of the table begins.
        setting: the first cell of the row.
    """
    text = (REPORTS / "README.md").read_text(encoding="utf-8").partition(f"**{title}")[2]
    row = next(line for line in text.splitlines() if line.startswith(f"| {setting} |"))
    return [cell.strip() for cell in row.strip("|").split("|")][1:]
