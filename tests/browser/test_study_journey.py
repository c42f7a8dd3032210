"""A study in a browser: from the button that starts it to its figure and sentence, without a reload."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from core.lab import Lab
from core.settings import Settings
from core.store.record import Experiment
from core.study.arms.study_words import study_headline
from core.study.report.answer import answer_of
from tests.browser.conftest import LAB_APP, Serve
from tests.conftest import wait_until
from tests.studied_home import SEEDS

pytestmark = [pytest.mark.browser, pytest.mark.minutes]  # tests of pages start a study, and show one that has ended


def test_a_study_that_is_started_from_its_form_ends_with_its_figure_and_sentence(
    page: Page, serve: Serve, studied: tuple[Lab, Experiment], tmp_path: Path, console_errors: list[str]
) -> None:
    there, first = studied
    home = shutil.copytree(there.settings.home, tmp_path / "home")
    base = str(there.store.members(first)[0].spec.base)
    url = serve(LAB_APP, {"LORA_LAB_DATA": "", "LORA_LAB_HOME": str(home), "LORA_LAB_CORES": "1"})
    page.goto(f"{url}/new?like={first.id}&base={base}")
    main = page.get_by_test_id("stMain")
    main.get_by_role("radio", name="How large a batch?", exact=True).click()
    expect(main.get_by_text("Batch size", exact=True).first).to_be_visible()
    page.get_by_role("button", name="Start the experiment").click()
    with closing(Lab(Settings(home, threads=1))) as reader:

        def ended() -> bool:
            newest = reader.store.experiments()[0]
            return newest.id != first.id and all(run.plan == "complete" for run in reader.store.members(newest))

        wait_until(ended)
        (new, old) = reader.store.experiments()
        assert (old.id, {run.spec.seed for run in reader.store.members(new)}) == (first.id, set(range(SEEDS)))
        found = answer_of(reader, new)
        assert [at.point for at in found.places] == [16, 64, 256]
        expect(main.locator("h4").first).to_contain_text(study_headline(found))
    expect(main.locator(".js-plotly-plot .main-svg").first).to_be_visible()
    expect(main.get_by_text("Every point", exact=True)).to_be_visible()
    assert console_errors == []
