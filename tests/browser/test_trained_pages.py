"""Pages of the trained home in a real browser: what only a browser shows of them. No test here changes the home."""

from __future__ import annotations

import re
from contextlib import closing
from urllib.parse import parse_qs, urlparse

import pytest
from playwright.sync_api import Locator, Page, ViewportSize, expect

from core.lab import Lab
from core.numbers import percent
from core.settings import Settings
from core.store.record import Experiment, Run
from pages.shared.forms.objective import TITLE
from tests.browser.conftest import choose, settled
from tests.conftest import wait_until
from tests.soak.sizes import full_or_short
from tests.trained_home import TrainedHome

pytestmark = pytest.mark.browser

PHONE: ViewportSize = {"width": 390, "height": 844}


def members(trained_home: TrainedHome, experiment: Experiment) -> list[Run]:
    """The runs of an experiment."""
    with closing(Lab(Settings(home=trained_home.home))) as lab:
        return lab.store.members(experiment)


def metric(page: Page, title: str, place: int, text: str) -> None:
    """Wait until a metric shows this value; of several with this title, the one at this place."""
    found = page.get_by_test_id("stMetric").filter(has_text=title).nth(place).get_by_test_id("stMetricValue")
    expect(found).to_have_text(text)


# Back, and the current experiment


def shows(page: Page, path: str, experiment: Experiment) -> None:
    """Wait until a page shows an experiment, and says so in its address."""
    expect(page).to_have_url(re.compile(rf"/{path}\?(.*&)?experiment={experiment.id}"))
    expect(page.get_by_role("heading", level=1, name=experiment.name, exact=True)).to_be_visible()
    settled(page)


def test_back_returns_to_the_experiment_that_was_shown_and_other_pages_and_a_reload_stay_with_it(
    page: Page, trained_site: str, trained_home: TrainedHome, console_errors: list[str]
) -> None:
    older, newer = trained_home.alone, trained_home.one_seed
    page.goto(f"{trained_site}/experiment?experiment={newer.id}")
    shows(page, "experiment", newer)
    page.goto(f"{trained_site}/experiment?experiment={older.id}")
    shows(page, "experiment", older)
    page.go_back()
    shows(page, "experiment", newer)
    page.go_forward()
    shows(page, "experiment", older)
    page.get_by_test_id("stSidebarNavLink").filter(has_text="Library").click()  # by the navigation, without an address
    expect(page.get_by_role("heading", name="Library", exact=True)).to_be_visible()
    page.get_by_test_id("stSidebar").get_by_role("link", name=older.name).click()
    shows(page, "experiment", older)
    page.reload()
    shows(page, "experiment", older)
    assert console_errors == []


def test_an_answer_is_in_sight_once_its_address_it_or_the_line_above_the_form_is_opened_on_a_phone(
    page: Page, trained_site: str, trained_home: TrainedHome
) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"{trained_site}/?experiment={trained_home.one_seed.id}")
    expect(page.get_by_text(f"{trained_home.one_seed.name} · ").first).to_be_in_viewport(ratio=1)
    older = trained_home.alone
    button = page.locator(f".st-key-open-{older.id}").get_by_role("button")
    settled(page)  # a press while the page is still drawn may be lost to one of its components
    button.click()
    expect(page).to_have_url(re.compile(f"experiment={older.id}"))
    top = page.get_by_text(f"{older.name} · ").first
    expect(top).to_be_in_viewport(ratio=1)
    page.goto(f"{trained_site}/?experiment={older.id}")
    expect(top).to_be_in_viewport(ratio=1)
    line = page.get_by_role("button", name=f"Shown below: {older.name}")  # what a phone shows of it at first
    settled(page)
    page.mouse.move(195, 400)
    page.mouse.wheel(0, -20_000)  # by hand, after which nothing scrolls back
    expect(line).to_be_in_viewport(ratio=1)
    line.click()
    expect(top).to_be_in_viewport(ratio=1)


def test_a_drawing_and_all_of_its_answers_are_in_sight_together_on_a_phone(
    page: Page, trained_site: str, trained_home: TrainedHome
) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"{trained_site}/tryit?experiment={trained_home.plain.id}")
    page.get_by_text("Draw", exact=True).click()
    canvas = page.get_by_role("img", name="A square to draw on with mouse, pen or finger.")
    expect(page.get_by_text("Draw one digit in the square, upright and large.")).to_be_visible()
    expect(page.get_by_text("Input", exact=True)).to_be_in_viewport()
    settled(page)
    draw_seven(page, canvas)
    told = page.locator('[aria-label^="The most probable class for each network."]')
    expect(told).to_be_in_viewport()
    expect(canvas).to_be_in_viewport(ratio=1)
    answers = page.get_by_role("group", name="Answers")
    beyond = "each => each.scrollWidth - each.clientWidth"
    assert answers.evaluate(beyond) == 0
    expect(told.locator("thead")).to_be_hidden()
    page.set_viewport_size({"width": 1440, "height": 844})
    expect(told.locator("thead")).to_be_visible()
    assert answers.evaluate(beyond) == 0


# The fold for measure and margin


@pytest.mark.minutes  # tests of pages fill in the fold and start what it says
def test_the_fold_stays_open_while_its_label_changes_and_another_page_loses_no_choice(
    page: Page, trained_site: str, trained_home: TrainedHome
) -> None:
    page.goto(f"{trained_site}/new?base={trained_home.plain.base}")
    page.get_by_text(TITLE, exact=True).click()
    choose(page.get_by_role("combobox", name="Primary measure"), "Loss")
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
    page.get_by_role("link", name="Library", exact=True).click()
    expect(page.get_by_role("heading", name="Library", exact=True)).to_be_visible()
    page.get_by_role("link", name="New experiment", exact=True).click()
    expect(page.get_by_text(label, exact=True)).to_be_visible()


# Try it


def draw_seven(page: Page, canvas: Locator) -> None:
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None

    def at(x: float, y: float) -> tuple[float, float]:
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    page.mouse.move(*at(0.3, 0.25))
    page.mouse.down()
    page.mouse.move(*at(0.7, 0.25), steps=8)
    page.mouse.move(*at(0.45, 0.8), steps=8)
    page.mouse.up()


def test_base_full_and_every_adapter_answer_a_drawn_seven(
    page: Page, trained_site: str, trained_home: TrainedHome, console_errors: list[str]
) -> None:
    page.goto(f"{trained_site}/tryit?experiment={trained_home.tuned.id}")
    page.get_by_role("button", name="Networks: the base and 2 of 8").click()
    menu = page.get_by_role("dialog", name="Networks: ")
    for network in ("LoRA r=1, lr 0.01", "Head only, lr 0.01"):
        menu.get_by_role("button", name=network, exact=True).click()
    expect(page.get_by_role("dialog", name="Networks: the base and 4 of 8")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.get_by_text("Draw", exact=True).click()
    expect(page.get_by_text("The networks answer after each stroke")).to_be_visible()
    settled(page)
    canvas = page.get_by_role("img", name="A square to draw on with mouse, pen or finger.")
    draw_seven(page, canvas)
    told = page.locator('[aria-label^="The most probable class for each network."]')
    expect(told).to_be_visible()
    label = told.get_attribute("aria-label") or ""
    for network in ("Base: ", "Full: ", "LoRA r=4: ", "LoRA r=1: "):
        assert network in label
    expect(page.get_by_text("The base answered bit for bit")).to_be_visible()
    expect(page.get_by_role("img", name="The drawing as the networks see it")).to_be_visible()

    page.get_by_text("Source", exact=True).click()
    expect(page.get_by_text("Source: digits", exact=True)).to_be_visible()
    expect(told).to_be_visible()  # the drawing stays
    expect(told).not_to_have_attribute("aria-label", label)  # and is not turned any more

    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.get_by_text("The networks answer after each stroke")).to_be_visible()
    expect(told).to_have_count(0)
    assert console_errors == []


# Weights


def nothing_runs_off(page: Page) -> None:
    """Wait until the page does not scroll horizontally; charts follow its width, tables and tab bars scroll inside."""
    main = page.get_by_test_id("stMain")
    wait_until(lambda: main.evaluate("it => it.scrollWidth - it.clientWidth") <= 0)
    wait_until(lambda: page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0)


def test_the_slider_of_weights_answers_and_nothing_runs_off(
    page: Page, trained_site: str, trained_home: TrainedHome, console_errors: list[str]
) -> None:
    run = next(run for run in members(trained_home, trained_home.split) if run.spec.label == "LoRA r=4")
    result = run.result
    assert result is not None
    page.goto(f"{trained_site}/weights?experiment={trained_home.split.id}&run={run.id}&view=Alpha")
    metric(page, "Target", 0, percent(result.measures["accuracy"]))

    thumb = page.get_by_role("slider", name="Strength of ΔW")
    chart = page.locator(".live-chart .plotly")
    expect(chart).to_be_visible()
    thumb.focus()
    page.keyboard.press("Home")
    metric(page, "Target", 0, percent(result.measures["accuracy_before"]))
    metric(page, "Source", 0, percent(result.measures["source_accuracy_masked_before"]))
    expect(page).to_have_url(re.compile(r"[?&]strength=0(\.0)?(&|$)"))
    expect(chart).to_be_visible()

    widths = [390, 1440]  # the last one stays, so that every other view is drawn in a narrow window first
    for view in full_or_short(("Spectrum", "Rank", "Subspaces", "Alpha"), ("Rank",)):
        page.get_by_role("radio", name=view, exact=True).click()
        panel = page.get_by_role("tabpanel").filter(visible=True)
        expect(panel.get_by_test_id("stCaptionContainer").last).to_be_visible()
        expect(page.get_by_test_id("stSpinner")).to_have_count(0)
        nothing_runs_off(page)
        page.set_viewport_size({"width": widths[0], "height": 900})
        nothing_runs_off(page)
        widths.reverse()
    query = parse_qs(urlparse(page.url).query)
    assert (query["run"], query["layer"], query["view"]) == ([run.id], ["layers.0"], ["Weights"])
    assert query.get("weights", ["Spectrum"]) == [view]
    assert console_errors == []
