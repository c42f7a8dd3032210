"""Charts in a real browser: those that grow, the files of a chart, and those in the file of a report."""

from __future__ import annotations

import re
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from core.lab import Lab
from core.objectives.registry import CLASSIFICATION
from core.results.intervals import t_interval
from core.rule.budgets import Passed
from core.settings import Settings
from core.study.figures.intervals import passed_figure
from core.study.figures.style import export_html
from core.study.figures.tradeoffs import frontier_figure
from core.study.report.html import write_report
from core.study.report.report import report_of
from tests.browser.conftest import BACKGROUNDS, Serve, downloaded, module_of
from tests.conftest import wait_until
from tests.trained_home import TrainedHome

pytestmark = pytest.mark.browser

TICK = 0.5
PATIENCE = 5.0
"""Seconds after which a view asks again for a run of the script; see `live_view.js`."""

LATE = 5
ALT = "Loss by step of two runs."

SCRIPT = f"""
import plotly.graph_objects as go
import streamlit as st
from core.study.figures.style import layout_of
from pages.shared.ui.figure_panel import show
from pages.shared.ui.live_view import View, live_chart, live_view

def line(name, points):
    return {{"type": "scatter", "mode": "lines", "name": name, "uid": f"{{name}}:raw",
             "x": list(range(points)), "y": [1 / (1 + x) for x in range(points)]}}

@st.fragment(run_every={TICK})
def tick():
    st.session_state.points = st.session_state.get("points", 20) + 1
    traces = [line("full", st.session_state.points), line("lora", st.session_state.points)]
    live_chart({{"data": traces, "layout": {{"xaxis": {{"title": {{"text": "Step"}}}}}}}}, "loss", 320, "{ALT}")
    live_chart({{"data": [line("still", 9)], "layout": {{}}}}, "still", 200, "A chart whose data never changes.")

def live():
    if not st.toggle("Away"):
        tick()
    front, back = st.tabs(["Front", "Back"])
    with back:
        live_chart({{"data": [line("hidden", 9)], "layout": {{}}}}, "hidden", 200, "A chart behind a tab.")

def still():
    layout = layout_of("Title", "subtitle", "Step", "Loss") | {{"annotations": [{{"text": "note", "x": 1, "y": 2}}]}}
    lines = [{{"type": "scatter", "name": name, "x": [1, 2, 3], "y": [0, 1, 0]}} for name in ("full", "LoRA")]
    bar = {{"title": {{"text": "share"}}}}
    tiles = {{"type": "heatmap", "z": [[0, 1]], "x": [5, 6], "y": [0, 1], "colorbar": bar}}
    show(go.Figure([*lines, tiles], layout), "r-1", "loss", "All kinds of text in a chart.")

def news():
    st.session_state.scripts = st.session_state.get("scripts", 0) + 1
    looks = st.session_state.setdefault("looks", [])
    def look():
        looks.append(None)
        return View(words=f"look {{len(looks)}}", share=0.5, version="late" if len(looks) > {LATE} else "early")
    live_view(look, "news", {TICK / 2})
    st.caption(f"script {{st.session_state.scripts}}")

dict(live=live, news=news).get(next(iter(st.query_params), ""), still)()
"""

WORDS = {"Title", "subtitle", "Step", "Loss", "full", "LoRA", "note", "share"}
"""What is written in the chart that does not grow."""

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


@pytest.fixture(scope="module")
def url(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> str:
    return serve(module_of(tmp_path_factory.mktemp("script"), SCRIPT))


@pytest.fixture
def chart(page: Page, url: str) -> Locator:
    """A chart that grows."""
    page.goto(f"{url}/?live=1")
    loss = page.get_by_role("figure", name=ALT)
    expect(loss.locator(".main-svg").first).to_be_attached()
    return loss


def points(chart: Locator) -> int:
    return int(chart.evaluate("chart => chart.data[0].x.length"))


def wait_for_ticks(chart: Locator, ticks: int) -> None:
    target = points(chart) + ticks
    chart.page.wait_for_function(
        "([chart, target]) => chart.data[0].x.length >= target", arg=[chart.element_handle(), target]
    )


def view(chart: Locator) -> dict[str, object]:
    return dict(
        chart.evaluate(
            """chart => ({
                x: chart._fullLayout.xaxis.range, y: chart._fullLayout.yaxis.range,
                visible: chart._fullData.map(trace => trace.visible),
            })"""
        )
    )


def luminance(color: str) -> float:
    """Return the relative luminance of ``rgb(…)`` (WCAG 2.2)."""
    parts = [float(part) / 255 for part in re.findall(r"[\d.]+", color)[:3]]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def drawn_fill(chart: Locator, text: str) -> str:
    """Color of the first such text; looked for and read at once, since a drawing replaces texts."""
    fill = chart.page.wait_for_function(
        "([chart, text]) => { const e = chart.querySelector(text); return e && getComputedStyle(e).fill; }",
        arg=[chart.element_handle(), text],
    )
    return str(fill.json_value())


def saved(chart: Locator, path: Path) -> Path:
    """Press the camera of a chart's toolbar; return its PNG. Args: path: of the folder to save it in."""
    chart.hover()
    with chart.page.expect_download() as download:
        chart.locator(".modebar-btn").first.click()
    download.value.save_as(path / download.value.suggested_filename)
    return path / download.value.suggested_filename


def test_zoom_and_legend_choice_survive_new_data_and_only_changed_data_is_drawn(
    chart: Locator, page: Page, tmp_path: Path, console_errors: list[str]
) -> None:
    area = chart.locator(".nsewdrag").first.evaluate("e => e.getBoundingClientRect().toJSON()")
    mouse = page.mouse
    before = view(chart)
    mouse.move(area["x"] + 60, area["y"] + 30)
    mouse.down()
    mouse.move(area["x"] + 160, area["y"] + 90, steps=5)
    wait_for_ticks(chart, 2)  # new points must not interrupt a drag
    mouse.move(area["x"] + 260, area["y"] + 150, steps=5)
    mouse.up()
    page.wait_for_function("chart => chart.layout.xaxis.autorange === false", arg=chart.element_handle())
    chart.locator(".legendtoggle").nth(1).click()
    page.wait_for_function("chart => chart._fullData[1].visible === 'legendonly'", arg=chart.element_handle())

    chosen = view(chart)
    assert chosen["x"] != before["x"]
    assert chosen["visible"] == [True, "legendonly"]
    still = page.get_by_role("figure", name="A chart whose data never changes.")
    for drawn in (chart, still):
        drawn.evaluate("chart => { chart.draws = 0; chart.on('plotly_afterplot', () => { chart.draws += 1; }); }")
    wait_for_ticks(chart, 4)
    # On a busy machine, one drawing shows several ticks.
    page.wait_for_function("chart => chart.draws >= 4", arg=chart.element_handle())
    assert still.evaluate("chart => chart.draws") == 0
    assert view(chart) == chosen

    file = saved(chart, tmp_path)
    assert file.name == "loss.png"
    content = file.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(content[16:20], "big") == 2 * chart.evaluate("chart => chart._fullLayout.width")
    assert console_errors == []


def test_a_live_chart_is_readable_in_any_theme_fills_its_width_and_can_be_removed_and_drawn_again(
    chart: Locator, page: Page, console_errors: list[str]
) -> None:
    fills = set()
    for scheme in ("light", "dark", "light"):
        background = BACKGROUNDS[scheme]
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        expect(page.get_by_test_id("stApp")).to_have_css("background-color", background)
        wait_for_ticks(chart, 2)
        for text in (".xtick text", ".legendtext", ".xtitle"):
            # What began to be drawn in the theme before is drawn once more.
            wait_until(lambda text=text, at=background: contrast(drawn_fill(chart, text), at) >= 4.5)
            fills.add(drawn_fill(chart, text))
    assert len(fills) == 2

    for _ in range(2):
        page.get_by_text("Away").click()
        expect(chart).to_have_count(0)
        page.get_by_text("Away").click()
        expect(chart.locator(".main-svg").first).to_be_attached()
    wait_for_ticks(chart, 2)

    page.get_by_role("tab", name="Back").click()
    hidden = page.get_by_role("figure", name="A chart behind a tab.")
    expect(hidden.locator(".main-svg").first).to_be_visible()
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(
            "chart => Math.abs(chart._fullLayout.width - chart.clientWidth) <= 1", arg=hidden.element_handle()
        )
    assert console_errors == []


def test_a_missing_library_gives_a_message_and_is_retried_and_loaded_once(page: Page, url: str) -> None:
    page.route("**/plotly.min.js*", lambda route: route.abort())
    page.goto(f"{url}/?live=1")
    messages = page.get_by_role("alert").filter(has_text="The chart could not be loaded")
    expect(messages).to_have_count(2)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "plotly.min.js" in request.url else None)
    page.unroute("**/plotly.min.js*")
    expect(messages).to_have_count(0)
    expect(page.locator(".live-chart .main-svg").nth(1)).to_be_attached()
    asked.clear()
    page.reload()
    expect(page.locator(".live-chart .main-svg").nth(2)).to_be_attached()
    assert len(asked) == 1


def test_a_view_shows_what_the_server_says_and_the_script_runs_once_more_where_the_page_is_to_change(
    page: Page, url: str, console_errors: list[str]
) -> None:
    begun = time.monotonic()
    page.goto(f"{url}/?news=1")
    bar = page.get_by_role("progressbar", name=re.compile("^look "))

    def looks() -> int:
        return int(str(bar.get_attribute("aria-label")).split()[1])

    wait_until(lambda: looks() > LATE)
    expect(page.get_by_text("script 1", exact=True)).to_have_count(0)
    seen = looks()
    wait_until(lambda: looks() >= seen + LATE)
    runs = int(page.get_by_text(re.compile(r"^script \d+$")).inner_text().split()[1])
    again = (time.monotonic() - begun) // PATIENCE  # where the script takes so long to run
    assert 2 <= runs <= 2 + again, "of all looks, one found another version"
    assert bar.get_attribute("aria-valuenow") == "50"
    assert console_errors == []


def colors(pixels: np.ndarray[Any, Any]) -> list[str]:
    """Return the darkest and the lightest color of a part of an image, as CSS."""
    flat = pixels.reshape(-1, pixels.shape[-1])[:, :3]
    return [f"rgb{tuple(int(part) for part in flat[place(flat.sum(axis=1))])}" for place in (np.argmin, np.argmax)]


def test_files_of_a_chart_can_be_read_in_any_theme(page: Page, url: str, tmp_path: Path) -> None:
    """The PNG on a light and on a dark background, and the HTML, which is dark on white."""
    chart = page.locator(".js-plotly-plot")
    for theme, background in BACKGROUNDS.items():
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        page.goto(url)
        expect(chart.locator(".cbtitle")).to_be_attached()
        expect(page.get_by_test_id("stApp")).to_have_css("background-color", background)
        picture = Image.open(saved(chart, tmp_path)).convert("RGBA")
        texts = chart.evaluate(TEXTS)
        assert {text["text"] for text in texts} >= WORDS
        for behind in BACKGROUNDS.values():
            shown = Image.new("RGBA", picture.size, behind)
            shown.alpha_composite(picture)
            for text in texts:
                left, top, right, bottom = (max(0, round(2 * side)) for side in text["box"])
                drawn = colors(np.asarray(shown)[top:bottom, left:right])
                assert max(contrast(color, behind) for color in drawn) >= 4.5, (text, theme, behind)

    page.get_by_role("button", name="Download chart").click()
    for kind, begin in (("PNG", b"\x89PNG"), ("SVG", b"<svg")):
        downloaded(page.get_by_role("link", name=kind)).save_as(tmp_path / "chart")
        assert (tmp_path / "chart").read_bytes().startswith(begin), kind
    downloaded(page.get_by_role("link", name="HTML")).save_as(tmp_path / "chart.html")
    page.goto((tmp_path / "chart.html").as_uri())
    expect(chart.locator(".legendtext").first).to_be_attached()
    paper = chart.locator(".main-svg").first.evaluate("svg => getComputedStyle(svg).backgroundColor")
    assert paper == "rgb(255, 255, 255)"
    texts = chart.evaluate(TEXTS)
    assert {text["text"] for text in texts} >= WORDS
    assert [text for text in texts if contrast(text["fill"], paper) < 4.5] == []


BOXES = """
selector => [...document.querySelectorAll(selector)].filter((text) => text.textContent.trim()
  && getComputedStyle(text).opacity !== "0" && getComputedStyle(text).display !== "none").map((text) => {
    const box = text.getBoundingClientRect();
    return { text: text.textContent, left: box.left, right: box.right, top: box.top, bottom: box.bottom };
  })
"""


PASSED = Passed("LoRA r=4", "key", np.array([1, 2]), (t_interval([0.0, 1.0]), t_interval([1.0, 2.0])))


@pytest.mark.parametrize("figure", [frontier_figure([], {}), passed_figure([PASSED], CLASSIFICATION, {})])
def test_the_title_and_the_lines_of_a_subtitle_fit_a_phone_and_leave_the_axis_alone(
    page: Page, tmp_path: Path, figure: go.Figure
) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    (tmp_path / "figure.html").write_bytes(export_html(figure, "figure"))
    page.goto((tmp_path / "figure.html").as_uri())
    page.wait_for_selector(".js-plotly-plot .xtitle")
    lines = page.evaluate(BOXES, ".gtitle:not(.gtitle-subtitle), .gtitle-subtitle tspan")
    ticks = page.evaluate(BOXES, ".ytick text")
    assert len(lines) == 1 + figure.layout.title.subtitle.text.count("<br>") + 1
    assert max(line["right"] for line in lines) <= 390
    assert max(line["bottom"] for line in lines) <= min(tick["top"] for tick in ticks)


def test_a_report_draws_itself_from_the_disk_asks_nobody_and_is_printed(
    page: Page, trained_home: TrainedHome, tmp_path: Path, console_errors: list[str]
) -> None:
    with closing(Lab(Settings(home=trained_home.home))) as lab:
        write_report(tmp_path / "report.html", report_of(lab, trained_home.split))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "report.html").as_uri())
    page.wait_for_selector("body[data-drawn]")
    assert page.locator(".plot svg.main-svg").count() >= page.locator(".plot").count() > 5
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
    assert console_errors == []
    ink = "getComputedStyle(document.querySelector('.gtitle')).fill"
    light = page.evaluate(ink)
    page.emulate_media(color_scheme="dark")
    # Playwright's own waiting uses eval in the page, which the page's content security policy forbids.
    wait_until(lambda: page.evaluate(ink) != light)
    page.set_viewport_size({"width": 390, "height": 800})
    wait_until(lambda: page.evaluate("document.documentElement.scrollWidth <= 390"))
    wait_until(
        lambda: page.evaluate("Math.max(...[...document.querySelectorAll('.main-svg')].map(s => s.clientWidth))") <= 390
    )
    assert page.pdf()[:4] == b"%PDF"
