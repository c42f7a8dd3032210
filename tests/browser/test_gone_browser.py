"""The browser goes away in the middle of a run and comes back after it: the run finished, with its whole curve."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from core.data.idx import SOURCES
from core.lab import Lab
from core.settings import Settings
from tests.browser.conftest import REPO, run_server, stop_server
from tests.conftest import wait_until
from tests.data.test_catalog import idx_files, put

pytestmark = pytest.mark.browser


def reach(chart: Locator) -> float:
    """The last step that a chart draws."""
    step = "chart => Math.max(0, ...(chart._fullData ?? []).flatMap(trace => [...(trace.x ?? [])]))"
    return float(chart.evaluate(step))


def test_a_run_finishes_without_its_browser_and_shows_its_whole_curve_later(chromium: Browser, tmp_path: Path) -> None:
    # Large enough that the run outlives the page on the fastest machine, small enough that it then ends soon.
    put(tmp_path / "data" / "MNIST" / "raw", idx_files(SOURCES[0], count=10_000))
    server, url = run_server(REPO / "app.py", tmp_path, {"LORA_LAB_DATA": str(tmp_path / "data")})
    lab = Lab(Settings(home=tmp_path / "home"))
    try:
        context = chromium.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.goto(f"{url}/pretrain")
        page.get_by_role("slider", name="Epochs").press("End", timeout=30_000)
        page.get_by_role("slider", name="Batch size").press("Home")
        expect(page.get_by_text("56,250", exact=True).first).to_be_visible(timeout=15_000)
        page.get_by_role("button", name="Start pretraining").click()
        wait_until(lambda: any(run.step for run in lab.runs(states=["running"])))
        chart = page.get_by_role("img", name=re.compile("Training and validation loss"))
        expect(chart).to_be_visible(timeout=30_000)
        wait_until(lambda: reach(chart) > 0)
        (run,) = lab.runs()
        context.close()  # in the middle of the run
        assert lab.run(run.id).is_live

        wait_until(lambda: lab.run(run.id).state == "finished", 120)
        assert lab.curve(run.id).step.tolist() == list(range(1, run.steps + 1))
        context = chromium.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.goto(f"{url}/runs?run={run.id}")
        expect(page.get_by_role("main").get_by_text("finished").first).to_be_visible(timeout=30_000)
        chart = page.locator(".js-plotly-plot").first
        expect(chart).to_be_visible(timeout=30_000)
        wait_until(lambda: reach(chart) == run.steps, 30)
        context.close()
    finally:
        lab.close()
        stop_server(server)
