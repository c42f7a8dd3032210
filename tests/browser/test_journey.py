"""What comes after a comparison, in a browser: start, watch, reload, stop, download, and load in PEFT.

The comparison itself, from the first press to its verdict, is in ``test_first_press.py``.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from playwright.sync_api import Locator, Page, expect

from core.adapter import apply_adapter, read_adapter
from core.networks.file import read_network
from tests.browser.conftest import REPO, SLOWED, Serve, downloaded
from tests.trained_home import TrainedHome

pytestmark = pytest.mark.browser

LONG = "8,100"
"""Optimizer steps per run in the test that stops runs; with slow training they take half an hour on any machine."""

TRAINING = re.compile(r"^0 of \d+ finished, \d+ running")
"""States of an experiment in training."""


@pytest.fixture(scope="module")
def url(serve: Serve, trained_home: TrainedHome, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A server with a finished comparison."""
    home = trained_home.copy(tmp_path_factory.mktemp("home") / "home")
    return serve(REPO / "app.py", {"LORA_LAB_DATA": "", "LORA_LAB_HOME": str(home)})


@pytest.fixture(scope="module")
def slowed(serve: Serve, trained_home: TrainedHome, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Start a server with a base; return its URL and the file that slows down its training while it exists."""
    home = trained_home.copy(tmp_path_factory.mktemp("home") / "home")
    return serve(SLOWED, {"LORA_LAB_DATA": "", "LORA_LAB_HOME": str(home)}), home / "slow"


def open_page(page: Page, url: str, title: str) -> None:
    page.goto(url)
    expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()


def press(page: Page, label: str, key: str, cost: str) -> None:
    """Move a slider to one of its ends, and wait until the page shows the new number of steps."""
    page.get_by_role("slider", name=label).press(key)
    expect(page.get_by_text(cost, exact=True)).to_be_visible()


def last_step(chart: Locator) -> float:
    return float(chart.evaluate("chart => Math.max(0, ...chart.data.flatMap(trace => [...trace.x]))"))


def test_a_run_survives_reload_and_a_second_tab_and_can_be_stopped(page: Page, slowed: tuple[str, Path]) -> None:
    url, slow = slowed
    slow.touch()
    open_page(page, f"{url}/finetune", "Fine-tune")
    expect(page.get_by_role("button", name="Start the experiment")).to_be_visible()
    press(page, "Epochs", "End", "1,050")
    press(page, "Batch size", "Home", LONG)
    page.get_by_role("button", name="Start the experiment").click()
    chart = page.get_by_role("figure", name=re.compile("Training loss of each setting"))
    expect(chart.locator(".main-svg").first).to_be_attached()
    page.wait_for_function("chart => chart.data.length > 0", arg=chart.element_handle())
    before = last_step(chart)
    page.wait_for_function(
        "([chart, step]) => Math.max(...chart.data.flatMap(trace => [...trace.x])) > step",
        arg=[chart.element_handle(), before],
    )

    page.reload()
    expect(page.get_by_text(TRAINING).first).to_be_visible()
    expect(chart.locator(".main-svg").first).to_be_attached()
    page.wait_for_function("chart => chart.data.length > 0", arg=chart.element_handle())
    assert last_step(chart) > before

    second = page.context.new_page()
    open_page(second, f"{url}/runs", "Runs")
    expect(second.get_by_text(TRAINING).first).to_be_visible()
    second.get_by_text("Stop single runs").click()
    # While a page's script runs, Streamlit has a button in the header that is called the same.
    second.get_by_test_id("stMain").get_by_role("button", name="Stop", exact=True).first.click()
    expect(page.get_by_text(re.compile("1 stopped")).first).to_be_visible()
    second.get_by_role("button", name="Stop all").click()
    second.get_by_role("button", name="Stop 15 runs").click()
    expect(second.get_by_role("button", name="Stop all")).to_have_count(0)
    second.close()
    expect(page.get_by_role("button", name="Stop all")).to_have_count(0)
    expect(page.get_by_text(re.compile("0 of 16 finished, 16 stopped")).first).to_be_visible()
    expect(page.get_by_role("link", name="Open the comparison")).to_be_visible()  # still known after the reload


def test_the_downloaded_adapter_loads_in_peft(page: Page, url: str, tmp_path: Path) -> None:
    open_page(page, f"{url}/adapters", "Adapters")
    files = {}
    expect(page.locator("[data-test-script-state=notRunning]")).to_be_attached()  # nothing moves any more
    merged = page.locator(".st-key-export-safetensors")
    merged.get_by_role("button", name="Make and check").click()
    expect(page.get_by_text("Read by torch")).to_contain_text("the same prediction for all 360 test examples")
    for link, name in [
        (page.get_by_role("link", name="Adapter for PEFT"), "adapter.zip"),
        (page.get_by_role("link", name="Base", exact=True), "base.safetensors"),
        (merged.get_by_role("link", name="Download"), "merged"),
    ]:
        files[name] = tmp_path / name
        downloaded(link).save_as(files[name])
    page.get_by_role("button", name="Verify again").click()
    expect(page.get_by_text("The adapter is valid")).to_be_visible()

    base = read_network(files["base.safetensors"])
    x = torch.rand(100, 784, generator=torch.Generator().manual_seed(1))
    ours = apply_adapter(base, read_adapter(files["adapter.zip"])).eval()(x)
    merged = read_network(files["merged"])(x)
    with zipfile.ZipFile(files["adapter.zip"]) as archive:
        archive.extractall(tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()(x)
    # Relative to the largest logit, as in the certificate, because rounding errors of float32 grow with it.
    scale = max(1.0, float(ours.detach().abs().max()))
    torch.testing.assert_close(theirs, ours, atol=1e-5 * scale, rtol=0)
    torch.testing.assert_close(theirs, merged, atol=1e-4 * scale, rtol=0)
