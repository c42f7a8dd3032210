"""Weights, Adapters and Try it with experiments that are not judged by accuracy: by loss, and by macro-F1."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from streamlit.proto.Metric_pb2 import Metric
from streamlit.testing.v1 import AppTest

from core.lab import Lab, close_lab, open_lab
from core.settings import Settings
from core.store.record import Experiment, Run
from tests.pages.test_pages import draw, texts
from tests.trained_home import TrainedHome

VIEWS = ["Spectrum", "Rank", "Alpha and layers", "Subspaces", "New directions"]
LABELS = ["loss", "macro_f1"]


@pytest.fixture(scope="module")
def opened(trained_home: TrainedHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = open_lab(Settings(home=tmp_path_factory.mktemp("home"), max_waiting=40))
    for experiment in (trained_home.by_loss, trained_home.by_macro_f1):
        trained_home.bring(lab, str(experiment.base), *experiment.runs)
    yield lab
    close_lab()


@pytest.fixture(scope="module")
def experiments(trained_home: TrainedHome) -> dict[str, Experiment]:
    return {"loss": trained_home.by_loss, "macro_f1": trained_home.by_macro_f1}


def lora(lab: Lab, experiment: Experiment) -> Run:
    return next(run for run in lab.members(experiment) if run.spec.label == "LoRA r=2")


def whole(app: AppTest) -> str:
    tables = [str(each.value.to_csv()) for each in app.dataframe]
    return "\n".join([texts(app), *tables, *(f"{each.label} {each.value} {each.help}" for each in app.metric)])


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("label", LABELS)
def test_every_view_tells_the_primary_measure_and_no_other(
    opened: Lab, experiments: dict[str, Experiment], label: str, view: str
) -> None:
    run = lora(opened, experiments[label])
    app = draw("weights", experiment=experiments[label].id, run=run.id, view=view)
    assert not app.error
    assert "accurac" not in whole(app)
    assert run.spec.objective.primary.noun in texts(app)
    assert "own classes" not in whole(app)


@pytest.mark.parametrize("label", LABELS)
def test_the_slider_shows_what_the_result_says_and_colors_by_what_is_better(
    opened: Lab, experiments: dict[str, Experiment], label: str
) -> None:
    run = lora(opened, experiments[label])
    measure = run.spec.objective.primary
    app = draw("weights", experiment=experiments[label].id, run=run.id, view="Alpha and layers")
    assert [metric.label for metric in app.metric] == ["Target", "Source"] * 2
    assert app.metric[0].value == measure.text(run.score)
    app.slider(key="strength").set_value(0.0).run()
    assert app.metric[0].value == measure.text(run.result.measures[f"{measure.name}_before"])
    # The base does not know these classes: it is worse.
    assert app.metric[0].proto.color == Metric.MetricColor.RED
    rises = app.metric[0].proto.direction == Metric.MetricDirection.UP
    assert rises != measure.higher_is_better


@pytest.mark.parametrize(
    ("label", "title", "start", "most"),
    [
        ("loss", "Tolerance in loss", 0.02, 0.5),
        ("macro_f1", "Tolerance in points", 0.5, 5.0),
    ],
)
def test_the_tolerance_has_the_unit_and_the_limits_of_the_measure(
    opened: Lab, experiments: dict[str, Experiment], label: str, title: str, start: float, most: float
) -> None:
    app = draw("weights", experiment=experiments[label].id, view="Rank", tolerance="5")
    slider = next(each for each in app.slider if each.label.startswith("Tolerance"))
    assert (slider.label, slider.max) == (title, most)
    assert slider.value == (5.0 if label == "macro_f1" else start)
    full = next(run for run in opened.members(experiments[label]) if run.spec.label == "Full")
    rows = app.dataframe[0].value.set_index("Network")
    assert rows.loc["Full", "Target"] == full.spec.objective.primary.text(full.score)
    slider.set_value(most).run()


@pytest.mark.parametrize("label", LABELS)
def test_adapters_and_blends_are_told_by_the_measure(
    opened: Lab, experiments: dict[str, Experiment], label: str
) -> None:
    run = lora(opened, experiments[label])
    measure = run.spec.objective.primary
    app = draw("adapters", adapter=run.id)
    assert not app.error
    assert next(each for each in app.metric if each.label == measure.title).value == measure.text(run.score)
    app = draw("adapters", **{"adapters-from": "Blend two"})
    app.session_state["adapters-from"] = "Blend two"
    app.run()
    app.selectbox(key="blend-first").set_value(run.id).run()
    app.slider(key="blend-first-weight").set_value(1.0)
    app.slider(key="blend-second-weight").set_value(0.0)
    next(each for each in app.button if each.key == "blend-run").click().run()
    assert not app.error
    found = app.dataframe[0].value
    assert found["With the adapter"][0] == measure.text(run.score)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("task", ["Target", "Source"])
def test_networks_can_be_tried(opened: Lab, experiments: dict[str, Experiment], label: str, task: str) -> None:
    app = draw("tryit", experiment=experiments[label].id, **{"try-task": task})
    assert not app.error
    assert "Where they disagree" in texts(app)
