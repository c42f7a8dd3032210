"""The table of figures in ``tests/README.md``, written from ``figures.json``: ``python -m tests.soak.figures``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.soak.sizes import FIGURES

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- figures: python -m tests.soak.figures -->", "<!-- end of figures -->"
ABOUT = ("date", "machine")
"""Keys that have their own columns."""


def table(figures: dict[str, dict[str, Any]]) -> str:
    """One row per test: what it measured, when and where."""
    lines = ["| test | measured | date | machine |", "| --- | --- | --- | --- |"]
    for name, values in sorted(figures.items()):
        measured = "; ".join(
            f"{key.replace('_', ' ')} {_shown(value)}" for key, value in values.items() if key not in ABOUT
        )
        lines.append(f"| {name} | {measured} | {values.get('date', '')} | {values.get('machine', '')} |")
    return "\n".join(lines)


def written(readme: str, figures: dict[str, dict[str, Any]]) -> str:
    """The text with an updated table.

    Raises:
        ValueError: the text has no place for it.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{README.name} lacks the lines {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n\n{table(figures)}\n\n{END}{after}"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")


if __name__ == "__main__":
    known = json.loads(FIGURES.read_text(encoding="utf-8"))
    README.write_text(written(README.read_text(encoding="utf-8"), known), encoding="utf-8")
