"""Many browsers on one server that go from page to page and start runs: nothing fails, and memory does not grow."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from benchmarks.dashboard import RECORDER
from core.lab import Lab
from core.networks.perceptron import PerceptronSpec
from core.run_spec import RunSpec
from core.settings import Settings
from pages.shared.ui.links import ENTRIES
from tests.browser.conftest import REPO, choose_digits, run_server, stop_server
from tests.conftest import BOTH, DIGITS, TURNED, short, wait_until
from tests.forked import Process
from tests.launching import fine_tune
from tests.soak.sizes import keep, later_thirds
from tests.soak.spoken import Speaker

pytestmark = [pytest.mark.browser, pytest.mark.minutes]

SESSIONS = 20
BROWSERS = int(os.environ.get("LORA_LAB_BROWSERS", "4"))
"""Number of real Chromium pages; the others use the websocket like a browser but render nothing. Twenty that render
need more than two cores: then the browsers are slow, not the server."""

ALL_BROWSERS = BROWSERS == SESSIONS
"""If so, it takes minutes until all have opened, and there must still be runs in training."""

SECONDS = 120.0

SLOW = 90_000
"""Maximum milliseconds for a page on a busy machine; the actual time is reported."""

MAX_GROWTH = 64 * 2**20
"""Maximum growth of the server's memory from the middle third to the last."""

STAY = 5.0
"""Seconds for which a session without a browser stays on a page."""

STARTED = 8
"""Number of runs that the first browser starts, besides those that are queued at the start."""

MAX_RATIO = 1.1
"""Maximum ratio of the last third to the middle one, before that growth is added."""

HEADINGS = {"Home": "Full fine-tuning or LoRA?", "Learn": "Learn LoRA"}
"""Of pages whose link says something else."""

PAGES = {entry.title: HEADINGS.get(entry.title, entry.title) for entry in ENTRIES.values() if entry.is_listed}
"""Heading of each page, by its link in the sidebar."""

WATCHED = ["Experiments", "Home"]
"""Pages that show runs in training; sessions stay on these."""


class Visitor:
    """One browser session with its own cookies, one page, and the errors that it showed."""

    def __init__(self, browser: Browser, url: str, number: int) -> None:
        self.url, self.number = url, number
        self.complaints: list[str] = []
        self.ticks: list[float] = []
        self.waits: list[float] = []
        self.context = browser.new_context(viewport={"width": 1440, "height": 900})
        self.page: Page = self.context.new_page()
        self.page.add_init_script(RECORDER)
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        walk = [name for pair in zip(itertools.cycle(WATCHED), PAGES, strict=False) for name in pair]
        self.walk = itertools.cycle(walk[number % len(walk) :] + walk[: number % len(walk)])

    def _note(self, message: ConsoleMessage) -> None:
        # On a deep link, Streamlit looks for its server below the page's path before the root.
        if message.type == "error" and "/_stcore/" not in message.location["url"]:
            self.complaints.append(f"console: {message.text}")

    def enter(self) -> None:
        self.page.goto(self.url, timeout=SLOW)
        self._see(HEADINGS["Home"])

    def step(self) -> None:
        """Check the current page, then open the next one with the sidebar."""
        self.check()
        name = next(self.walk)
        start = time.monotonic()
        link = self.page.get_by_test_id("stSidebarNav").get_by_role("link", name=name, exact=True)
        link.click(timeout=SLOW)
        self._see(PAGES[name])
        self.waits.append(time.monotonic() - start)

    def start_a_run(self) -> None:
        """Start pretraining on the digits with the form's defaults."""
        self.check()
        self.page.get_by_test_id("stSidebarNav").get_by_role("link", name="Pretrain", exact=True).click(timeout=SLOW)
        self._see("Pretrain")
        choose_digits(self.page, "Dataset")
        self.page.get_by_role("button", name="Start pretraining").click(timeout=SLOW)

    def check(self) -> None:
        """Record errors on the page, and how long its live updates took."""
        for fault in ("stException", "stAlertContentError", "stConnectionStatus"):
            for text in self.page.get_by_test_id(fault).all_inner_texts():
                self.complaints.append(f"{fault}: {text}")
        self.ticks += self.page.evaluate("() => window.trips.splice(0)")

    def _see(self, heading: str) -> None:
        main = self.page.get_by_test_id("stMain")
        expect(main.get_by_role("heading", name=heading, exact=True).first).to_be_visible(timeout=SLOW)


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[Process, str, Path]]:
    """A server with queued runs; its address and its folder."""
    network, optim = PerceptronSpec.of(num_classes=10), short(epochs=20)
    arms = [(rate.but(epochs=200 if ALL_BROWSERS else 50), lora) for rate, lora in BOTH]
    with closing(Lab(Settings(tmp_path / "home"))) as lab:  # not started, so that the server trains what it queues
        base = lab.launcher.launch(RunSpec.of(method="pretrain", network=network, task=DIGITS, optim=optim))
        fine_tune(lab, base, TURNED, arms, seeds=range(100 if ALL_BROWSERS else 20), name="crowd")
    server, url = run_server(REPO / "app.py", tmp_path, {"LORA_LAB_DATA": ""}, fresh=True)
    yield server, url, tmp_path
    stop_server(server)


def memory(server: Process) -> int:
    """Resident memory of a process in bytes."""
    return 1024 * int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(server.pid)]))


def live_runs(url: str) -> int:
    with urllib.request.urlopen(f"{url}/healthz", timeout=60) as answer:
        return int(json.load(answer)["live_runs"])


@pytest.mark.timeout(1800)
def test_a_crowd_sees_no_error_and_the_server_does_not_grow(chromium: Browser, busy: tuple[Process, str, Path]) -> None:
    server, url, folder = busy
    port = int(url.rpartition(":")[2])
    paths = ["", "experiments", "library", "experiments", "new", "experiment", "library", "learn"]
    crowd = [Visitor(chromium, url, number) for number in range(BROWSERS)]
    speakers = [Speaker(port, paths, STAY, number) for number in range(SESSIONS - BROWSERS)]
    for visitor in crowd:
        visitor.enter()
    for speaker in speakers:
        speaker.start()
    start = time.monotonic()
    grown: list[int] = []
    busy_looks = []
    turns = itertools.cycle(crowd)
    for turn in itertools.count():
        # However slow the machine is, every browser steps, and there is memory to compare.
        if time.monotonic() - start > SECONDS and turn >= max(3, BROWSERS):
            break
        visitor = next(turns)
        if visitor.number == 0 and turn < STARTED * BROWSERS:
            visitor.start_a_run()
        else:
            visitor.step()
        grown.append(memory(server))
        busy_looks.append(live_runs(url) > 0)
    for visitor in crowd:
        visitor.check()
        visitor.context.close()
    for speaker in speakers:
        speaker.leave()
    wait_until(lambda: live_runs(url) == 0, 600)

    complaints = [complaint for one in (*crowd, *speakers) for complaint in one.complaints]
    log = (folder / "server.log").read_text()
    ticks = [tick for one in (*crowd, *speakers) for tick in one.ticks]
    waits = [wait for one in (*crowd, *speakers) for wait in one.waits]
    middle, last = later_thirds(grown)
    with closing(Lab(Settings(folder / "home"))) as lab:
        runs = lab.store.runs()
    keep(
        "crowd of browsers" if ALL_BROWSERS else "crowd",
        sessions=SESSIONS,
        of_them_chromium=BROWSERS,
        seconds=SECONDS,
        pages_opened=len(waits),
        runs=len(runs),
        runs_finished=sum(run.state == "finished" for run in runs),
        share_with_runs=round(float(np.mean(busy_looks)), 2),
        ticks=len(ticks),
        tick_median_ms=round(float(np.median(ticks or [0]))),
        tick_p95_ms=round(float(np.percentile(ticks or [0], 95))),
        page_median_s=round(median(waits), 2),
        page_p95_s=round(float(np.percentile(waits, 95)), 2),
        complaints=len(complaints),
        middle_third_mib=round(middle / 2**20),
        last_third_mib=round(last / 2**20),
        cores=os.cpu_count(),
    )
    assert complaints == []
    assert not re.search(r"Traceback|Error|Exception|CRITICAL|WARNING", log), log[-3000:]
    assert {run.state for run in runs} == {"finished"}
    assert ticks, "nobody saw a live panel tick"
    assert last <= middle * MAX_RATIO + MAX_GROWTH
    assert server.poll() is None
