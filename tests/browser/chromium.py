"""The Chromium of this machine, as tests and benchmarks start it."""

from __future__ import annotations

import shutil

from playwright.sync_api import Browser, Playwright

# The first one has no windows, which cost a third of a core.
NAMES = [
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A page of a site that another page has open needs no process of its own, which would compile all scripts again.
    "--process-per-site",
]


def launched(playwright: Playwright) -> Browser:
    """Start the first one that is there. Raises: FileNotFoundError: there is none."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise FileNotFoundError("There is no Chromium on the PATH: run `make browser`.")
    return playwright.chromium.launch(executable_path=path, args=FLAGS)
