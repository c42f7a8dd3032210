"""One current experiment: in the address, and kept from place to place."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from tests.pages.test_pages import Shell, draw, registered, texts, visit
from tests.trained_home import TrainedHome

pytestmark = pytest.mark.usefixtures("everything")


def test_the_experiment_stays_from_page_to_page_and_the_address_decides_also_after_a_choice(
    trained_home: TrainedHome,
) -> None:
    older, newer = trained_home.one_seed, trained_home.plain
    app = draw("experiment")
    assert app.query_params["experiment"] == newer.id
    app.query_params["experiment"] = older.id
    app.run()
    for page in ("library", "home"):
        visit(visit(app, page), "experiment")
        assert app.query_params["experiment"] == older.id, page
        assert title(app) == older.name, page
    app.query_params["experiment"] = newer.id  # as Back in the browser does
    app.run()
    assert title(app) == newer.name
    assert app.query_params["experiment"] == newer.id
    assert f"{newer.name} ·" in texts(visit(app, "home"))


@pytest.mark.parametrize("first", ["home", "new", "experiments"])
def test_the_experiment_of_an_address_that_was_followed_is_the_one_of_other_pages(
    trained_home: TrainedHome, first: str
) -> None:
    older = trained_home.one_seed
    assert visit(draw(first, experiment=older.id), "experiment").query_params["experiment"] == older.id


def test_the_place_that_an_address_scrolls_to_stays_where_another_run_follows_before_a_slow_browser_has_drawn_it(
    trained_home: TrainedHome,
) -> None:
    app = draw("home", experiment=trained_home.one_seed.id)
    first = places(app)
    assert len(first) == 1
    assert places(app.run()) == first


def title(app: AppTest) -> str:
    """The title of a page, as plain text."""
    return str(app.title[0].value).replace("\\", "")


def places(app: AppTest) -> list[str]:
    """What the places that are scrolled to say to the browser."""
    drawn = [each.proto for each in app.get("bidi_component")]
    return [proto.json for proto in drawn if proto.component_name.endswith("in_view")]


def test_an_unknown_experiment_is_told_of_and_the_list_offered(trained_home: TrainedHome) -> None:
    app = draw("experiment", experiment="e-<b>none")
    assert "There is no experiment" in texts(app)
    assert not app.get("plotly_chart")
    assert "All experiments" in [each.proto.label for each in app.get("page_link")]
    app.query_params["experiment"] = trained_home.sweep.id
    app.run()
    assert "There is no experiment" not in texts(app)
    assert title(app) == trained_home.sweep.name
    app = draw("home", experiment="e-none")  # and Home shows no other as its answer
    assert "There is no experiment 'e-none'" in texts(app).replace("\\", "")
    assert not app.get("plotly_chart")
    assert f"**{trained_home.plain.name}**" in texts(app)


def test_an_unknown_run_is_told_of() -> None:
    for page, query in (("weights", "run"), ("experiment", "runs"), ("new", "base")):
        assert "may have been deleted" in texts(draw(page, **{query: "r-<script>alert(1)</script>"})), page


OLD = {"compare": {}, "report": {}, "study": {}, "adapters": {"view": "Use it"}, "tryit": {"use": "Try it"}}
"""Pages of earlier versions that showed one experiment, and what of the address names their place now."""


@pytest.mark.parametrize("page", OLD)
def test_addresses_of_earlier_versions_lead_to_the_place_of_today(trained_home: TrainedHome, page: str) -> None:
    app = Shell()
    app.query_params |= {"experiment": trained_home.tuned.id}
    app._registered_pages = registered()
    (hashed,) = [key for key, each in registered().items() if each["url_pathname"] == page]
    app._page_hash = hashed
    app.run()
    assert title(app) == trained_home.tuned.name
    assert OLD[page].items() <= dict(app.query_params.items()).items()


def test_the_address_of_sweeps_of_earlier_versions_still_opens_them(trained_home: TrainedHome) -> None:
    app = draw("study", sweep=trained_home.tuned.id)
    assert title(app) == trained_home.tuned.name
    assert dict(app.query_params)["experiment"] in (trained_home.tuned.id, [trained_home.tuned.id])
    assert "sweep" not in app.query_params


def test_settings_that_are_gone_and_runs_that_are_not_compared_are_said(trained_home: TrainedHome) -> None:
    plain, split = trained_home.plain, trained_home.split
    app = draw("experiment", experiment=plain.id, arms="gone")
    assert "This experiment has no setting gone; its runs may have been deleted." in [w.value for w in app.warning]
    app = draw("experiment", runs=f"{plain.runs[0]},{split.runs[0]}")
    assert "These runs differ in base or task, so they are not compared." in [w.value for w in app.warning]


@pytest.mark.parametrize(
    ("page", "query", "label"), [("tryit", {}, "Networks"), ("experiment", {"view": "Curves"}, "Arms")]
)
def test_all_settings_of_another_experiment_are_shown_at_first(
    trained_home: TrainedHome, page: str, query: dict[str, str], label: str
) -> None:
    app = draw(page, experiment=trained_home.sweep.id, **query)
    app.query_params["experiment"] = trained_home.one_seed.id
    app.run()
    (settings,) = [each for each in app.pills if each.label == label]
    assert len(settings.value) == len(settings.options) == 2
