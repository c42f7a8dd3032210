"""Try it in a real browser: a drawing is answered by every network after each stroke, and Clear takes it away."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.trained_home import TrainedHome

pytestmark = pytest.mark.browser


def draw_seven(page: Page, canvas: Locator) -> None:
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None

    def at(x: float, y: float) -> tuple[float, float]:
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    page.mouse.move(*at(0.3, 0.25))
    page.mouse.down()
    page.mouse.move(*at(0.7, 0.25), steps=8)
    page.mouse.move(*at(0.45, 0.8), steps=8)
    page.mouse.up()


def test_base_full_and_every_adapter_answer_a_drawn_seven(
    page: Page, trained_site: str, trained_home: TrainedHome, console_errors: list[str]
) -> None:
    page.goto(f"{trained_site}/tryit?experiment={trained_home.split.id}")
    page.get_by_text("Draw", exact=True).click()
    expect(page.get_by_text("The networks answer after each stroke")).to_be_visible()
    canvas = page.get_by_role("img", name="A square to draw on with mouse, pen or finger.")
    draw_seven(page, canvas)
    told = page.locator('[aria-label^="The most probable class for each network."]')
    expect(told).to_be_visible()
    label = told.get_attribute("aria-label") or ""
    for network in ("Base", "Full", "LoRA r=2", "LoRA r=4", "DoRA r=4"):
        assert f"{network}: " in label
    expect(page.get_by_text("The base answered bit for bit")).to_be_visible()
    expect(page.get_by_role("img", name="The drawing as the networks see it")).to_be_visible()

    page.get_by_text("Source", exact=True).click()
    expect(page.get_by_text("Source: digits, classes 0–4", exact=True)).to_be_visible()
    expect(told).to_be_visible()  # the drawing stays
    expect(told).not_to_have_attribute("aria-label", label)  # and is not turned any more

    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.get_by_text("The networks answer after each stroke")).to_be_visible()
    expect(told).to_have_count(0)
    # An image of a page that is drawn again at once may be gone before the browser has asked for it.
    assert [error for error in console_errors if "/media/" not in error] == []
