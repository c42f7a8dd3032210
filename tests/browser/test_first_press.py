"""The first press in a fresh home: one button, a verdict with its level, the adapter that it names, and Compare.

What a person stops on the way can be finished, with the numbers that it would have had.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from core.answer.levels import level_words
from core.answer.lines import headline, reason
from core.engine.jobs.run_files import ADAPTER
from core.lab import Lab
from core.numbers import percent
from core.rule.spending import CLAIM_SEEDS
from core.settings import Settings
from core.study.report.answer import place_of
from tests.browser.conftest import LAB_APP, REPO, Serve, choose_digits, downloaded, new_context, note_errors
from tests.conftest import HANG, wait_until, weights_of
from tests.soak.sizes import full_or_short

pytestmark = pytest.mark.browser

VERDICT_SECONDS = 4 * HANG
"""Seconds after which the verdict never comes: 160 runs, on a machine that may have more to do."""

LEFT = re.compile(r"^Finish: (at least )?17 runs")


@dataclass(frozen=True)
class Pressed:
    """A page with the verdict of the first press."""

    page: Page
    home: Path
    seconds: float
    """From the press to the verdict."""
    errors: list[str]


def press(page: Page, choice: str) -> float:
    """Run the comparison of Home on the digits; return when."""
    choose_digits(page, "Pretrained on")
    page.get_by_text(choice, exact=True).click()
    expect(page.get_by_role("radio", name=choice)).to_be_checked()
    begun = time.monotonic()
    page.get_by_role("button", name="Run the comparison").click()
    return begun


def environment(home: Path) -> dict[str, str]:
    """One core, so that two servers train alike."""
    return {"LORA_LAB_DATA": "", "LORA_LAB_HOME": str(home), "LORA_LAB_CORES": "1"}


@pytest.fixture(scope="module")
def pressed(
    serve: Serve, chromium: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Pressed]]:
    """Presses in a fresh home, once for each choice, and waits for the verdict."""
    context = new_context(chromium)

    @cache
    def made(choice: str) -> Pressed:
        page, errors, home = context.new_page(), list[str](), tmp_path_factory.mktemp(choice) / "home"
        note_errors(page, errors)
        page.goto(serve(full_or_short(REPO / "app.py", LAB_APP), environment(home)))
        expect(page.get_by_role("radio", name="Thorough")).to_be_checked()
        main = page.get_by_test_id("stMain")
        example = main.get_by_text("Example:")  # of a first visit, with a verdict of its own
        expect(example).to_be_visible()
        begun = press(page, choice)
        expect(main.get_by_role("button", name="Dismiss")).to_be_visible(timeout=1000 * VERDICT_SECONDS)
        expect(example).to_have_count(0)
        expect(main.get_by_role("heading", level=4)).to_be_visible()
        return Pressed(page, home, time.monotonic() - begun, errors)

    yield made
    context.close()


@pytest.mark.parametrize("choice", ["Quick", pytest.param("Thorough", marks=pytest.mark.minutes)])
def test_one_press_ends_in_a_verdict_and_in_its_adapter(
    pressed: Callable[..., Pressed],
    tmp_path: Path,
    choice: str,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    done = pressed(choice)
    page = done.page
    main = page.get_by_test_id("stMain")
    answer = main.get_by_role("heading", level=4)
    record_testsuite_property(f"seconds from the first press to the verdict, {choice}", round(done.seconds, 1))
    print(f"From the first press to the verdict: {done.seconds:.1f} s")

    # The same home beside the server: what the page says is what the store holds.
    with closing(Lab(Settings(home=done.home))) as lab:
        (experiment,) = lab.store.experiments()
        runs = {run.id for run in lab.store.runs()}
        found = place_of(lab, experiment)
        # There are seeds enough to show a difference; whether this one is shown depends on how a processor rounds.
        assert found.told is not None
        assert found.seeds >= CLAIM_SEEDS
        assert [look.seeds for look in lab.looks.of(experiment.id)] == [found.seeds]
        expect(answer).to_contain_text(headline(found))
        expect(main.locator(".stMarkdownBadge").first).to_have_text(level_words(found))
        expect(main.get_by_text(reason(found)).first).to_be_visible()
        expect(main.get_by_role("figure", name=re.compile("minus that of full .+ mean and interval"))).to_be_visible()
        offered = found.offered and found.offered.run
        assert offered is not None
        assert offered.result is not None
        mean = found.told.arm.interval("accuracy").mean
        own = f"seed {offered.spec.seed}: {offered.score_text()}"
        label = f"Adapter {offered.spec.label}, {own} (mean {percent(mean, 1)})"
        downloaded(page.get_by_role("link", name=label)).save_as(tmp_path / "adapter.zip")
        assert (tmp_path / "adapter.zip").read_bytes() == lab.artifacts.read(offered.id, ADAPTER)

        for trained in (136_074, offered.result.trainable_parameters):
            expect(main.get_by_role("cell", name=f"{trained:,}", exact=True).first).to_be_visible()
        ended = f"{len(runs)} of {len(runs)} finished"  # as many as the form said, the base among them
        expect(page.get_by_text(ended).first).to_be_visible()  # the curves stay

        page.get_by_role("button", name="Run the comparison").click()
        expect(page.get_by_text("This was compared before")).to_be_in_viewport()
        expect(answer).to_contain_text(headline(found))
        assert {run.id for run in lab.store.runs()} == runs
        assert lab.store.experiments() == [experiment]

        # While a script runs, Streamlit merges a click on a link with the next tick of a timer, which names this page.
        expect(page.locator("[data-test-script-state=notRunning]")).to_be_attached()
        sentence = answer.inner_text()
        page.get_by_test_id("stMain").get_by_role("link", name="Open", exact=True).first.click()
        expect(page.get_by_role("heading", level=1, name=experiment.name, exact=True)).to_be_visible()
        expect(answer).to_have_text(sentence)
        expect(page).to_have_url(re.compile(rf"/experiment\?experiment={experiment.id}"))
        for tab, name in [
            ("Accuracy", "Accuracy of each setting minus that of full"),
            ("Curves", "Training and validation loss of every run"),
        ]:
            page.get_by_role("tab", name=tab).click()
            expect(page.get_by_role("figure", name=re.compile(name)).first).to_be_visible()
    assert done.errors == []


def stop_all(page: Page, reader: Lab) -> None:
    """Stop everything on Home once the base has learned something, and wait until all of it has ended."""
    before = max((run.step for run in reader.store.runs() if run.spec.base is None), default=0)
    wait_until(lambda: any(run.step > before for run in reader.store.runs() if run.spec.base is None))
    page.get_by_role("button", name="Stop all").click()
    expect(page.get_by_text("What has been learned stays")).to_be_visible()
    page.get_by_role("button", name="Stop 17 runs").click()
    expect(page.get_by_role("heading", name="No verdict yet: 17 of 17 runs were stopped.")).to_be_visible()


@pytest.mark.minutes  # tests of pages finish what was stopped, and those of the engine compare the numbers
def test_a_comparison_that_was_stopped_is_finished_with_the_numbers_that_it_would_have_had(
    page: Page, serve: Serve, pressed: Callable[..., Pressed], tmp_path: Path, console_errors: list[str]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "slow").touch()
    url = serve(LAB_APP, environment(home))
    reader = Lab(Settings(home))
    page.goto(url)
    press(page, "Quick")
    stop_all(page, reader)
    (experiment,) = reader.store.experiments()

    # Every page has one button, also after a reload; where the same question is asked, there is another one beside it.
    page.reload()
    for path in ("", "experiments", f"experiment?experiment={experiment.id}"):
        page.goto(f"{url}/{path}")
        expect(page.get_by_role("button", name=LEFT).first).to_be_visible()
    page.goto(url)
    choose_digits(page, "Pretrained on")
    page.get_by_text("Quick", exact=True).click()
    expect(page.get_by_role("button", name=re.compile("^Start anew: 17 runs"))).to_be_visible()
    stopped_at = reader.store.run(experiment.base).step
    page.get_by_role("button", name=LEFT).first.click()  # where the question is asked
    expect(page.get_by_text("Running now")).to_be_visible()
    stop_all(page, reader)
    assert reader.store.run(experiment.base).step > stopped_at
    (home / "slow").unlink()
    page.get_by_role("button", name=LEFT).last.click()  # beside the answer
    expect(page.get_by_text("16 of 16 finished").first).to_be_visible()
    expect(page.get_by_role("heading", name="No verdict yet")).to_have_count(0)
    assert [known.id for known in reader.store.experiments()] == [experiment.id]
    assert reader.store.run(experiment.base).resumed_step > stopped_at
    with closing(Lab(Settings(pressed("Quick").home))) as other:
        check_never_stopped(reader, other)
    reader.close()
    assert console_errors == []


def check_never_stopped(reader: Lab, other: Lab) -> None:
    """Assert that the experiment of a lab has the numbers of that of another one, which was never stopped: to the last
    bit where a run of a bank has those that it has alone.
    """
    found, expected = (
        lab.store.runs_of([experiment.base, *experiment.runs])
        for lab in (reader, other)
        for experiment in lab.store.experiments()
    )
    assert len(found) == len(expected)
    for run, same in zip(found, expected, strict=True):
        assert (run.state, run.spec.kind, run.spec.seed) == ("finished", same.spec.kind, same.spec.seed)
        assert run.result
        assert same.result
        if run.spec.role != "adapter":
            np.testing.assert_array_equal(reader.store.curve(run.id).loss, other.store.curve(same.id).loss)
            assert weights_of(reader, run) == weights_of(other, same) is not None
        else:
            assert run.score == pytest.approx(same.score, abs=2.0)
