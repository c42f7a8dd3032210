"""Files of a chart can be read whatever the theme of their page: the PNG of its toolbar, and the HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import BACKGROUNDS, Serve, downloaded, module_of
from tests.browser.test_live_chart import contrast

pytestmark = pytest.mark.browser

SCRIPT = """
import plotly.graph_objects as go
from core.study.figures.style import layout_of
from pages.shared.ui.figure_panel import show

layout = layout_of("Title", "subtitle", "Step", "Loss") | {"annotations": [{"text": "note", "x": 1, "y": 2}]}
lines = [{"type": "scatter", "name": name, "x": [1, 2, 3], "y": [0, 1, 0]} for name in ("full", "LoRA")]
bar = {"title": {"text": "share"}}
tiles = {"type": "heatmap", "z": [[0, 1]], "x": [5, 6], "y": [0, 1], "colorbar": bar}
show(go.Figure([*lines, tiles], layout), "r-1", "loss", "All kinds of text in a chart.")
"""

TEXTS = """
chart => {
  const frame = chart.querySelector(".main-svg").getBoundingClientRect();
  return [...chart.querySelectorAll(":is(text, tspan):not(:has(tspan))")].filter((text) => text.textContent.trim())
    .map((text) => [text, text.getBoundingClientRect()])
    .map(([text, box]) => ({
      text: text.textContent, fill: getComputedStyle(text).fill,
      box: [box.left - frame.left, box.top - frame.top, box.right - frame.left, box.bottom - frame.top],
    }));
}
"""
"""Every text of a chart with its color, and where it stands in the chart."""

WORDS = {"Title", "subtitle", "Step", "Loss", "full", "LoRA", "note", "share"}


@pytest.fixture(scope="module")
def url(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> str:
    return serve(module_of(tmp_path_factory.mktemp("script"), SCRIPT))


def colors(pixels: np.ndarray[Any, Any]) -> list[str]:
    """Return the darkest and the lightest color of a part of an image, as CSS."""
    flat = pixels.reshape(-1, pixels.shape[-1])[:, :3]
    return [f"rgb{tuple(int(part) for part in flat[place(flat.sum(axis=1))])}" for place in (np.argmin, np.argmax)]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_of_a_png_stands_out_from_a_light_and_from_a_dark_background(
    page: Page, url: str, tmp_path: Path, theme: Any
) -> None:
    page.emulate_media(color_scheme=theme)
    page.goto(url)
    chart = page.locator(".js-plotly-plot")
    expect(chart.locator(".cbtitle")).to_be_attached()
    expect(page.get_by_test_id("stApp")).to_have_css("background-color", BACKGROUNDS[theme])
    chart.hover()
    with page.expect_download() as download:
        chart.locator(".modebar-btn").first.click()
    download.value.save_as(tmp_path / "chart.png")
    picture = Image.open(tmp_path / "chart.png").convert("RGBA")
    texts = chart.evaluate(TEXTS)
    assert {text["text"] for text in texts} >= WORDS
    for background in BACKGROUNDS.values():
        shown = Image.new("RGBA", picture.size, background)
        shown.alpha_composite(picture)
        for text in texts:
            left, top, right, bottom = (max(0, round(2 * side)) for side in text["box"])
            drawn = colors(np.asarray(shown)[top:bottom, left:right])
            assert max(contrast(color, background) for color in drawn) >= 4.5, (text, background)


def test_the_html_file_has_dark_text_on_white_in_any_theme(page: Page, url: str, tmp_path: Path) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(url)
    downloaded(page.get_by_role("link", name="Download chart")).save_as(tmp_path / "chart.html")
    page.goto((tmp_path / "chart.html").as_uri())
    chart = page.locator(".js-plotly-plot")
    expect(chart.locator(".legendtext").first).to_be_attached()
    paper = chart.locator(".main-svg").first.evaluate("svg => getComputedStyle(svg).backgroundColor")
    assert paper == "rgb(255, 255, 255)"
    texts = chart.evaluate(TEXTS)
    assert {text["text"] for text in texts} >= WORDS
    assert [text for text in texts if contrast(text["fill"], paper) < 4.5] == []
