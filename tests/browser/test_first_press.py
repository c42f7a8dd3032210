"""The first press in a fresh home: one button, a verdict with its level, the adapter that it names, and Compare."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from core.engine.jobs.run_files import ADAPTER
from core.lab import Lab
from core.numbers import percent
from core.settings import Settings
from core.study.arms.verdict import verdict
from core.study.arms.verdict_words import headline
from tests.browser.conftest import REPO, Serve, choose_digits, downloaded
from tests.conftest import HANG

pytestmark = pytest.mark.browser

VERDICT_SECONDS = 4 * HANG
"""Seconds after which the verdict never comes: 160 runs, on a machine that may have more to do."""


@pytest.mark.parametrize("choice", ["Quick", pytest.param("Thorough", marks=pytest.mark.minutes)])
def test_one_press_ends_in_a_verdict_and_in_its_adapter(
    page: Page,
    serve: Serve,
    tmp_path: Path,
    choice: str,
    console_errors: list[str],
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    page.goto(serve(REPO / "app.py", {"LORA_LAB_DATA": "", "LORA_LAB_HOME": str(tmp_path / "home")}))
    expect(page.get_by_role("radio", name="Thorough")).to_be_checked()
    choose_digits(page, "Pretrained on")
    page.get_by_text(choice, exact=True).click()
    expect(page.get_by_role("radio", name=choice)).to_be_checked()
    button = page.get_by_role("button", name="Run the comparison")
    main = page.get_by_test_id("stMain")
    example = main.get_by_text("Example:")  # of a first visit, with a verdict of its own
    expect(example).to_be_visible()
    begun = time.monotonic()
    button.click()
    expect(main.get_by_role("button", name="Dismiss")).to_be_visible(timeout=1000 * VERDICT_SECONDS)
    expect(example).to_have_count(0)
    answer = main.get_by_role("heading", level=4)
    expect(answer).to_be_visible()
    seconds = time.monotonic() - begun
    record_testsuite_property(f"seconds from the first press to the verdict, {choice}", round(seconds, 1))
    print(f"From the first press to the verdict: {seconds:.1f} s")

    # The same home beside the server: what the page says is what the store holds.
    lab = Lab(Settings(home=tmp_path / "home"))
    try:
        (experiment,) = lab.experiments()
        runs = {run.id for run in lab.runs()}
        found = verdict(lab.members(experiment))
        # There are seeds enough to show a difference; whether this one is shown depends on how a processor rounds.
        assert found.told is not None
        assert found.seeds >= found.told.difference.least_seeds
        expect(answer).to_contain_text(headline(found))
        expect(main.locator(".stMarkdownBadge").first).to_have_text(found.level)
        expect(answer).to_have_text(re.compile(r"95 % interval .+ to .+"))
        expect(main.get_by_role("figure", name=re.compile("minus that of full .+ mean and interval"))).to_be_visible()
        offered = found.offered
        assert offered is not None
        assert offered.result is not None
        label = (
            f"Adapter {offered.spec.label.removeprefix('LoRA ')} · {percent(offered.result.measures['accuracy'], 1)}"
        )
        downloaded(page.get_by_role("link", name=label)).save_as(tmp_path / "adapter.zip")
        assert (tmp_path / "adapter.zip").read_bytes() == lab.artifacts.read(offered.id, ADAPTER)

        for trained in (136_074, offered.result.trainable_parameters):
            expect(main.get_by_role("cell", name=f"{trained:,}", exact=True).first).to_be_visible()
        ended = f"{len(experiment.runs)} of {len(experiment.runs)} finished"
        expect(page.get_by_text(ended).first).to_be_visible()  # the curves stay

        button.click()
        expect(page.get_by_text("This was compared before")).to_be_visible()
        expect(answer).to_contain_text(headline(found))
        assert {run.id for run in lab.runs()} == runs
        assert lab.experiments() == [experiment]

        # While a script runs, Streamlit merges a click on a link with the next tick of a timer, which names this page.
        expect(page.locator("[data-test-script-state=notRunning]")).to_be_attached()
        sentence = answer.inner_text()
        page.get_by_role("link", name="Compare").nth(1).click()
        expect(page.get_by_role("heading", name="Compare", exact=True)).to_be_visible()
        expect(answer).to_have_text(sentence)
        expect(page).to_have_url(re.compile(rf"/compare\?experiment={experiment.id}"))
        for tab, name in [
            ("Accuracy", "Accuracy on the target of each run"),
            ("Curves", "Training and validation loss of every run"),
        ]:
            page.get_by_role("tab", name=tab).click()
            expect(page.get_by_role("figure", name=re.compile(name)).first).to_be_visible()
    finally:
        lab.close()
    assert console_errors == []
