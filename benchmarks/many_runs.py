"""Time to open the Runs page with many runs in the store.

``python -m benchmarks.many_runs`` trains three small runs, copies their rows and files 10,000 times, serves the app,
and opens the page in a real Chromium: first right after the start, then repeatedly.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.dashboard import served
from benchmarks.labs import until
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.plan.configuration import preset_configuration
from core.run_spec import OptimSpec
from core.settings import Settings
from tests.browser.chromium import launched
from tests.launching import compare

TABLES = ("runs", "losses", "epochs", "transitions", "log", "files")
"""Tables with rows of a run."""


def fill(home: Path, count: int) -> None:
    """Make a home folder with at least this many finished runs, each with curves and files."""
    lab = Lab(Settings(home))
    lab.start()
    optim = OptimSpec.of(epochs=2)
    base = compare(
        lab,
        preset_configuration(
            lab.catalog, "rotation-45", "digits", None, optim, [(optim, FullSpec()), (optim, LoRASpec.of())], [0]
        ),
    ).base
    until(lambda: not lab.live())
    templates = [run.id for run in lab.store.runs()]
    store = lab.settings.store
    lab.close()
    db = sqlite3.connect(store)
    columns = {name: [row[1] for row in db.execute(f"PRAGMA table_info({name})")] for name in TABLES}
    with db:
        for number in range(count):
            old, new = templates[number % len(templates)], f"r-copy-{number}"
            for name in TABLES:
                key = "id" if name == "runs" else "run"
                others = ", ".join(column for column in columns[name] if column != key)
                db.execute(
                    f"INSERT INTO {name} ({key}, {others}) SELECT ?, {others} FROM {name} WHERE {key} = ?",
                    (new, old),
                )
            shutil.copytree(home / "runs" / old, home / "runs" / new)
    db.close()
    print(f"{count} runs beside the base {base}", flush=True)


def opened(page: Page, url: str) -> float:
    """Seconds until the page shows its list and has finished running."""
    start = time.perf_counter()
    page.goto(f"{url}/runs")
    page.get_by_test_id("stDataFrame").wait_for(timeout=60_000)
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for(timeout=60_000)
    return time.perf_counter() - start


def visit(browser: Browser, url: str) -> tuple[float, float]:
    """Seconds to open the page in a new session, and to reload it."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    first, again = opened(page, url), opened(page, url)
    page.close()
    return first, again


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_runs", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="runs in the store (default 10000)")
    arguments = parser.parse_args()
    firsts, visits = [], []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        fill(Path(folder), arguments.runs)
        browser = launched(playwright)
        for _ in range(3):
            with served(Path(folder)) as url:
                page = browser.new_page()
                page.goto("about:blank")  # the browser has started before the measurement
                page.close()
                firsts.append(visit(browser, url)[0])
                visits += [visit(browser, url) for _ in range(5)]
        browser.close()
    print(
        json.dumps(
            {
                "first_visit_after_a_start_s": [round(seconds, 2) for seconds in firsts],
                "new_session_median_s": round(median(first for first, _ in visits), 2),
                "new_session_worst_s": round(max(first for first, _ in visits), 2),
                "reload_median_s": round(median(again for _, again in visits), 2),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
