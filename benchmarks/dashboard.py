"""Costs of the dashboard: the round trip of a live update, and the speed of training with an open page.

``python -m benchmarks.dashboard`` serves the app, starts a pretrain run on MNIST in a real Chromium, and measures
in turn with the page open and closed.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
from playwright.sync_api import Page, sync_playwright

from benchmarks.data import mnist_folder
from core.store.record import Run
from core.store.store import Store
from tests.browser.chromium import launched

ROOT = Path(__file__).parents[1]
WINDOW = 8.0
"""Seconds per measurement, long enough for thousands of steps."""
SETTLE = 2.5
"""Seconds before a measurement, while a new page still loads its scripts."""
PAIRS = 8
"""Number of measurements with and without the page, in turn."""
RECORDER = """
window.trips = [];
const fetched = window.fetch;
window.fetch = async (source, ...rest) => {
  const asked = performance.now();
  const answer = await fetched(source, ...rest);
  if (!/live-curves$/.test(source)) return answer;
  const read = answer.json.bind(answer);
  answer.json = async () => {
    const content = await read();
    window.trips.push(performance.now() - asked);
    return content;
  };
  return answer;
};
"""
"""Script in the page that records how long each look of the live panel took, by the page's clock, in milliseconds:
from the question to when the page has read the answer.
"""


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(home: Path) -> Iterator[str]:
    """Serve the app on a free port with this home folder."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
    server = subprocess.Popen(
        [*command, "--server.port", str(port)],
        cwd=ROOT,
        env={**os.environ, "LORA_LAB_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://localhost:{port}"
    try:
        while True:
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(20)


def start_pretraining(page: Page, url: str) -> None:
    """Start a long run on the Pretrain page, like a user."""
    page.goto(f"{url}/pretrain")
    button = page.get_by_role("button", name="Start pretraining")
    button.wait_for(timeout=60_000)
    page.get_by_role("slider", name="Epochs").press("End")
    page.get_by_text("42,200", exact=True).wait_for(timeout=30_000)
    page.get_by_role("slider", name="Batch size").press("Home")  # enough steps for all measurements
    page.get_by_text(re.compile("^337,")).wait_for(timeout=30_000)
    button.click()
    page.get_by_role("button", name="Stop all").wait_for(timeout=60_000)


def running(store: Store) -> Run:
    """The run in training."""
    while not (runs := store.runs(states=["running"])):
        time.sleep(0.05)
    return runs[0]


def pace(store: Store, run: Run) -> float:
    """Steps per second over one window."""
    first, start = store.run(run.id).step, time.perf_counter()
    time.sleep(WINDOW)
    return (store.run(run.id).step - first) / (time.perf_counter() - start)


def measure() -> dict[str, object]:
    """All figures, for JSON."""
    mnist_folder()
    ticks, beside, alone = [], [], []
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as url, sync_playwright() as playwright:
        browser = launched(playwright)
        store = Store(Path(folder) / "lab.sqlite3")
        while len(alone) < PAIRS:
            page = browser.new_page()
            page.add_init_script(RECORDER)
            start_pretraining(page, url)
            run = running(store)
            # In turn, so that the progress of the run favours neither.
            for is_open in (True, False) if len(alone) % 2 else (False, True):
                page.goto(f"{url}/pretrain" if is_open else "about:blank")
                page.wait_for_timeout(SETTLE * 1000)
                seen = len(page.evaluate("window.trips")) if is_open else 0
                (beside if is_open else alone).append(pace(store, run))
                if is_open:
                    ticks += page.evaluate("window.trips")[seen:]
            store.ask_stop(run.id, owner=run.owner)
            while store.run(run.id).is_live:
                time.sleep(0.1)
            page.close()
        store.close()
        browser.close()
    return {
        "ticks": len(ticks),
        "tick_median_ms": float(np.median(ticks)),
        "tick_p95_ms": float(np.percentile(ticks, 95)),
        "steps_per_second_alone": median(alone),
        "steps_per_second_beside_a_page": median(beside),
        "pace_beside_a_page": median(b / a for b, a in zip(beside, alone, strict=True)),
    }


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
