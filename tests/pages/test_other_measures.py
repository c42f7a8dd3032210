"""Weights, Adapters and Try it with experiments that are not judged by accuracy: by loss, and by macro-F1."""

from __future__ import annotations

import pytest
from streamlit.proto.Metric_pb2 import Metric
from streamlit.testing.v1 import AppTest

from core.lab import Lab
from core.store.record import Experiment, Run
from tests.pages.test_pages import draw, metrics, texts
from tests.pages.test_weights_page import VIEWS
from tests.trained_home import TrainedHome


@pytest.fixture(params=["loss", "macro_f1"])
def run(request: pytest.FixtureRequest, trained_home: TrainedHome, everything: Lab) -> Run:
    """LoRA in an experiment that is judged by this measure."""
    experiment: Experiment = getattr(trained_home, f"by_{request.param}")
    return next(run for run in everything.store.members(experiment) if run.spec.label == "LoRA r=2")


def whole(app: AppTest) -> str:
    tables = [str(each.value.to_csv()) for each in app.dataframe]
    return "\n".join([texts(app), *tables, *(f"{each.label} {each.value} {each.help}" for each in app.metric)])


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_tells_the_primary_measure_and_no_other(run: Run, view: str) -> None:
    app = draw("weights", experiment=run.experiment, run=run.id, view=view)
    assert not app.error
    assert "accurac" not in whole(app)
    assert run.spec.objective.primary.noun in texts(app)
    assert "own classes" not in whole(app)


def test_the_slider_shows_what_the_result_says_and_colors_by_what_is_better(run: Run) -> None:
    measure = run.spec.objective.primary
    app = draw("weights", experiment=run.experiment, run=run.id, view="Alpha")
    assert [metric.label for metric in app.metric] == ["Target", "Source"]
    assert app.metric[0].value == measure.text(run.score)
    app.slider(key="strength").set_value(0.0).run()
    assert app.metric[0].value == measure.text(run.result.measures[f"{measure.name}_before"])
    # The base does not know these classes: it is worse.
    assert app.metric[0].proto.color == Metric.MetricColor.RED
    rises = app.metric[0].proto.direction == Metric.MetricDirection.UP
    assert rises != measure.higher_is_better


def test_the_tolerance_has_the_unit_and_the_limits_of_the_measure(everything: Lab, run: Run) -> None:
    limits = {"loss": ("Tolerance in loss", 0.02, 0.5), "macro_f1": ("Tolerance in points", 5.0, 5.0)}
    title, start, most = limits[run.spec.objective.measure]
    app = draw("weights", experiment=run.experiment, view="Rank", tolerance="5")
    slider = next(each for each in app.slider if each.label.startswith("Tolerance"))
    assert (slider.label, slider.value, slider.max) == (title, start, most), "5 of loss is no tolerance"
    full = next(each for each in everything.store.members(run.experiment) if each.spec.label == "Full")
    rows = app.dataframe[0].value.set_index("Network")
    assert rows.loc["Full", "Target"] == full.spec.objective.primary.text(full.score)
    slider.set_value(most).run()


def test_adapters_are_told_by_the_measure(run: Run) -> None:
    measure = run.spec.objective.primary
    app = draw("adapters", adapter=run.id)
    assert not app.error
    assert metrics(app)[measure.title] == measure.text(run.score)


@pytest.mark.parametrize("task", ["Target", "Source"])
def test_networks_can_be_tried(run: Run, task: str) -> None:
    app = draw("tryit", experiment=run.experiment, **{"try-task": task})
    assert not app.error
    assert "Where they disagree" in texts(app)
