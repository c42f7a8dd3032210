"""Texts of a figure in a real browser at any width: none is cut, hidden or on top of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from playwright.sync_api import Page

from core.study.figures.curves import export_html
from core.study.figures.frontier import frontier_figure

pytestmark = pytest.mark.browser

BOXES = """
selector => [...document.querySelectorAll(selector)].filter((text) => text.textContent.trim()
  && getComputedStyle(text).opacity !== "0" && getComputedStyle(text).display !== "none").map((text) => {
    const box = text.getBoundingClientRect();
    return { text: text.textContent, left: box.left, right: box.right, top: box.top, bottom: box.bottom };
  })
"""


def texts(page: Page, file: Path, figure: go.Figure, width: int, selector: str) -> list[dict[str, Any]]:
    """Draw a figure in a window of this width, and return some of its texts and where they stand."""
    page.set_viewport_size({"width": width, "height": 800})
    file.write_bytes(export_html(figure, "figure"))
    page.goto(file.as_uri())
    page.wait_for_selector(".js-plotly-plot .xtitle")
    found: list[dict[str, Any]] = page.evaluate(BOXES, selector)
    return found


def test_the_lines_of_a_subtitle_fit_a_phone_and_leave_the_axis_alone(page: Page, tmp_path: Path) -> None:
    found = texts(page, tmp_path / "figure.html", frontier_figure([], {}), 390, ".gtitle-subtitle tspan, .ytick text")
    lines, ticks = ([box for box in found if len(box["text"]) > 9], [box for box in found if len(box["text"]) <= 9])
    assert len(lines) == 2
    assert max(line["right"] for line in lines) <= 390
    assert max(line["bottom"] for line in lines) <= min(tick["top"] for tick in ticks)
