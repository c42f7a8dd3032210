"""A report file opened from disk in a real browser: no network, all figures, dark mode, small screens, and print."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from core.lab import Lab
from core.study.report.html import write_report
from core.study.report.report import report_of
from tests.conftest import BOTH, compared, finish, short, wait_until

pytestmark = pytest.mark.browser


@pytest.fixture
def file(lab: Lab, tmp_path: Path) -> Path:
    experiment = compared(lab, "split", "digits", None, short(rate=0.001), BOTH, range(2))
    finish(lab, *experiment.runs)
    write_report(tmp_path / "report.html", report_of(lab, experiment))
    return tmp_path / "report.html"


def test_the_file_draws_itself_from_the_disk_and_asks_nobody(page: Page, console_errors: list[str], file: Path) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector("body[data-drawn]")
    assert page.locator(".plot svg.main-svg").count() >= page.locator(".plot").count() > 5
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
    assert console_errors == []
    ink = "getComputedStyle(document.querySelector('.gtitle')).fill"
    light = page.evaluate(ink)
    page.emulate_media(color_scheme="dark")
    # Playwright's own waiting uses eval in the page, which the page's content security policy forbids.
    wait_until(lambda: page.evaluate(ink) != light)
    page.set_viewport_size({"width": 390, "height": 800})
    wait_until(lambda: page.evaluate("document.documentElement.scrollWidth <= 390"))
    wait_until(
        lambda: page.evaluate("Math.max(...[...document.querySelectorAll('.main-svg')].map(s => s.clientWidth))") <= 390
    )
    assert page.pdf()[:4] == b"%PDF"
