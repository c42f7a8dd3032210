"""One current experiment on Compare, Report, Weights, Sweep and Home: in the address, and kept from page to page."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from core.lab import Lab, current
from core.store.record import Experiment, Run
from pages.shared.ui.links import script
from tests.conftest import TURNED, finish
from tests.pages.test_pages import draw, texts
from tests.trained_home import SWEPT, TrainedHome

Two = tuple[Experiment, Experiment]
PAGES = ["compare", "report", "weights"]


@pytest.fixture
def two(trained_home: TrainedHome, opened: Lab) -> Two:
    """Two finished experiments, the older one first; the newer one is a sweep."""
    for experiment in (trained_home.one_seed, trained_home.sweep):
        trained_home.bring(opened, str(experiment.base), *experiment.runs)
    return trained_home.one_seed, trained_home.sweep


def go(app: AppTest, page: str) -> AppTest:
    """Go to a page by the navigation, which drops the address."""
    app.query_params.clear()
    app.switch_page(script(page)).run()
    assert not app.exception, app.exception
    return app


@pytest.mark.parametrize("first", PAGES)
def test_the_experiment_stays_from_page_to_page(two: Two, first: str) -> None:
    older, newer = two
    app = draw(first)
    assert app.query_params["experiment"] == newer.id
    app.selectbox(key="pick-experiment").set_value(older.id).run()
    assert not app.exception
    assert app.query_params["experiment"] == older.id
    for page in PAGES:
        go(app, page)
        assert app.query_params["experiment"] == older.id, page
        assert app.selectbox(key="pick-experiment").value == older.id, page
    assert f"{older.name} ·" in texts(go(app, "home"))


@pytest.mark.parametrize("page", PAGES)
def test_the_address_decides_also_after_a_choice(two: Two, page: str) -> None:
    older, newer = two
    app = draw(page, experiment=newer.id)
    app.selectbox(key="pick-experiment").set_value(older.id).run()
    app.query_params["experiment"] = newer.id  # as Back in the browser does
    app.run()
    assert not app.exception
    assert app.selectbox(key="pick-experiment").value == newer.id
    assert app.query_params["experiment"] == newer.id


@pytest.mark.parametrize("page", [*PAGES, "sweep"])
def test_an_unknown_experiment_is_told_of_and_the_choice_offered(two: Two, page: str) -> None:
    app = draw(page, experiment="e-<b>none")
    assert "There is no experiment" in texts(app)
    choice = app.selectbox(key="pick-experiment")
    assert choice.value is None
    assert not app.get("plotly_chart")
    choice.set_value(two[1].id).run()
    assert not app.exception
    assert "There is no experiment" not in texts(app)
    assert app.query_params["experiment"] == two[1].id


def test_home_says_that_an_experiment_does_not_exist_and_shows_no_other_as_its_answer(
    two: Two,
) -> None:
    app = draw("home", experiment="e-none")
    assert "There is no experiment 'e-none'" in texts(app).replace("\\", "")
    assert not app.get("plotly_chart")
    assert f"**{two[0].name}**" in texts(app)


def test_an_unknown_experiment_is_told_of_in_an_empty_lab(opened: Lab) -> None:
    for page in (*PAGES, "sweep", "home", "finetune"):
        assert "There is no experiment" in texts(draw(page, experiment="e-none")), page


@pytest.mark.parametrize(("page", "query"), [("weights", "run"), ("compare", "runs"), ("finetune", "base")])
def test_an_unknown_run_is_told_of(two: Two, page: str, query: str) -> None:
    assert "may have been deleted" in texts(draw(page, **{query: "r-<script>alert(1)</script>"}))


def test_an_experiment_that_is_gone_is_not_the_current_one_any_more(two: Two) -> None:
    older, newer = two
    app = draw("compare", experiment=older.id)
    current().notes.delete(older.runs)
    go(app, "report")
    assert "There is no experiment" not in texts(app)
    assert app.query_params["experiment"] == newer.id


def test_addresses_of_sweeps_of_earlier_versions_still_open_them(opened: Lab, base: Run) -> None:
    first, second = (opened.fine_tune(base, TURNED, SWEPT, [seed], f"Sweep {seed}") for seed in range(2))
    opened.stop(*first.runs, *second.runs)
    finish(opened, *first.runs, *second.runs)
    app = draw("sweep", sweep=first.id)
    assert app.selectbox(key="pick-experiment").value == first.id
    assert dict(app.query_params)["experiment"] in (first.id, [first.id])
    assert "sweep" not in app.query_params


def test_an_experiment_that_is_no_sweep_is_told_of_and_the_sweeps_offered(two: Two) -> None:
    older, newer = two
    app = go(draw("compare", experiment=older.id), "sweep")
    assert f"“{older.name}” is not a sweep" in texts(app)
    choice = app.selectbox(key="pick-experiment")
    assert choice.value is None
    choice.set_value(newer.id).run()
    assert not app.exception
    assert "The answer" in texts(app)


@pytest.mark.parametrize(
    ("page", "query", "label"), [("tryit", {}, "Networks"), ("compare", {"view": "Curves"}, "Arms")]
)
def test_all_settings_of_another_experiment_are_shown_at_first(
    two: Two, page: str, query: dict[str, str], label: str
) -> None:
    older, newer = two
    app = draw(page, experiment=newer.id, **query)
    app.selectbox(key="pick-experiment").set_value(older.id).run()
    assert not app.exception
    (settings,) = [pills for pills in app.pills if pills.label == label]
    assert len(settings.value) == len(settings.options) == 2
