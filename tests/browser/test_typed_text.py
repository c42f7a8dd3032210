"""Names, tags, notes and causes that look like markup are shown verbatim on every page."""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from core.data.dataset import ImageDataset
from core.lab import Lab
from core.settings import Settings
from tests.browser.conftest import REPO, Serve, downloaded
from tests.trained_home import TrainedHome

pytestmark = pytest.mark.browser

NAME = (
    "=1+1 :material/rocket: :rocket: :red[red] **bold** a <-> b www.example.org https://example.org a@example.org "
    "[link](https://example.org) ![image](https://example.org/x.png) <u>html</u> $x^2$ ~~gone~~"
)
PAGES = ["pretrain", "finetune", "sweep", "data", "runs", "report", "weights", "adapters"]
"""Home and Compare are looked at where their names are read."""

MADE = """
() => {
  const told = (part) => ["href", "src", "aria-label"].map((name) => part.getAttribute(name)).join(" ");
  const whole = new Set(["bold", "gone", "html", "red", "link", "x^2"]);
  return [...document.querySelectorAll("a, img, [role=img], strong, del, u, annotation, [style*=color]")]
    .filter((part) => /example|rocket/.test(told(part)) || whole.has(part.textContent))
    .map((part) => part.outerHTML);
}
"""
"""JavaScript that returns elements that were created from the name."""


@pytest.fixture(scope="module")
def lab(trained_home: TrainedHome, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Create a home where everything that users can name has a name that looks like markup."""
    home: Path = tmp_path_factory.mktemp("home")
    lab = Lab(Settings(home=home))
    runs = trained_home.bring(lab, str(trained_home.plain.base), *trained_home.plain.runs)
    lab.store.rename(trained_home.plain.id, NAME)
    for run in runs:
        lab.notes.set_note(run.id, NAME)
        lab.notes.set_tags(run.id, [NAME[:40]])
    images = np.zeros((20, 28, 28), np.uint8)
    labels = np.arange(20) % 2
    own = ImageDataset("own", images, labels, images, labels, (NAME[:60], "**bold**"))
    lab.catalog.keep(own, "own")
    with closing(sqlite3.connect(lab.settings.home / "lab.sqlite3")) as db, db:
        db.execute("UPDATE runs SET state = 'failed', cause = ? WHERE id = ?", (NAME, runs[-1].id))
    return lab


@pytest.fixture(scope="module")
def url(lab: Lab, serve: Serve) -> str:
    return serve(REPO / "app.py", {"LORA_LAB_HOME": str(lab.settings.home), "LORA_LAB_DATA": ""})


def settled(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.get_by_test_id("stMainBlockContainer").get_by_role("heading").first).to_be_visible()
    expect(page.locator("[data-test-script-state=notRunning]")).to_be_attached()
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_made_of_a_name(page: Page, url: str, path: str) -> None:
    settled(page, f"{url}/{path}")
    assert page.evaluate(MADE) == []


def test_a_name_can_be_read_where_it_is_shown(page: Page, url: str, lab: Lab) -> None:
    failed = next(run for run in lab.runs() if run.state == "failed")
    for path in ("", "compare", f"runs?run={failed.id}"):
        settled(page, f"{url}/{path}")
        expect(page.get_by_test_id("stMainBlockContainer")).to_contain_text(NAME)
        assert page.evaluate(MADE) == []


def test_class_names_can_be_read_in_a_preview(page: Page, url: str) -> None:
    settled(page, f"{url}/pretrain")
    page.get_by_role("combobox", name="Dataset").click()
    page.get_by_role("option", name="own (your own)").click()
    page.get_by_text("Preview images").click()
    expect(page.get_by_test_id("stMainBlockContainer")).to_contain_text(NAME[:60])
    assert page.evaluate(MADE) == []


def test_the_list_of_runs_is_downloaded_without_a_formula(page: Page, url: str, lab: Lab, tmp_path: Path) -> None:
    settled(page, f"{url}/runs")
    downloaded(page.get_by_role("link", name="Download CSV")).save_as(tmp_path / "runs.csv")
    with (tmp_path / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["Run"] for row in rows} == {run.id for run in lab.runs()}
    assert {row["Note"] for row in rows} == {f"'{NAME}"}
    assert {row["Tags"] for row in rows} == {f"'{NAME[:40]}"}
    assert {row["Cause"] for row in rows} == {"", f"'{NAME}"}


def test_no_table_offers_a_download_of_its_own(page: Page, url: str) -> None:
    settled(page, f"{url}/runs")
    page.get_by_test_id("stDataFrame").first.hover()
    expect(page.get_by_role("button", name="Fullscreen").first).to_be_visible()
    expect(page.get_by_role("button", name="Download as CSV")).to_have_count(0)
