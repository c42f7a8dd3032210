"""The slider and the switches of the Weights page in a real browser, on wide and narrow screens."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
from playwright.sync_api import Page, expect

from core.data.task_spec import TaskSpec
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.record import Run
from core.wording.numbers import percent
from tests.browser.conftest import REPO, Serve
from tests.conftest import DIGITS, TURNED, finish, short, wait_until
from tests.networks.tiny import save_tiny

pytestmark = pytest.mark.browser

ARMS = [(short(rate=0.001), FullSpec()), (short(epochs=2), LoRASpec.of(rank=2)), (short(epochs=2), LoRASpec.of(rank=4))]


@pytest.fixture(scope="module")
def served(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Run]:
    """Return the URL of the Weights page for a LoRA run, and the run."""
    home: Path = tmp_path_factory.mktemp("home")
    lab = Lab(Settings(home=home))
    lab.start()
    (base,) = finish(lab, lab.launch(RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001))).id)
    runs = finish(lab, *lab.fine_tune(base, TURNED, ARMS, [0, 1], "Turned").runs)
    lab.close()
    lora = next(run for run in runs if run.spec.label == "LoRA r=4" and run.spec.seed == 0)
    url = serve(REPO / "app.py", {"LORA_LAB_HOME": str(home)})
    return f"{url}/weights?run={lora.id}", lora


def settled(page: Page, title: str, place: int, text: str) -> None:
    """Wait until a metric shows this value; the slider's metrics come before those of the switches."""
    found = page.get_by_test_id("stMetric").filter(has_text=title).nth(place).get_by_test_id("stMetricValue")
    expect(found).to_have_text(text)


def nothing_runs_off(page: Page) -> None:
    """Wait until the page does not scroll horizontally; charts follow its width, tables and tab bars scroll inside."""
    main = page.get_by_test_id("stMain")
    wait_until(lambda: main.evaluate("it => it.scrollWidth - it.clientWidth") <= 0)
    wait_until(lambda: page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0)


def test_the_slider_and_the_switches_answer_and_nothing_runs_off(
    page: Page, served: tuple[str, Run], console_errors: list[str]
) -> None:
    url, run = served
    result = run.result
    assert result is not None
    page.goto(f"{url}&view=Alpha+and+layers")
    settled(page, "Target", 0, percent(result.measures["accuracy"]))
    settled(page, "Target", 1, percent(result.measures["accuracy"]))

    thumb = page.get_by_role("slider", name="Alpha relative to the trained value")
    chart = page.locator(".live-chart .plotly")
    expect(chart).to_be_visible()
    thumb.focus()
    page.keyboard.press("Home")
    settled(page, "Target", 0, percent(result.measures["accuracy_before"]))
    settled(page, "Source", 0, percent(result.measures["source_accuracy_before"]))
    expect(page).to_have_url(re.compile(r"[?&]strength=0(\.0)?(&|$)"))
    expect(chart).to_be_visible()

    for layer in ("layers.0", "layers.2", "layers.4"):
        page.get_by_test_id("stCheckbox").filter(has_text=layer).locator("label").click()
        expect(page.get_by_role("switch", name=layer)).not_to_be_checked()
    settled(page, "Target", 1, percent(result.measures["accuracy_before"]))

    for view in ("Spectrum", "Rank", "Subspaces", "New directions", "Alpha and layers"):
        page.get_by_role("tab", name=view).click()
        panel = page.get_by_role("tabpanel").filter(visible=True)
        expect(panel.get_by_test_id("stCaptionContainer").last).to_be_visible()
        expect(page.get_by_test_id("stSpinner")).to_have_count(0)
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 900})
            nothing_runs_off(page)
    query = parse_qs(urlparse(page.url).query)
    assert (query["run"], query["layer"], query["view"]) == ([run.id], ["layers.0"], ["Alpha and layers"])
    assert console_errors == []


@pytest.fixture(scope="module")
def transformer(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of the Weights page for a tiny transformer that was fine-tuned."""
    home: Path = tmp_path_factory.mktemp("home")
    lab = Lab(Settings(home=home))
    lab.start()
    card = lab.networks.bring_folder(save_tiny(tmp_path_factory.mktemp("networks") / "tiny", "llama"))
    task = TaskSpec.of(dataset="definitions", shots=5, classes=(0, 1, 2), length=16)
    made = lab.fine_tune(lab.networks.spec(card.digest, 12), task, [(short(), FullSpec())], [0], "Tiny")
    finish(lab, *made.runs)
    lab.close()
    return f"{serve(REPO / 'app.py', {'LORA_LAB_HOME': str(home)})}/weights?experiment={made.id}"


def test_a_tile_of_the_map_opens_its_layer_by_keyboard_and_by_finger(
    page: Page, transformer: str, console_errors: list[str]
) -> None:
    page.set_viewport_size({"width": 390, "height": 900})
    page.goto(transformer)
    tiles = page.locator(".tile-map button")
    expect(tiles).to_have_count(14)
    nothing_runs_off(page)
    page.locator(".tile-map button[aria-label^='block 1, feed-forward gate']").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"layer=model\.layers\.1\.mlp\.gate_proj"))
    expect(page).to_have_url(re.compile(r"view=Spectrum"))
    expect(page.get_by_role("tab", name="Spectrum")).to_have_attribute("aria-selected", "true")
    page.get_by_role("tab", name="Map").click()
    # What is drawn of the last tab still answers: a press before the page has drawn this one changes no tab.
    expect(page).to_have_url(re.compile(r"^(?!.*view=)"))
    expect(page.locator("[data-test-script-state=notRunning]")).to_be_attached()
    page.locator(".tile-map button[aria-label^='block 0, attention value']").click()
    expect(page).to_have_url(re.compile(r"layer=model\.layers\.0\.self_attn\.v_proj"))
    expect(page.get_by_role("tabpanel").filter(visible=True).get_by_test_id("stDataFrame")).to_be_visible()
    nothing_runs_off(page)
    assert console_errors == []
