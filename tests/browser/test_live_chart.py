"""The live chart in a real browser: zoom and legend choices survive new data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import BACKGROUNDS, Serve, module_of

pytestmark = pytest.mark.browser

TICK = 0.5
ALT = "Loss by step of two runs."

SCRIPT = f"""
import streamlit as st
from pages.shared.ui.live_chart import live_chart

def line(name, points):
    return {{"type": "scatter", "mode": "lines", "name": name, "uid": f"{{name}}:raw",
             "x": list(range(points)), "y": [1 / (1 + x) for x in range(points)]}}

@st.fragment(run_every={TICK})
def tick():
    st.session_state.points = st.session_state.get("points", 20) + 1
    traces = [line("full", st.session_state.points), line("lora", st.session_state.points)]
    live_chart({{"data": traces, "layout": {{"xaxis": {{"title": {{"text": "Step"}}}}}}}}, "loss", 320, "{ALT}")
    live_chart({{"data": [line("still", 9)], "layout": {{}}}}, "still", 200, "A chart whose data never changes.")

if not st.toggle("Away"):
    tick()
front, back = st.tabs(["Front", "Back"])
with back:
    live_chart({{"data": [line("hidden", 9)], "layout": {{}}}}, "hidden", 200, "A chart behind a tab.")
"""


@pytest.fixture(scope="module")
def url(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> str:
    return serve(module_of(tmp_path_factory.mktemp("script"), SCRIPT))


@pytest.fixture
def chart(page: Page, url: str) -> Locator:
    page.goto(url)
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


def test_zoom_and_legend_choice_survive_new_data(chart: Locator, console_errors: list[str]) -> None:
    area = chart.locator(".nsewdrag").first.evaluate("e => e.getBoundingClientRect().toJSON()")
    mouse = chart.page.mouse
    before = view(chart)
    mouse.move(area["x"] + 60, area["y"] + 30)
    mouse.down()
    mouse.move(area["x"] + 160, area["y"] + 90, steps=5)
    wait_for_ticks(chart, 2)  # new points must not interrupt a drag
    mouse.move(area["x"] + 260, area["y"] + 150, steps=5)
    mouse.up()
    chart.page.wait_for_function("chart => chart.layout.xaxis.autorange === false", arg=chart.element_handle())
    chart.locator(".legendtoggle").nth(1).click()
    chart.page.wait_for_function("chart => chart._fullData[1].visible === 'legendonly'", arg=chart.element_handle())

    chosen = view(chart)
    assert chosen["x"] != before["x"]
    assert chosen["visible"] == [True, "legendonly"]
    wait_for_ticks(chart, 4)
    assert view(chart) == chosen
    assert console_errors == []


def test_only_changed_data_is_drawn(chart: Locator, page: Page) -> None:
    still = page.get_by_role("figure", name="A chart whose data never changes.")
    for drawn in (chart, still):
        drawn.evaluate("chart => { chart.draws = 0; chart.on('plotly_afterplot', () => { chart.draws += 1; }); }")
    # On a busy machine, one drawing shows several ticks.
    page.wait_for_function("chart => chart.draws >= 4", arg=chart.element_handle())
    assert still.evaluate("chart => chart.draws") == 0


def test_a_chart_behind_a_tab_fills_its_width_when_the_tab_opens(chart: Locator, page: Page) -> None:
    page.get_by_role("tab", name="Back").click()
    hidden = page.get_by_role("figure", name="A chart behind a tab.")
    expect(hidden.locator(".main-svg").first).to_be_visible()
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(
            "chart => Math.abs(chart._fullLayout.width - chart.clientWidth) <= 1", arg=hidden.element_handle()
        )


def test_text_is_readable_in_light_and_dark(chart: Locator, page: Page, console_errors: list[str]) -> None:
    fills = set()
    for scheme in ("light", "dark", "light"):
        background = BACKGROUNDS[scheme]
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        expect(page.get_by_test_id("stApp")).to_have_css("background-color", background)
        wait_for_ticks(chart, 2)
        for text in (".xtick text", ".legendtext", ".xtitle"):
            fill = drawn_fill(chart, text)
            assert contrast(fill, background) >= 4.5, f"{text} in {scheme}: {fill} on {background}"
            fills.add(fill)
    assert len(fills) == 2
    assert console_errors == []


def test_a_chart_can_be_removed_and_drawn_again_without_errors(
    chart: Locator, page: Page, console_errors: list[str]
) -> None:
    for _ in range(2):
        page.get_by_text("Away").click()
        expect(page.get_by_role("figure", name=ALT)).to_have_count(0)
        page.get_by_text("Away").click()
        expect(page.get_by_role("figure", name=ALT).locator(".main-svg").first).to_be_attached()
    wait_for_ticks(chart, 2)
    assert console_errors == []


def test_plotly_is_loaded_once_per_page(page: Page, url: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "plotly.min.js" in request.url else None)
    page.goto(url)
    expect(page.locator(".live-chart .main-svg").nth(2)).to_be_attached()
    assert len(asked) == 1


def test_the_download_is_a_png_twice_as_wide_as_the_chart(chart: Locator, page: Page, tmp_path: Path) -> None:
    chart.hover()
    with page.expect_download() as download:
        chart.locator(".modebar-btn").first.click()
    assert download.value.suggested_filename == "loss.png"
    download.value.save_as(tmp_path / "loss.png")
    content = (tmp_path / "loss.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(content[16:20], "big") == 2 * chart.evaluate("chart => chart._fullLayout.width")


def test_a_missing_library_gives_a_message_and_is_retried(page: Page, url: str) -> None:
    page.route("**/plotly.min.js*", lambda route: route.abort())
    page.goto(url)
    messages = page.get_by_role("alert").filter(has_text="The chart could not be loaded")
    expect(messages).to_have_count(2)
    page.unroute("**/plotly.min.js*")
    expect(messages).to_have_count(0)
    expect(page.locator(".live-chart .main-svg").nth(1)).to_be_attached()
