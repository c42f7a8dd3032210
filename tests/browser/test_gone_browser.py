"""A browser is closed during a run and opened again later: the run has finished, with its complete curve."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from core.lab import Lab
from core.settings import Settings
from tests.browser.conftest import SLOWED, choose_digits, new_context, run_server, stop_server
from tests.conftest import wait_until

pytestmark = pytest.mark.browser


def reach(chart: Locator) -> float:
    """Return the last step that a chart shows."""
    step = "chart => Math.max(0, ...(chart._fullData ?? []).flatMap(trace => [...(trace.x ?? [])]))"
    return float(chart.evaluate(step))


def test_a_run_finishes_without_its_browser_and_shows_its_whole_curve_later(chromium: Browser, tmp_path: Path) -> None:
    home = tmp_path / "home"
    server, url = run_server(SLOWED, tmp_path, {"LORA_LAB_DATA": "", "LORA_LAB_HOME": str(home)})
    lab = Lab(Settings(home=home))
    slow = home / "slow"
    slow.touch()  # ensures that the run outlives the page on any machine
    try:
        context = new_context(chromium)
        page = context.new_page()
        page.goto(f"{url}/pretrain")
        choose_digits(page, "Dataset")
        page.get_by_role("slider", name="Epochs").press("End")
        page.get_by_role("slider", name="Batch size").press("Home")
        expect(page.get_by_text("8,100", exact=True).first).to_be_visible()
        page.get_by_role("button", name="Start pretraining").click()
        wait_until(lambda: any(run.step for run in lab.runs(states=["running"])))
        chart = page.get_by_role("figure", name=re.compile("Training loss"))
        expect(chart).to_be_visible()
        wait_until(lambda: reach(chart) > 0)
        (run,) = lab.runs()
        context.close()  # in the middle of the run
        assert lab.run(run.id).is_live
        slow.unlink()

        wait_until(lambda: lab.run(run.id).state == "finished")
        assert lab.curve(run.id).step.tolist() == list(range(1, run.steps + 1))
        context = new_context(chromium)
        page = context.new_page()
        page.goto(f"{url}/runs?run={run.id}")
        expect(page.get_by_role("main").get_by_text("finished").first).to_be_visible()
        chart = page.locator(".js-plotly-plot").first
        expect(chart).to_be_visible()
        wait_until(lambda: reach(chart) == run.steps)
        context.close()
    finally:
        lab.close()
        stop_server(server)
