"""The fold for measure and margin in a real browser: it stays open while its label says what is chosen."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from pages.shared.objective_form import TITLE

pytestmark = pytest.mark.browser


def test_the_fold_stays_open_while_its_label_changes_and_another_page_loses_no_choice(
    page: Page, trained_site: str
) -> None:
    page.goto(f"{trained_site}/finetune")
    page.get_by_text(TITLE, exact=True).click()
    page.get_by_role("combobox", name="Primary measure").click()
    page.get_by_role("option", name="Loss").click()
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
