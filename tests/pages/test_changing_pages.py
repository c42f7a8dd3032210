"""Pages whose runs change while they are open, and choices that change what a page shows."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.plan.search import TuneSpec
from pages.shared.ui.links import script
from tests.conftest import BOTH, compared, short
from tests.pages.test_pages import draw, links, set_state, texts, views
from tests.trained_home import TrainedHome


def put(lab: Lab, state: str, *ids: str) -> None:
    """Put runs into a state as if they had begun and had no result yet."""
    set_state(lab, state, *ids, result=None, step=0)


def test_links_to_adapters_name_the_adapter_of_what_is_shown(filled: Lab) -> None:
    experiment = filled.store.experiments()[0]
    for run in filled.store.members(experiment):
        named = links(draw("runs", run=run.id)).get("Use it", {})
        assert named.get("adapter") == (run.id if run.spec.role == "adapter" else None)


def test_a_selection_shows_no_panel_of_the_selection_before(filled: Lab) -> None:
    live, *ended = filled.store.members(filled.store.experiments()[0])
    put(filled, "running", live.id)
    app = draw("experiment", runs=live.id)
    assert views(app).keys() > {"sidebar-activity"}
    app.query_params["runs"] = ",".join(run.id for run in ended)
    app.run()
    assert f"Showing {len(ended)} selected runs" in texts(app)
    assert views(app).keys() <= {"sidebar-activity"}
    assert "Stop all" not in [button.label for button in app.button]


def test_the_table_of_disputes_is_another_one_for_other_examples(filled: Lab) -> None:
    def table(app: AppTest) -> Any:
        return next(frame for frame in app.dataframe if "Example" in frame.value)

    app = draw("tryit")
    target = table(app)
    app.button(key="try-next").click().run()
    assert table(app).proto.id == target.proto.id  # the row that is ticked stays
    source = table(draw("tryit", **{"try-task": "Source"}))
    assert source.value["Example"].tolist() != target.value["Example"].tolist()
    assert source.proto.id != target.proto.id


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_run_without_a_step_has_a_chart_that_grows_and_one_that_ended_has_none(filled: Lab, state: str) -> None:
    filled.workers.close(1.0)  # nothing takes it from the queue
    run = filled.launcher.launch(filled.store.runs(methods=["full"])[0].spec.but(seed=9))
    put(filled, state, run.id)
    assert "runs-own" in views(draw("runs", run=run.id))
    put(filled, "failed", run.id)
    app = draw("runs", run=run.id)
    assert "runs-own" not in views(app)
    assert not app.get("plotly_chart")


@pytest.mark.parametrize("page", ["home", "study"])
def test_no_bar_goes_back_when_a_run_a_bank_or_an_experiment_ends(opened: Lab, page: str) -> None:
    opened.workers.close(1.0)  # nothing takes runs from the queue
    arms = [(short(rate=0.001), FullSpec()), *((short(), LoRASpec.of(rank=rank)) for rank in (1, 4))]
    first = compared(opened, "rotation-45", "digits", None, short(), arms, range(4), tune=TuneSpec.of(), own_bases=True)
    second = compared(opened, "inversion", "digits", None, short(epochs=3), BOTH, range(2))
    bases = [str(run.spec.base) for run in opened.store.members(first) if run.spec.label == "Full"]
    app = draw(page, experiment=first.id)
    seen: list[list[int]] = []

    def look(state: str, step: int, *ids: str) -> None:
        set_state(opened, state, *ids, step=step, steps=10, result=None)
        app.run()
        bars = {key: round(100 * view["share"]) for key, view in views(app).items() if view["share"] is not None}
        seen.append(
            [bars.pop("sidebar-activity", 100), *bars.values(), *(bar.proto.value for bar in app.main.get("progress"))]
        )

    for base in dict.fromkeys(bases):
        look("running", 5, base)
        look("stopped", 10, base)
    half = len(first.runs) // 2
    for bank in first.runs[:half], first.runs[half:]:
        for step in (0, 4, 9):
            look("running", step, *bank)
        look("failed", 9, bank[0])
        look("stopped", 10, *bank[1:])
    of_first = [bars[1] for bars in seen]  # below the sidebar's; Home shows all that trains, the oldest first
    assert of_first == sorted(of_first)
    assert of_first[0] < 10 < of_first[-1]
    assert of_first[-1] < 100, "the search goes on with the other seeds"
    with opened.store.transaction() as db:
        db.execute("UPDATE experiments SET plan_state = 'complete' WHERE id = ?", (first.id,))
    look("running", 5, str(second.base))
    look("stopped", 10, str(second.base))
    look("running", 9, *second.runs)
    of_all = [bars[0] for bars in seen]
    assert of_all == sorted(of_all)
    assert 80 < of_all[-1] < 100
    look("stopped", 9, *(run.id for run in opened.live()))
    assert "sidebar-activity" not in views(app)


def test_compare_says_whether_a_comparison_will_come(filled: Lab) -> None:
    experiment = filled.store.experiments()[0]
    put(filled, "failed", *experiment.runs)
    app = draw("experiment", experiment=experiment.id)
    assert "No setting has finished, so there is no verdict." in texts(app)
    assert "appears with" not in texts(app)
    assert app.menu_button
    put(filled, "running", experiment.runs[0])
    app = draw("experiment", experiment=experiment.id)
    assert "The comparison appears with the first finished runs." in texts(app)
    assert "No setting has finished" not in texts(app)


def test_an_experiment_that_is_gone_is_not_the_current_one_any_more_nor_in_an_empty_lab(
    filled: Lab, trained_home: TrainedHome
) -> None:
    trained_home.bring(filled, str(trained_home.one_seed.base), *trained_home.one_seed.runs)
    app = draw("experiment", experiment=trained_home.one_seed.id)
    filled.notes.delete(trained_home.one_seed.runs)
    app.query_params.clear()
    app.switch_page(script("experiment")).run()
    assert "There is no experiment" not in texts(app)
    assert app.query_params["experiment"] == trained_home.plain.id
    filled.notes.delete([run.id for run in filled.store.runs()])
    for page in ("experiment", "weights", "home"):
        assert "There is no experiment" in texts(draw(page, experiment=trained_home.plain.id)), page
