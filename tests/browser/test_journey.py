"""What comes after a comparison, in a browser: download and load in PEFT, start, watch, reload, leave, and stop.

The comparison itself, from the first press to its verdict, is in ``test_first_press.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
import torch
from peft import PeftModel
from playwright.sync_api import Browser, Locator, Page, expect

from core.adapter import apply_adapter, read_adapter
from core.lab import Lab
from core.networks.file import read_network
from core.settings import Settings
from tests.adapter.samples import unzip
from tests.browser.conftest import (
    LAB_APP,
    Serve,
    choose_digits,
    choose_one_rate,
    downloaded,
    new_context,
    open_dialog,
    settled,
)
from tests.conftest import finish, wait_until
from tests.trained_home import TrainedHome

pytestmark = pytest.mark.browser

LONG = "8,100"
"""Optimizer steps per run that nobody waits for; with slow training they take half an hour on any machine."""

TRAINING = re.compile(r"^0 of \d+ finished, \d+ running")
"""States of an experiment in training."""


@dataclass(frozen=True)
class Site:
    """A server with the trained home."""

    url: str
    lab: Lab
    """The same home beside the server."""
    slow: Path
    """While it exists, training is slow."""


@pytest.fixture(scope="module")
def site(serve: Serve, trained_home: TrainedHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = trained_home.copy(tmp_path_factory.mktemp("home") / "home")
    with closing(Lab(Settings(home=home))) as lab:
        yield Site(serve(LAB_APP, {"LORA_LAB_DATA": "", "LORA_LAB_HOME": str(home)}), lab, home / "slow")


def open_page(page: Page, url: str, title: str) -> None:
    page.goto(url)
    expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()


def press(page: Page, label: str, key: str, cost: str) -> None:
    """Move a slider to one of its ends, and wait until the page shows the new number of steps."""
    page.get_by_role("slider", name=label).press(key)
    expect(page.get_by_text(cost, exact=True).first).to_be_visible()


def last_step(chart: Locator) -> float:
    """The last step that a chart shows, once its figure is there; before that, 0."""
    step = "chart => Math.max(0, ...(chart._fullData ?? []).flatMap(trace => [...(trace.x ?? [])]))"
    return float(chart.evaluate(step))


def test_the_downloaded_adapter_loads_in_peft(page: Page, site: Site, tmp_path: Path) -> None:
    page.goto(f"{site.url}/adapters")
    expect(page.get_by_role("tab", name="Use it")).to_have_attribute("aria-selected", "true")
    files = {}
    settled(page)  # nothing moves any more
    merged = page.locator(".st-key-export-safetensors")
    merged.get_by_role("button", name="Make and check").click()
    expect(page.get_by_text("Read by torch")).to_contain_text(
        re.compile(r"the same prediction for all \d+ test examples")
    )
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
    theirs = PeftModel.from_pretrained(base, unzip(files["adapter.zip"].read_bytes(), tmp_path / "adapter")).eval()(x)
    # Relative to the largest logit, as in the certificate, because rounding errors of float32 grow with it.
    scale = max(1.0, float(ours.detach().abs().max()))
    torch.testing.assert_close(theirs, ours, atol=1e-5 * scale, rtol=0)
    torch.testing.assert_close(theirs, merged, atol=1e-4 * scale, rtol=0)


@pytest.mark.minutes  # the next test leaves its run alone, too, while the page is loaded again
def test_a_run_finishes_without_its_browser_and_shows_its_whole_curve_later(site: Site, chromium: Browser) -> None:
    site.slow.touch()  # ensures that the run outlives the page on any machine
    context = new_context(chromium)
    page = context.new_page()
    open_page(page, f"{site.url}/pretrain", "Library")
    choose_digits(page, "Dataset")
    press(page, "Epochs", "End", "1,050")
    press(page, "Batch size", "Home", LONG)
    page.get_by_role("button", name="Start pretraining").click()
    wait_until(lambda: any(run.step for run in site.lab.store.runs(states=["running"])))
    chart = page.get_by_role("figure", name=re.compile("Training loss"))
    expect(chart).to_be_visible()
    wait_until(lambda: last_step(chart) > 0)
    (run,) = site.lab.live()
    context.close()  # in the middle of the run
    assert site.lab.store.run(run.id).is_live
    site.slow.unlink()

    (run,) = finish(site.lab, run.id)
    assert run.state == "finished"
    assert site.lab.store.curve(run.id).step.tolist() == list(range(1, run.steps + 1))
    context = new_context(chromium)
    page = context.new_page()
    page.goto(f"{site.url}/runs?run={run.id}")
    expect(page.get_by_role("main").get_by_text("finished").first).to_be_visible()
    chart = page.locator(".js-plotly-plot").first
    expect(chart).to_be_visible()
    wait_until(lambda: last_step(chart) == run.steps)
    context.close()


def test_a_run_survives_reload_and_a_second_tab_and_can_be_stopped(
    page: Page, site: Site, trained_home: TrainedHome
) -> None:
    site.slow.touch()
    open_page(page, f"{site.url}/new?base={trained_home.plain.base}", "New experiment")
    expect(page.get_by_role("button", name="Start the experiment")).to_be_visible()
    choose_one_rate(page)
    press(page, "Shots", "Home", "210")
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
    looks: list[str] = []
    page.on("request", lambda request: looks.append(request.url))
    for _ in range(4):
        page.wait_for_event("response", lambda response: "-curves" in response.url)
    of_sidebar = sum("/sidebar-activity" in url for url in looks)
    assert of_sidebar >= 3, "the sidebar looks with the panel beside it, whose words it repeats"

    page.reload()
    expect(page.get_by_text(TRAINING).first).to_be_visible()
    expect(chart.locator(".main-svg").first).to_be_attached()
    page.wait_for_function("chart => chart.data.length > 0", arg=chart.element_handle())
    assert last_step(chart) > before

    second = page.context.new_page()
    open_page(second, f"{site.url}/runs", "Experiments")
    expect(second.get_by_text(TRAINING).first).to_be_visible()
    second.get_by_role("button", name="Stop all").click()
    single = second.get_by_test_id("stPopoverBody").get_by_role("button", name="Stop", exact=True)
    single.first.click()  # Streamlit's own in the header is called the same
    expect(page.get_by_text(re.compile("1 stopped")).first).to_be_visible()
    second.get_by_role("button", name="Stop 15 runs").click()
    expect(second.get_by_role("button", name="Stop all")).to_have_count(0)
    second.close()
    expect(page.get_by_role("button", name="Stop all")).to_have_count(0)
    expect(page.get_by_text(re.compile("0 of 16 finished, 16 stopped")).first).to_be_visible()
    expect(page).to_have_url(re.compile("/experiment"))


def select_row(page: Page, row: int, of: int) -> None:
    """Tick row ``row`` (from 0) in a list of ``of`` rows; the grid is a canvas, so rows are found by position."""
    frame = page.get_by_test_id("stDataFrame").first
    table = frame.locator(".dvn-scroller")
    expect(table).to_be_visible()
    box = frame.bounding_box()
    assert box
    table.click(position={"x": 17, "y": box["height"] / (of + 1) * (row + 1.5)})


def test_rows_of_runs_are_selected_which_the_address_says_and_deleted_after_a_question(
    page: Page, serve: Serve, trained_home: TrainedHome, tmp_path: Path, console_errors: list[str]
) -> None:
    lab = Lab(Settings(home=tmp_path / "home"))
    trained_home.bring(lab, str(trained_home.plain.base), *trained_home.plain.runs)
    newest = [run.id for run in lab.store.runs()]

    def says(*ids: str) -> None:
        page.wait_for_url(lambda url: parse_qs(urlparse(url).query).get("run", [""]) == [",".join(ids)])

    open_page(page, f"{serve(LAB_APP, {'LORA_LAB_HOME': str(lab.settings.home)})}/runs", "Experiments")
    expect(page.get_by_text("5 runs", exact=True)).to_be_visible()
    select_row(page, 0, of=5)
    expect(page.get_by_text("Reproduce this run")).to_be_visible()
    select_row(page, 1, of=5)
    expect(page.get_by_text("Settings that differ")).to_be_visible()
    says(*newest[:2])
    page.reload()
    chosen, dialog = page.get_by_role("heading", name="2 runs"), page.get_by_role("dialog")
    expect(chosen).to_be_visible()
    delete = page.get_by_role("button", name="Delete", exact=True).first
    open_dialog(delete, newest[0])
    dialog.get_by_role("button", name="Cancel", exact=True).click()
    expect(dialog).to_have_count(0)
    assert len(lab.store.runs()) == 5
    open_dialog(delete, newest[0])
    dialog.get_by_role("button", name="Delete", exact=True).click()
    expect(dialog).to_have_count(0)
    expect(chosen).to_have_count(0)
    assert [run.id for run in lab.store.runs()] == newest[2:]
    assert not (lab.settings.runs / newest[0]).exists()
    says()
    assert console_errors == []
    lab.close()
