"""An experiment goes from the form into a file, and from the file to the command line and to another home."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from core.lab import Lab
from core.settings import Settings
from core.store.record import Experiment
from pages.shared.experiment.configuration import SAVE
from tests.browser.conftest import LAB_APP, Serve, choose_one_rate, downloaded
from tests.conftest import wait_until
from tests.test_cli_config import launched, specs_of
from tests.trained_home import TrainedHome

pytestmark = pytest.mark.browser


def new_in(lab: Lab) -> Experiment:
    """The only experiment, once it is there."""
    wait_until(lambda: bool(lab.store.experiments()))
    (experiment,) = lab.store.experiments()
    return experiment


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name)


def opened(page: Page, url: str, file: Path) -> None:
    """Choose a file in the popover of New experiment."""
    page.goto(f"{url}/new")
    button(page, "Open file").click()
    page.locator("input[type=file]").set_input_files(file)


def test_a_form_is_saved_run_on_the_command_line_edited_and_opened_elsewhere(
    page: Page, serve: Serve, trained_home: TrainedHome, tmp_path: Path, console_errors: list[str]
) -> None:
    here, there, shell = (Lab(Settings(home=tmp_path / name)) for name in ("one", "two", "three"))
    trained_home.bring(here, str(trained_home.plain.base))
    url = serve(LAB_APP, {"LORA_LAB_HOME": str(here.settings.home)})
    page.goto(f"{url}/new")
    choose_one_rate(page)
    saved = downloaded(page.get_by_role("link", name=SAVE))
    file = tmp_path / saved.suggested_filename
    saved.save_as(file)
    assert file.suffix == ".json"
    button(page, "Start the experiment").click()
    asked = {*specs_of(here, new_in(here))}
    assert {*specs_of(shell, launched(shell, f"--config {file}"))} == asked

    values = json.loads(file.read_text())
    values["seeds"] = [3]
    file.write_text(json.dumps(values))
    other = serve(LAB_APP, {"LORA_LAB_HOME": str(there.settings.home)})
    opened(page, other, file)
    expect(page.get_by_text("The form cannot show all that this file says")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_text("Bases to train")).to_be_visible()
    button(page, "Start the experiment").click()
    found = new_in(there)
    assert {run.spec.seed for run in there.store.members(found)} == {3}
    assert {*specs_of(there, found)} <= asked | {spec.replace('"seed": 0', '"seed": 3') for spec in asked}
    assert console_errors == []
    for each in (here, there, shell):
        each.store.close()
