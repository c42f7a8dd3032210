"""Try it in a real browser: a drawing is answered by every network after each stroke, and Clear takes it away."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from core.lab import Lab
from core.methods.dora import DoRASpec
from core.methods.lora import LoRASpec
from core.settings import Settings
from tests.browser.conftest import REPO, Serve
from tests.conftest import BOTH, compared, finish, short

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> str:
    home = tmp_path_factory.mktemp("tried") / "home"
    lab = Lab(Settings(home=home))
    lab.start()
    arms = [*BOTH, (short(), LoRASpec.of(rank=1)), (short(), DoRASpec.of(rank=2))]
    experiment = compared(lab, "rotation-45", "digits", None, short(epochs=5, rate=0.001), arms, seeds=[0])
    finish(lab, experiment.base, *experiment.runs)
    lab.close()
    return serve(REPO / "app.py", {"LORA_LAB_DATA": "", "LORA_LAB_HOME": str(home)})


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


def test_base_full_and_every_adapter_answer_a_drawn_seven(page: Page, url: str, console_errors: list[str]) -> None:
    page.goto(f"{url}/tryit")
    page.get_by_text("Draw", exact=True).click()
    expect(page.get_by_text("The networks answer after each stroke")).to_be_visible()
    canvas = page.get_by_role("img", name="A square to draw on with mouse, pen or finger.")
    draw_seven(page, canvas)
    told = page.locator('[aria-label^="The most probable class for each network."]')
    expect(told).to_be_visible()
    label = told.get_attribute("aria-label") or ""
    for network in ("Base", "Full", "LoRA r=4", "LoRA r=1", "DoRA r=2"):
        assert f"{network}: " in label
    expect(page.get_by_text("The base answered bit for bit")).to_be_visible()
    expect(page.get_by_role("img", name="The drawing as the networks see it")).to_be_visible()

    page.get_by_text("Source", exact=True).click()
    expect(page.get_by_text("Source: digits", exact=True)).to_be_visible()
    expect(told).to_be_visible()  # the drawing stays
    expect(told).not_to_have_attribute("aria-label", label)  # and is not turned any more

    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.get_by_text("The networks answer after each stroke")).to_be_visible()
    expect(told).to_have_count(0)
    # An image of a page that is drawn again at once may be gone before the browser has asked for it.
    assert [error for error in console_errors if "/media/" not in error] == []
