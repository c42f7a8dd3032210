"""Time from a click in the navigation to the content of each page, with 600 runs in the store.

``python -m benchmarks.pages`` trains two experiments on digits (full fine-tuning and LoRA at four ranks, five learning
rates, twelve seeds), serves the app, and clicks through all pages in a real Chromium: while nothing trains, and while a
bank trains.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from benchmarks.dashboard import served
from benchmarks.labs import until
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.plan.configuration import preset_configuration
from core.plan.search import TuneSpec
from core.run_spec import OptimSpec
from core.settings import Settings
from pages.shared.ui.links import ENTRIES
from tests.browser.chromium import launched
from tests.launching import compare

PRESETS = ("rotation-45", "permutation")
"""Targets of the two experiments."""
RANKS = (1, 4, 16, 64)
RATES = 5
SEEDS = range(12)
WAIT_MS = 90_000

IS_THERE = """
(path) => {
  const app = document.querySelector('[data-testid="stApp"]');
  const main = document.querySelector('[data-testid="stMain"]');
  const charts = [...document.querySelectorAll('[data-testid="stPlotlyChart"]')];
  return location.pathname === path
    && app.dataset.testScriptState === "notRunning"
    && main.querySelector("h1") !== null
    && main.querySelector('[data-stale="true"], [data-testid="stSkeleton"]') === null
    && charts.every((chart) => chart.querySelector(".main-svg") !== null);
}
"""
"""Whether a page is there: its script has ended, nothing of the page before is left, and its charts are drawn."""


def queue(lab: Lab, preset: str, epochs: int) -> None:
    """Queue an experiment of 300 runs on digits."""
    optim = OptimSpec.of(epochs=epochs)
    methods = [FullSpec(), *(LoRASpec.of(rank=rank) for rank in RANKS)]
    arms = [(optim, method) for method in methods]
    asked = preset_configuration(lab.catalog, preset, "digits", None, OptimSpec.of(epochs=3), arms, list(SEEDS))
    compare(lab, asked.but(tune=TuneSpec(rates=RATES)))


def fill(home: Path) -> None:
    """Train both experiments in a home folder."""
    lab = Lab(Settings(home))
    lab.start()
    for preset in PRESETS:
        queue(lab, preset, epochs=3)
    until(lambda: not lab.live())
    print(f"{len(lab.store.runs())} runs", flush=True)
    lab.close()


@contextmanager
def training(home: Path) -> Iterator[None]:
    """Meanwhile, the served lab trains 300 runs that take longer than the measurement; they are stopped at the end."""
    lab = Lab(Settings(home))
    queue(lab, "inversion", epochs=1000)
    until(lambda: any(run.state == "running" for run in lab.live()))
    yield
    lab.stop(*(run.id for run in lab.live()))
    lab.close()


def clicked(page: Page, name: str) -> float:
    """Milliseconds from the click on a page's link to its content, by the page's clock."""
    path = "/" if name == "home" else f"/{name}"
    target = page.locator(f'[data-testid="stSidebarNav"] a[href$="{path}"]').first
    started = page.evaluate("performance.now()")
    target.click()
    page.wait_for_function(IS_THERE, arg=path, polling=10, timeout=WAIT_MS)
    return float(page.evaluate("performance.now()") - started)


def visits(page: Page, times: int) -> dict[str, dict[str, float]]:
    """Median and 95th percentile of each page, in seconds; the pages are visited by turns."""
    listed = [name for name, entry in ENTRIES.items() if entry.is_listed]
    found: dict[str, list[float]] = {name: [] for name in listed}
    for _ in range(times):
        for name in listed:
            found[name].append(clicked(page, name) / 1000)
    return {
        name: {
            "first": round(values[0], 2),
            "median": round(float(np.median(values)), 2),
            "p95": round(float(np.percentile(values, 95)), 2),
        }
        for name, values in found.items()
    }


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--visits", type=int, default=20, help="visits of each page (default 20)")
    parser.add_argument("--home", type=Path, help="home folder to use and keep, filled if it is new")
    arguments = parser.parse_args()
    result = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = arguments.home or Path(folder)
        if not (home / "lab.sqlite3").exists():
            fill(home)
        browser = launched(playwright)
        with served(home) as url:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(url)
            page.wait_for_function(IS_THERE, arg="/", polling=10, timeout=WAIT_MS)
            result["idle"] = visits(page, arguments.visits)
            print(json.dumps(result["idle"], indent=1), flush=True)
            with training(home):
                result["while_training"] = visits(page, arguments.visits)
        browser.close()
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
