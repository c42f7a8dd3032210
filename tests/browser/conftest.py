"""Fixtures for tests in a real Chromium: pages, and servers to open."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Download, Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from core.lab import Lab
from core.settings import Settings
from tests import forked
from tests.conftest import HANG
from tests.forked import REPO, Process
from tests.trained_home import TrainedHome

LAB_APP = Path(__file__).with_name("lab_app.py")
"""The app as tests of pages want it: see there."""

START_SECONDS = HANG

expect.set_options(timeout=1000 * HANG)

BACKGROUNDS = {"light": "rgb(255, 255, 255)", "dark": "rgb(14, 19, 25)"}
"""Background of the pages by theme, as in .streamlit/config.toml: it says which theme a page has."""

Serve = Callable[..., str]
"""``serve(script, env=None) -> url``."""


SERVED = """
from pathlib import Path
import streamlit as st
from app import ACCESS, at, doors
from core.web import downloads
app = st.App(Path(__file__).with_name("script.py"), middleware=doors(ACCESS), routes=downloads.routes(at))
"""
"""A module for :func:`module_of`."""

PRESSES, PRESS_MILLISECONDS = 5, 20_000
"""Attempts to press a button of a page that is being drawn, and the wait for what the press shows."""


@pytest.fixture
def console_errors() -> list[str]:
    """Collect console errors of the test's page."""
    return []


@pytest.fixture(scope="session")
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """The browser context of the session, with one page that stays open: its process has compiled the scripts of the
    dashboard by the second test.
    """
    context = new_context(chromium)
    empty = context.new_page()
    empty.route("**", lambda route: route.fulfill(body=""))
    empty.goto("http://localhost/")
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, console_errors: list[str]) -> Iterator[Page]:
    """Open a page that is 1440 pixels wide, without cookies."""

    before = context.pages
    context.clear_cookies()
    opened = context.new_page()
    note_errors(opened, console_errors)
    yield opened
    for other in context.pages:
        if other not in before:
            other.close()


def note_errors(page: Page, errors: list[str]) -> None:
    """Add to ``errors`` what the page logs as an error from now on."""

    def note(message: ConsoleMessage) -> None:
        # On a deep link, Streamlit first looks for its server below the page's path and gets 404.
        if message.type == "error" and "/_stcore/" not in message.location["url"]:
            errors.append(f"{message.text} ({message.location['url']})")

    page.on("console", note)
    page.on("pageerror", lambda error: errors.append(str(error)))


def settled(page: Page) -> None:
    """Wait until the script of a page has run, of which something is there already."""
    expect(page.locator("[data-test-script-state=notRunning]:not(:has([data-testid=stSkeleton]))")).to_be_attached()


def choose_one_rate(page: Page) -> None:
    """Have the form train full fine-tuning and LoRA of rank 4 once for each seed, on one base."""
    expect(page.get_by_role("button", name="Start the experiment")).to_be_visible()
    page.get_by_text("Find the learning rates", exact=True).click()
    expect(page.get_by_text("Train longer", exact=True)).to_have_count(0)
    if (own_bases := page.get_by_text("A base for each seed", exact=True)).count():
        own_bases.click()
        expect(page.get_by_role("switch", name="A base for each seed")).not_to_be_checked()
    for rank in ("1", "16"):
        pill = page.get_by_role("toolbar", name="Rank").get_by_role("button", name=rank, exact=True)
        pill.click()
        expect(pill).to_have_attribute("aria-pressed", "false")
        # The pill says so before the script has run, and a press on what is below it would be of the form before.
        expect(page.get_by_role("table").get_by_text(f"LoRA r={rank}", exact=True)).to_have_count(0)
    settled(page)


def open_dialog(button: Locator, text: str) -> None:
    """Press until a dialog with some text is there: while the page above the button shrinks, a press can miss it."""
    shown = button.page.get_by_role("dialog").get_by_text(text).first
    for _ in range(PRESSES):
        if not button.page.get_by_role("dialog").count():
            with suppress(PlaywrightTimeoutError):  # a dialog that has come meanwhile is above the button
                button.click(timeout=PRESS_MILLISECONDS)
        with suppress(AssertionError):
            expect(shown).to_be_visible(timeout=PRESS_MILLISECONDS)
            return
    expect(shown).to_be_visible()


def choose_action(page: Page, title: str) -> None:
    """Choose an action in the menu of the experiment that a page shows."""
    page.get_by_test_id("stMenuButtonButton").first.click(timeout=1000 * HANG)
    page.get_by_role("menuitem", name=title).click()


def choose(field: Locator, option: str | re.Pattern[str]) -> None:
    """Choose from the list of a field; open it again where it closed, as when the page is drawn again meanwhile."""
    for _ in range(PRESSES):
        field.click()
        with suppress(PlaywrightTimeoutError):
            field.page.get_by_role("option", name=option).first.click(timeout=PRESS_MILLISECONDS)
            return
    pytest.fail(f"There is no {option} in the list of {field}.")


def choose_digits(page: Page, label: str) -> None:
    """Choose the digits as the dataset of Home or Pretrain: they are trained on in seconds.

    Args:
        page: one of these.
        label: of its choice of datasets.
    """
    page.get_by_role("combobox", name=label).fill("Digits")
    page.get_by_role("option", name=re.compile("^Digits( · images)?$")).click()
    expect(page.get_by_text("1,797 small handwritten digits")).to_be_visible()


def downloaded(link: Locator, seconds: float = HANG) -> Download:
    """Press a link to a file; return the download.

    The link opens a tab, which a browser with windows closes once it knows that a file comes, and one without leaves
    open. Playwright reports the download on the tab if it has noticed that one by then, and else on the page.
    """
    page, found, before = link.page, list[Download](), link.page.context.pages

    def note(download: Download) -> None:
        found.append(download)

    def watch(opened: Page) -> None:
        opened.on("download", note)

    page.on("download", note)
    page.context.on("page", watch)
    try:
        link.click()
        end = time.monotonic() + seconds
        while not found:
            assert time.monotonic() < end, f"No file within {seconds:g} s after a press on {link}."
            page.wait_for_timeout(20)
        found[0].path()  # waits for all of it
    finally:
        page.remove_listener("download", note)
        page.context.remove_listener("page", watch)
    for opened in page.context.pages:
        if opened not in before:
            opened.close()
    return found[0]


def module_of(folder: Path, script: str) -> Path:
    """Write a script into a folder, and a module that serves it beside the dashboard's routes; return the module."""
    (folder / "script.py").write_text(script)
    module = folder / f"{folder.name}_app.py"
    module.write_text(SERVED)
    return module


def new_context(chromium: Browser, **settings: Any) -> BrowserContext:
    """Create a browser context with its own cookies and storage, 1440 pixels wide by default."""
    wide = {"viewport": {"width": 1440, "height": 900}, "accept_downloads": True}
    context = chromium.new_context(**{**wide, **settings})
    context.set_default_timeout(1000 * HANG)
    return context


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Return a function that starts ``streamlit run`` on a free port with its own home; all stop after the module."""
    servers: list[Process] = []

    def start(script: Path, env: dict[str, str] | None = None) -> str:
        folder = tmp_path_factory.mktemp("server")
        server, url = run_server(script, folder, env)
        servers.append(server)
        return url

    yield start
    for server in servers:
        stop_server(server)


@pytest.fixture(scope="session")
def trained_site(trained_home: TrainedHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server with a copy of the trained home, for tests that leave it as it is.

    Its sweep lacks a setting: LoRA r=4 of alpha 16 at the learning rate 0.01.
    """
    folder = tmp_path_factory.mktemp("trained-site")
    home = trained_home.copy(folder / "home")
    with closing(Lab(Settings(home=home))) as lab:
        lab.notes.delete(
            [
                run.id
                for run in lab.store.members(trained_home.sweep)
                if (run.spec.method.size, run.spec.method.strength, run.spec.optim.learning_rate) == (4, 16.0, 0.01)
            ]
        )
    server, url = run_server(LAB_APP, folder, {"LORA_LAB_DATA": "", "LORA_LAB_HOME": str(home)})
    yield url
    stop_server(server)


def run_server(
    script: Path, folder: Path, env: dict[str, str] | None = None, *, fresh: bool = False
) -> tuple[Process, str]:
    """Start a server and wait until it answers; its output goes to ``folder/server.log``.

    Args:
        script: argument of ``streamlit run``: a script, or a module with an ``st.App``.
        folder: for the log, and the lab's home unless ``env`` names one.
        env: additional environment variables.
        fresh: start it as people do, instead of forking it from a process that has imported the same modules.

    Returns:
        The process and the URL.
    """
    port = free_port()
    command = ["-m", "streamlit", "run", str(script)]
    options = ["--server.port", str(port), "--server.headless", "true"]
    environment = {
        **os.environ,
        "LORA_LAB_HOME": str(folder / "home"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(REPO),
        **(env or {}),
    }
    with (folder / "server.log").open("wb") as log:
        server: Process = (
            subprocess.Popen([sys.executable, *command, *options], cwd=REPO, env=environment, stdout=log, stderr=log)
            if fresh
            else forked.start([*command, *options], env=environment, stdout=log, stderr=log)
        )
    url = f"http://localhost:{port}"
    end = time.monotonic() + HANG
    while not answers(f"{url}/_stcore/health"):
        if server.poll() is not None or time.monotonic() > end:
            stop_server(server)
            pytest.fail(f"The server did not start:\n{(folder / 'server.log').read_text()}", pytrace=False)
        time.sleep(0.1)
    return server, url


def stop_server(server: Process) -> None:
    """Terminate a server, and kill it if it is still alive after a minute."""
    server.terminate()
    try:
        server.wait(timeout=60)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def free_port() -> int:
    """Return an unused port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Return whether a URL answers with status 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
