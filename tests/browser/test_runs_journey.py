"""The Runs page in a browser: select runs, see how they differ, archive them, and delete them after confirmation."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
from playwright.sync_api import Locator, Page, expect

from core.lab import Lab
from core.run_spec import RunSpec
from core.settings import Settings
from tests.browser.conftest import REPO, Serve, open_dialog
from tests.conftest import BOTH, DIGITS, TURNED, finish, short

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Create a home with a base and an experiment of two arms and two seeds; the test reads it beside the server."""
    home: Path = tmp_path_factory.mktemp("home")
    lab = Lab(Settings(home=home))
    lab.start()
    (base,) = finish(lab, lab.launch(RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001))).id)
    finish(lab, *lab.fine_tune(base, TURNED, BOTH, range(2), "Turned").runs)
    lab.close()
    return Lab(lab.settings)


@pytest.fixture(scope="module")
def url(lab: Lab, serve: Serve) -> str:
    return f"{serve(REPO / 'app.py', {'LORA_LAB_HOME': str(lab.settings.home)})}/runs"


def table(page: Page) -> Locator:
    return page.get_by_test_id("stDataFrame").first.locator(".dvn-scroller")


def select_row(page: Page, row: int, of: int) -> None:
    """Tick row ``row`` (from 0) in a list of ``of`` rows; the grid is a canvas, so rows are found by position."""
    expect(table(page)).to_be_visible()
    box = page.get_by_test_id("stDataFrame").first.bounding_box()
    assert box
    table(page).click(position={"x": 17, "y": box["height"] / (of + 1) * (row + 1.5)})


def says(page: Page, *ids: str) -> None:
    """Wait until the address says that these runs are selected."""
    page.wait_for_url(lambda url: parse_qs(urlparse(url).query).get("run", [""]) == [",".join(ids)])


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def test_select_diff_archive_and_delete(page: Page, url: str, lab: Lab, console_errors: list[str]) -> None:
    page.goto(url)
    expect(page.get_by_text("5 runs", exact=True)).to_be_visible()
    select_row(page, 0, of=5)
    expect(page.get_by_text("Reproduce this run")).to_be_visible()
    select_row(page, 1, of=5)
    expect(page.get_by_role("heading", name="2 runs")).to_be_visible()
    expect(page.get_by_text("Settings that differ")).to_be_visible()
    newest = [run.id for run in lab.runs()]
    says(page, *newest[:2])

    # The URL keeps the selection.
    page.reload()
    expect(page.get_by_role("heading", name="2 runs")).to_be_visible()

    button(page, "Archive").click()
    expect(page.get_by_text("3 runs", exact=True)).to_be_visible()
    assert {entry.run.archived for entry in lab.search.entries(newest[:2])} == {True}
    expect(button(page, "Unarchive")).to_be_visible()

    dialog = page.get_by_role("dialog")
    open_dialog(button(page, "Delete").first, newest[0])
    button(page, "Cancel").click()
    expect(dialog).to_have_count(0)
    assert len(lab.runs()) == 5

    open_dialog(button(page, "Delete").first, newest[0])
    dialog.get_by_role("button", name="Delete", exact=True).click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("heading", name="2 runs")).to_have_count(0)
    assert [run.id for run in lab.runs()] == newest[2:]
    assert not (lab.settings.runs / newest[0]).exists()
    says(page)

    # A base can only be deleted together with the runs that start from it.
    select_row(page, 2, of=3)
    expect(page.get_by_role("heading", name=re.compile("Pretrain"))).to_be_visible()
    open_dialog(button(page, "Delete").first, "2 other runs start from")
    expect(dialog.get_by_role("button", name="Delete", exact=True)).to_be_disabled()
    dialog.get_by_text("Delete these 2 as well").click()
    expect(dialog.get_by_text("will have no runs left and is deleted too")).to_be_visible()
    dialog.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("Every run is listed here")).to_be_visible()
    assert lab.runs() == []
    assert lab.experiments() == []
    assert console_errors == []
