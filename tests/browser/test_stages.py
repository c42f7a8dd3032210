"""A search for learning rates in a browser: reloaded while it goes on, answered at its end, and trained longer."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from core.answer.lines import headline
from core.lab import Lab
from core.results.choice import chosen_arms
from core.results.row import rows_of
from core.settings import Settings
from core.study.report.answer import place_of
from tests.browser.conftest import LAB_APP, Serve, choose_action
from tests.conftest import wait_until
from tests.launching import compare
from tests.searched_home import asked, chosen

pytestmark = [pytest.mark.browser, pytest.mark.minutes]


def test_a_search_goes_on_through_reloads_and_its_answer_is_trained_longer(
    page: Page, serve: Serve, tmp_path: Path, console_errors: list[str]
) -> None:
    home = tmp_path / "home"
    with closing(Lab(Settings(home, threads=1))) as lab:
        experiment = compare(lab, asked(lab))
        lab.stop(experiment.base, *experiment.runs)  # so that it begins when somebody says so
    url = serve(LAB_APP, {"LORA_LAB_DATA": "", "LORA_LAB_HOME": str(home), "LORA_LAB_CORES": "1"})
    reader = Lab(Settings(home, threads=1))
    page.goto(f"{url}/?experiment={experiment.id}")
    main = page.get_by_test_id("stMain")
    page.get_by_role("button", name=re.compile("^Finish: ")).first.click()
    wait_until(lambda: any(run.is_live for run in reader.store.members(experiment)))
    searching = main.get_by_text("more may follow while learning rates are searched for")
    answer = main.locator("h4")
    while not _is_complete(reader, experiment.id):
        page.goto(f"{url}/?experiment={experiment.id}")
        expect(searching.or_(answer).first).to_be_visible()
        known = len(reader.store.members(experiment))
        wait_until(
            lambda known=known: len(reader.store.members(experiment)) > known or _is_complete(reader, experiment.id)
        )
    members = reader.store.members(experiment)
    assert len(members) > len(experiment.runs)
    page.goto(f"{url}/?experiment={experiment.id}")
    expect(answer.first).to_contain_text(headline(place_of(reader, experiment, members)))

    choose_action(page, "Train longer")
    page.get_by_role("button", name=re.compile(r"Train \d+ runs")).click()
    expect(main.get_by_role("button", name="Dismiss")).to_be_visible()
    after = reader.store.members(experiment)
    epochs = {arm.spec.optim.epochs for arm in chosen_arms(rows_of(after))}
    assert epochs == {3 * max(run.spec.optim.epochs for run in members)}
    assert chosen(after) != chosen(members)
    expect(answer.first).to_contain_text(headline(place_of(reader, experiment, after)))
    assert console_errors == []
    reader.close()


def _is_complete(reader: Lab, experiment: str) -> bool:
    return {run.plan for run in reader.store.members(reader.store.experiment(experiment))} == {"complete"}
