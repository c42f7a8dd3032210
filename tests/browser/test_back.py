"""Back in the browser returns to the experiment that was shown, and an address that names none says so."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.trained_home import TrainedHome

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def served(trained_site: str, trained_home: TrainedHome) -> tuple[str, str, str]:
    """Return the URL of a lab with finished experiments, and the ids of two, the older one first."""
    return trained_site, trained_home.alone.id, trained_home.one_seed.id


def shows(page: Page, path: str, experiment: str, name: str) -> None:
    """Wait until a page shows an experiment, and says so in its address."""
    expect(page).to_have_url(re.compile(rf"/{path}\?(.*&)?experiment={experiment}"))
    expect(page.get_by_role("combobox", name="Experiment")).to_have_value(re.compile(name))
    expect(page.locator("[data-test-script-state=notRunning]")).to_be_attached()


def choose(page: Page, name: str) -> None:
    page.get_by_role("combobox", name="Experiment").click()
    page.get_by_role("option", name=re.compile(name)).click()


def test_back_returns_to_the_experiment_that_was_shown(
    page: Page, served: tuple[str, str, str], console_errors: list[str]
) -> None:
    url, older, newer = served
    page.goto(f"{url}/compare?experiment={newer}")
    shows(page, "compare", newer, "One seed")
    choose(page, "Alone")
    shows(page, "compare", older, "Alone")
    page.go_back()
    shows(page, "compare", newer, "One seed")
    page.go_forward()
    shows(page, "compare", older, "Alone")
    page.get_by_test_id("stSidebarNavLink").filter(has_text="Report").click()  # by the navigation, without an address
    shows(page, "report", older, "Alone")
    page.reload()
    shows(page, "report", older, "Alone")
    assert console_errors == []


def test_an_address_that_names_no_experiment_says_so_and_offers_the_choice(
    page: Page, served: tuple[str, str, str]
) -> None:
    url, older, _ = served
    page.goto(f"{url}/compare?experiment=e-none")
    said = page.get_by_text("There is no experiment 'e-none'")
    expect(said).to_be_visible()
    expect(page.get_by_role("figure")).to_have_count(0)
    choose(page, "Alone")
    shows(page, "compare", older, "Alone")
    expect(said).to_have_count(0)
