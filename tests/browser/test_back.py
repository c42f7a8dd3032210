"""Back in the browser returns to the experiment that was shown, and an address that names none says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from core.lab import Lab
from core.run_spec import RunSpec
from core.settings import Settings
from tests.browser.conftest import REPO, Serve
from tests.conftest import BOTH, DIGITS, TURNED, finish, short

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def served(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """Return the URL of a lab with two finished experiments, and their ids, the older one first."""
    home: Path = tmp_path_factory.mktemp("home")
    lab = Lab(Settings(home=home))
    lab.start()
    (base,) = finish(lab, lab.launch(RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001))).id)
    made = [lab.fine_tune(base, TURNED, BOTH, [seed], name) for seed, name in enumerate(("The older", "The newer"))]
    finish(lab, *(id for experiment in made for id in experiment.runs))
    lab.close()
    return serve(REPO / "app.py", {"LORA_LAB_HOME": str(home)}), made[0].id, made[1].id


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
    shows(page, "compare", newer, "The newer")
    choose(page, "The older")
    shows(page, "compare", older, "The older")
    page.go_back()
    shows(page, "compare", newer, "The newer")
    page.go_forward()
    shows(page, "compare", older, "The older")
    page.get_by_test_id("stSidebarNavLink").filter(has_text="Report").click()  # by the navigation, without an address
    shows(page, "report", older, "The older")
    page.reload()
    shows(page, "report", older, "The older")
    assert console_errors == []


def test_an_address_that_names_no_experiment_says_so_and_offers_the_choice(
    page: Page, served: tuple[str, str, str]
) -> None:
    url, older, _ = served
    page.goto(f"{url}/compare?experiment=e-none")
    said = page.get_by_text("There is no experiment 'e-none'")
    expect(said).to_be_visible()
    expect(page.get_by_role("figure")).to_have_count(0)
    choose(page, "The older")
    shows(page, "compare", older, "The older")
    expect(said).to_have_count(0)
