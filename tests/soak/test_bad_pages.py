"""Bad files through the real server: the browser shows one sentence, nothing is written, the next file works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.bad_files.catalog import catalog
from tests.bad_files.sentences import faults_of
from tests.browser.conftest import REPO, run_server, stop_server
from tests.data.uploaded import NPZ

pytestmark = [pytest.mark.browser, pytest.mark.minutes]

SOON = 60_000
"""Maximum milliseconds for an answer on a busy machine."""

FILES = {
    "pickle.npz": "npz, objects",
    "bomb.zip": "bomb",
    "traversal.zip": "parent folder",
    "text.csv": "csv, text in a pixel",
    "large.zip": "20,000 × 20,000",
    "control.zip": "a name of control characters",
}
"""Names of bad files of the catalog, by those under which they are chosen."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    server, url = run_server(REPO / "app.py", tmp_path, {"LORA_LAB_DATA": ""})
    yield url
    assert server.poll() is None
    stop_server(server)


def datasets(home: Path) -> set[str]:
    return {path.name for path in (home / "datasets").rglob("*") if path.is_file() and path.name != ".lock"}


def bring(page: Page, url: str, file: Path) -> None:
    page.goto(f"{url}/data", timeout=SOON)
    expect(page.get_by_role("heading", name="Upload a dataset")).to_be_visible(timeout=SOON)
    page.locator("input[type=file]").set_input_files(file)


def test_a_bad_file_is_a_sentence_on_the_page_and_the_server_goes_on(
    chromium: Browser, served: str, tmp_path: Path
) -> None:
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    bad = catalog()
    for name, file in FILES.items():
        (tmp_path / name).write_bytes(bad[f"images: {file}"].make())
        bring(page, served, tmp_path / name)
        alert = page.get_by_test_id("stAlertContentError")
        expect(alert).to_have_count(1, timeout=SOON)
        assert faults_of(alert.inner_text()) == [], name
        expect(page.get_by_test_id("stException")).to_have_count(0)
        assert datasets(tmp_path / "home") == set()
    (tmp_path / "sound.npz").write_bytes(NPZ)
    bring(page, served, tmp_path / "sound.npz")
    expect(page.get_by_role("button", name="Save")).to_be_visible(timeout=SOON)
    expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)
    context.close()
    assert "Traceback" not in (tmp_path / "server.log").read_text()
