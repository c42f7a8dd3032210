"""The fold for measure and margin in a real browser: it stays open while its label says what is chosen."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from core.lab import Lab
from core.run_spec import RunSpec
from core.settings import Settings
from pages.shared.forms.objective import TITLE
from tests.browser.conftest import REPO, Serve
from tests.conftest import DIGITS, finish, short, wait_until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def served(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of a lab with a base."""
    home: Path = tmp_path_factory.mktemp("home")
    lab = Lab(Settings(home=home))
    lab.start()
    finish(lab, lab.launch(RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001))).id)
    lab.close()
    return serve(REPO / "app.py", {"LORA_LAB_HOME": str(home)})


def test_the_fold_stays_open_while_its_label_changes_and_another_page_loses_no_choice(page: Page, served: str) -> None:
    page.goto(f"{served}/finetune")
    page.get_by_text(TITLE, exact=True).click()
    loss = page.get_by_role("option", name="Loss")

    def is_listed() -> bool:
        """Open the list of measures, which closes when the page is still being drawn."""
        page.get_by_role("combobox", name="Primary measure").click()
        page.wait_for_timeout(500)
        return loss.is_visible()

    wait_until(is_listed)
    loss.click()
    label = f"{TITLE}: loss, margin 0.02"
    expect(page.get_by_text(label, exact=True)).to_be_visible()
    margin = page.get_by_role("spinbutton", name="Margin")
    expect(margin).to_be_visible()
    expect(margin).to_have_value("0.02")
    margin.fill("0.125")
    margin.press("Enter")
    label = f"{TITLE}: loss, margin 0.125"
    expect(page.get_by_text(label, exact=True)).to_be_visible()
    expect(margin).to_be_visible()
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
    page.get_by_role("link", name="Fine-tune", exact=True).click()
    expect(page.get_by_text(label, exact=True)).to_be_visible()
