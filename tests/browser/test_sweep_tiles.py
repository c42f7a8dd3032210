"""A tile of a sweep's heat map opens its runs in Compare, by mouse, touch and keyboard."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
from playwright.sync_api import Browser, Page, expect

from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.run_spec import RunSpec
from core.settings import Settings
from tests.browser.conftest import REPO, Serve, new_context
from tests.conftest import DIGITS, TURNED, finish, short

pytestmark = pytest.mark.browser

ARMS = [(short(rate=0.001), FullSpec()), *((short(rate=0.005), LoRASpec.of(rank=rank)) for rank in (1, 2, 4))]
"""Full fine-tuning and three ranks, with one learning rate each."""

TWO_ALPHAS = [
    *ARMS,
    (short(rate=0.001), LoRASpec.of(rank=1)),
    *((short(rate=0.005), LoRASpec.of(rank=rank, alpha=16.0)) for rank in (1, 2, 4)),
]
"""Both alphas have the same ranks and learning rates, but not every combination of them."""

RANK_2 = "LoRA r=2, alpha 8, learning rate 0.005"


@pytest.fixture(scope="module")
def sweep(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """Return the URL of a Sweep page, the arms that Compare's URL should name, and the id of an older sweep."""
    home: Path = tmp_path_factory.mktemp("home")
    lab = Lab(Settings(home=home))
    lab.start()
    (base,) = finish(lab, lab.launch(RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001))).id)
    older = lab.fine_tune(base, TURNED, TWO_ALPHAS, [0], "Two alphas")
    finish(lab, *older.runs)
    runs = finish(lab, *lab.fine_tune(base, TURNED, ARMS, [0], "Sweep").runs)
    lab.close()
    full, lora = (next(r.spec for r in runs if r.spec.label == label) for label in ("Full", "LoRA r=2"))
    return f"{serve(REPO / 'app.py', {'LORA_LAB_HOME': str(home)})}/sweep", f"{lora.arm},{full.arm}", older.id


def opens_its_runs(page: Page, arms: str) -> None:
    expect(page.get_by_role("heading", name="Compare", exact=True)).to_be_visible()
    page.wait_for_url(lambda url: parse_qs(urlparse(url).query).get("arms") == [arms])


def test_a_click_and_a_key_open_the_runs_of_a_tile(
    page: Page, sweep: tuple[str, str, str], console_errors: list[str]
) -> None:
    url, arms, _ = sweep
    page.goto(url)
    tile = page.get_by_role("button", name=RANK_2)
    expect(tile).to_be_visible()
    tile.click()
    opens_its_runs(page, arms)
    page.get_by_role("link", name="Sweep").click()
    expect(tile).to_be_visible()
    tile.focus()
    page.keyboard.press("Enter")
    opens_its_runs(page, arms)
    assert console_errors == []


def test_the_first_touch_opens_the_tile_that_was_touched(chromium: Browser, sweep: tuple[str, str, str]) -> None:
    url, arms, _ = sweep
    context = new_context(chromium, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(url)
    tile = page.get_by_role("button", name=RANK_2)
    expect(tile).to_be_visible()
    tile.tap()
    opens_its_runs(page, arms)
    context.close()


def test_another_alpha_leaves_no_tile_of_the_one_before(page: Page, sweep: tuple[str, str, str]) -> None:
    url, _, older = sweep
    page.goto(f"{url}?experiment={older}&alpha=8")
    tiles = page.locator(".tile-map button")
    expect(tiles).to_have_count(5)
    page.get_by_role("radiogroup", name="Alpha").get_by_role("radio", name="16", exact=True).click()
    expect(page.get_by_role("button", name="LoRA r=2, alpha 16,")).to_be_visible()
    expect(page.get_by_role("button", name="alpha 8,")).to_have_count(0)
    expect(tiles).to_have_count(4)
