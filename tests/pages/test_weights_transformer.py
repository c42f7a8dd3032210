"""The Weights page of a transformer that was fine-tuned directly: the map, and what is evaluated only on request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.data.task_spec import TaskSpec
from core.lab import Lab, close_lab, open_lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.numbers import percent
from core.settings import Settings
from core.store.record import Experiment, Run
from core.study.weights.change import layer_shapes
from core.study.weights.layer_map import MAP_MEASURES
from tests.conftest import finish, short
from tests.networks.tiny import save_tiny
from tests.pages.test_pages import draw, texts
from tests.trained_home import TrainedHome

TASK = TaskSpec.of(dataset="definitions", shots=5, classes=(0, 1, 2), length=16)
ARMS = [(short(), FullSpec()), (short(), LoRASpec.of(rank=2, target_modules=("attention",)))]
KEY = "bert.encoder.layer.1.attention.self.key"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    yield open_lab(Settings(home=tmp_path_factory.mktemp("home"), max_waiting=40))
    close_lab()


@pytest.fixture(scope="module")
def experiment(opened: Lab, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    folder: Path = save_tiny(tmp_path_factory.mktemp("networks") / "tiny", "bert")
    card = opened.networks.bring_folder(folder)
    made = opened.fine_tune(opened.networks.spec(card.digest, 12), TASK, ARMS, [0, 1], "tiny")
    runs = finish(opened, *made.runs)
    assert [run.state for run in runs] == ["finished"] * 4
    return made


def run_of(lab: Lab, experiment: Experiment, label: str) -> Run:
    return next(run for run in lab.members(experiment) if run.spec.label == label and run.spec.seed == 0)


def test_the_map_of_adapters_leaves_out_what_they_do_not_change(opened: Lab, experiment: Experiment) -> None:
    run = run_of(opened, experiment, "LoRA r=2")
    app = draw("weights", experiment=experiment.id, run=run.id)
    assert not app.error
    assert "5 tiles are empty" in texts(app)
    app = draw("weights", experiment=experiment.id, run=run.id, view="Alpha and layers")
    assert "5 of 13 layers were not changed by training" in texts(app)
    # All have one role, so that they are told apart by their names in a block.
    names = [f"attention.{name}" for name in ("self.query", "self.key", "self.value", "output.dense")]
    assert [toggle.label for toggle in app.toggle] == [f"{name} · 2 layers" for name in names]


def test_the_page_opens_with_the_map_and_each_measure_draws(opened: Lab, experiment: Experiment) -> None:
    for name, measure in MAP_MEASURES.items():
        app = draw("weights", experiment=experiment.id, measure=measure.title)
        assert not app.error
        assert app.segmented_control(key="measure").value == name
        assert measure.reading.split(".")[0] in texts(app).replace("\\", "")
        assert "The new head is not shown" in texts(app)
    assert "classifier" not in " ".join(app.selectbox(key="pick-layer").options)


@pytest.mark.parametrize("label", ["Full", "LoRA r=2"])
@pytest.mark.parametrize("view", ["Spectrum", "Rank", "Alpha and layers", "Subspaces", "New directions"])
def test_every_instrument_opens_on_a_layer(opened: Lab, experiment: Experiment, view: str, label: str) -> None:
    app = draw("weights", experiment=experiment.id, run=run_of(opened, experiment, label).id, view=view, layer=KEY)
    assert not app.error, [error.value for error in app.error]
    if view == "Spectrum":
        assert set(app.dataframe[0].value["Layer"]) == {KEY}


def test_strengths_and_switches_are_those_of_the_run(opened: Lab, experiment: Experiment) -> None:
    run = run_of(opened, experiment, "Full")
    assert run.result is not None
    app = draw("weights", experiment=experiment.id, run=run.id, view="Alpha and layers", layer=KEY)
    assert {metric.value for metric in app.metric if metric.label == "Target"} == {percent(run.score)}
    assert [toggle.label.split(" · ")[0] for toggle in app.toggle] == [
        "attention",
        "feed-forward",
        "other layers",
        "everything else",
    ]
    alone = next(table.value for table in app.dataframe if "Network" in table.value)
    assert alone["Target"].iloc[0] == percent(run.score)


def test_a_large_network_is_evaluated_only_on_request_and_on_so_many_texts(
    opened: Lab, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pages.weights.effort.MAX_AT_ONCE", 100)
    for view in ("Rank", "Alpha and layers"):
        app = draw("weights", experiment=experiment.id, view=view)
        assert not app.error
        assert "Nothing is evaluated until then" in texts(app)
        assert not app.metric
        asked = draw("weights", experiment=experiment.id, view=view, examples="100")
        assert not asked.error
        assert "on 100 examples of each part" in texts(asked)
        assert asked.dataframe


def test_another_experiment_whose_network_has_other_layers_starts_at_its_own(
    opened: Lab, experiment: Experiment, trained_home: TrainedHome
) -> None:
    other = trained_home.plain
    base, *_ = trained_home.bring(opened, str(other.base), *other.runs)
    app = draw("weights", experiment=experiment.id)
    layer = app.selectbox(key="pick-layer").value
    app.selectbox(key="pick-experiment").set_value(other.id).run()
    assert not app.exception
    assert "There is no layer" not in texts(app)
    assert app.selectbox(key="pick-layer").value in layer_shapes(base.spec.network)
    assert "There is no layer" in texts(draw("weights", experiment=other.id, layer=layer))
