"""The tab Weights: of an experiment with all it can show, of one that lacks something, of a transformer, and of files
that are gone.
"""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from streamlit.proto.Metric_pb2 import Metric
from streamlit.testing.v1 import AppTest

from core.engine.jobs.run_files import NETWORK
from core.lab import Lab
from core.numbers import percent
from core.store.record import Experiment, Run
from core.study.weights.change import layer_shapes
from tests.conftest import TURNED, finish
from tests.launching import fine_tune
from tests.pages.test_pages import draw, texts
from tests.trained_home import FULL, TrainedHome

VIEWS = ["Spectrum", "Rank", "Alpha", "Subspaces"]

pytestmark = pytest.mark.usefixtures("everything")


@pytest.fixture(scope="module")
def experiment(trained_home: TrainedHome) -> Experiment:
    return trained_home.split


def run_of(lab: Lab, experiment: Experiment, label: str, seed: int = 0) -> Run:
    return next(
        run for run in lab.store.members(experiment) if run.spec.label == label and run.spec.seed == seed and run.result
    )


def metrics(app: AppTest) -> list[tuple[str, str]]:
    return [(metric.label, metric.value) for metric in app.metric]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("label", ["Full", "LoRA r=2"])
def test_every_view_draws_for_either_method(everything: Lab, experiment: Experiment, view: str, label: str) -> None:
    run = run_of(everything, experiment, label)
    app = draw("weights", experiment=experiment.id, run=run.id, view=view)
    assert not app.error
    assert app.query_params["run"] == run.id
    assert app.query_params["layer"] == "layers.0"
    # Only the open view was computed.
    sliders = {"Spectrum": "energy", "Rank": "tolerance", "Alpha": "strength"}
    assert {slider.key for slider in app.slider} == {key for name, key in sliders.items() if name == view}


@pytest.mark.parametrize(("view", "layer"), [("Spectrum", "layers.4"), ("Subspaces", "layers.2")])
def test_every_layer_can_be_looked_at(experiment: Experiment, view: str, layer: str) -> None:
    app = draw("weights", experiment=experiment.id, view=view, layer=layer)
    assert not app.error
    assert app.selectbox(key="pick-layer").value == layer


def test_the_table_says_what_rank_each_adapter_has(experiment: Experiment) -> None:
    app = draw("weights", experiment=experiment.id, energy="0.99")
    table = app.dataframe[0].value
    assert len(table) == 4 * 3
    assert table["Seeds"].eq("2").all()
    assert "Rank for 99 %" in table
    is_head = table["Layer"] == "layers.4"  # trained whole, since its classes are new
    lora = table[(table["Setting"] == "LoRA r=2") & ~is_head]
    assert len(lora) == 2
    assert all(float(text.split(" ")[0]) <= 2 for text in lora["Rank for 99 %"])
    assert all(float(text.split(" ")[0]) > 2 for text in table[is_head]["Rank for 99 %"])
    full = table[table["Setting"] == "Full"]
    assert float(full["Rank for 99 %"].iloc[0].split(" ")[0]) > 2


def test_the_suggested_rank_is_chosen_by_the_points_that_may_be_lost(everything: Lab, experiment: Experiment) -> None:
    ranks = []
    for tolerance in ("0", "0.5", "5"):
        app = draw("weights", experiment=experiment.id, view="Rank", tolerance=tolerance)
        (label,) = [name for name in app.dataframe[0].value["Network"] if "cut to rank" in name]
        ranks.append(int(label.rsplit(" ", 1)[1]))
        examples = len(everything.tasks.outline(everything.store.members(experiment)[0].spec.task).validation)
        assert f"on the validation part ({examples} images, mean of 2 seeds)" in texts(app)
        (moved,) = re.findall(r"on the test part it is ([\d.]+) points", texts(app)) or [""]
        rows = app.dataframe[0].value.set_index("Network")["Target"].str.split(" ").str[0].astype(float)
        assert float(moved or 0) == pytest.approx(abs(rows[label] - rows["Full"]), abs=0.15)
    assert all(high <= low for low, high in pairwise(ranks))
    full = [run.score for run in everything.store.members(experiment) if run.spec.label == "Full" and run.result]
    row = app.dataframe[0].value.set_index("Network").loc["Full", "Target"]
    assert float(row.split(" ")[0]) == pytest.approx(sum(full) / len(full), abs=0.051)


def test_the_slider_shows_base_and_trained_network_and_what_lies_between(
    everything: Lab, trained_home: TrainedHome, experiment: Experiment
) -> None:
    run = run_of(everything, experiment, "LoRA r=4")
    measures = run.result.measures
    app = draw("weights", experiment=experiment.id, run=run.id, view="Alpha")
    slider = app.slider(key="strength")
    of_source = "source_accuracy_masked" if run.spec.is_split else "source_accuracy"
    assert metrics(app)[:2] == [("Target", percent(measures["accuracy"])), ("Source", percent(measures[of_source]))]
    slider.set_value(0.0).run()
    assert metrics(app)[0][1] == percent(measures["accuracy_before"])
    assert metrics(app)[1][1] == percent(measures[f"{of_source}_before"])
    assert "(trained with" not in texts(app)  # alpha does not scale the head, which is trained whole
    fall = next(metric for metric in app.metric if metric.label == "Target")
    assert fall.delta.startswith("-")
    assert fall.proto.direction == Metric.MetricDirection.DOWN
    plain = run_of(everything, trained_home.plain, "LoRA r=4")
    app = draw("weights", experiment=trained_home.plain.id, run=plain.id, view="Alpha")
    app.slider(key="strength").set_value(2.5).run()
    assert "Alpha **20.0** (trained with 8)" in texts(app)


def test_two_ranks_and_two_seeds_are_compared_and_with_chance_only_where_they_began_in_other_directions(
    everything: Lab, experiment: Experiment
) -> None:
    def choose(label: str, setting: str) -> None:
        box = next(box for box in app.selectbox if box.label == label)
        box.set_value(run_of(everything, experiment, setting).spec.arm).run()

    app = draw("weights", experiment=experiment.id, view="Subspaces")
    assert "The first 2 directions of LoRA r=2 and the first 4 directions of LoRA r=4 overlap by" in texts(app)
    assert "95 % of random pairs by less than" in texts(app)
    assert len(app.get("plotly_chart")) == 1 + 2
    compared = texts(app).count("than chance")
    choose("First", "LoRA r=4")
    assert "Choose two different settings" in texts(app)
    choose("Second", "DoRA r=4")
    assert "Both drew A from the same random numbers" in texts(app)
    assert texts(app).count("than chance") == compared - 1


def test_what_an_experiment_lacks_is_said_with_a_link_to_make_it(trained_home: TrainedHome) -> None:
    app = draw("weights", experiment=trained_home.alone.id, view="Subspaces")
    assert "This comparison needs two ranks, and the experiment has one" in texts(app)
    assert "This comparison needs two seeds of LoRA r=2" in texts(app)
    app = draw("weights", experiment=trained_home.alone.id, view="Rank")
    assert "needs full fine-tuning, and the experiment has none" in texts(app)
    app = draw("weights", experiment=trained_home.alone.id, view="Spectrum", layer="layers.0")
    assert "Not drawn, because training did not change layers.0: LoRA r=2" in texts(app)
    assert not app.get("plotly_chart")


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_draws_with_a_control_with_a_layer_that_nothing_changed_and_on_its_own_source(
    trained_home: TrainedHome, view: str
) -> None:
    assert not draw("weights", experiment=trained_home.scratch.id, view=view).error
    app = draw("weights", experiment=trained_home.one_layer.id, view=view, layer="layers.0")
    assert not app.error
    app = draw("weights", experiment=trained_home.one_seed.id, view=view)
    assert not app.error
    if view == "Alpha":
        assert {title for title, _ in metrics(app)} == {"Target"}, "there is no second task"


def test_an_address_that_names_nothing_is_no_crash_and_an_experiment_without_a_result_says_so(
    trained_home: TrainedHome,
) -> None:
    for names in ("layer", "view energy strength"):
        draw("weights", **dict.fromkeys(names.split(), "<script>alert(1)</script>"))
    app = draw("weights", experiment=trained_home.failed.id)
    assert "so there is no verdict" in texts(app)


def test_a_file_that_is_gone_is_a_sentence(everything: Lab, trained_home: TrainedHome) -> None:
    made = fine_tune(everything, everything.store.run(str(trained_home.split.base)), TURNED, [FULL], [4], "gone")
    (run,) = finish(everything, *made.runs)
    try:
        (everything.settings.runs / run.id / NETWORK).unlink()
        for view in VIEWS:
            app = draw("weights", experiment=made.id, view=view)
            # Where one run has nothing to be compared with, its file is not asked for.
            assert ("is gone from" in texts(app)) == (view != "Subspaces")
    finally:
        everything.notes.delete(made.runs)


# A transformer that was fine-tuned directly

KEY = "bert.encoder.layer.1.attention.self.key"


@pytest.fixture
def direct(trained_home: TrainedHome) -> Experiment:
    return trained_home.direct


@pytest.mark.parametrize("label", ["Full", "LoRA r=2"])
def test_every_instrument_opens_on_a_layer(everything: Lab, direct: Experiment, label: str) -> None:
    run = run_of(everything, direct, label)
    for view in VIEWS:
        app = draw("weights", experiment=direct.id, run=run.id, view=view, layer=KEY)
        assert not app.error, (view, [error.value for error in app.error])
        if view == "Spectrum":
            assert set(app.dataframe[0].value["Layer"]) == {KEY}
        if view == "Alpha":
            assert {value for name, value in metrics(app) if name == "Target"} == {percent(run.score)}


def test_a_large_network_is_evaluated_only_on_request_and_on_so_many_texts(
    direct: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pages.experiment.weights.numbers.MAX_AT_ONCE", 100)
    for view in ("Rank", "Alpha"):
        app = draw("weights", experiment=direct.id, view=view)
        assert not app.error
        assert "Nothing is evaluated until then" in texts(app)
        assert not app.metric
        asked = draw("weights", experiment=direct.id, view=view, examples="100")
        assert not asked.error
        assert "on 100 examples of each part" in texts(asked)
        assert view == "Alpha" or asked.dataframe


def test_another_experiment_whose_network_has_other_layers_starts_at_a_run_and_a_layer_of_its_own(
    everything: Lab, direct: Experiment, experiment: Experiment
) -> None:
    app = draw("weights", experiment=direct.id)
    layer = app.selectbox(key="pick-layer").value
    assert app.query_params["run"] in direct.runs
    app.query_params["experiment"] = experiment.id
    app.run()
    assert app.query_params["run"] in experiment.runs
    assert app.selectbox(key="pick-run").value in experiment.runs
    assert "There is no layer" not in texts(app)
    assert app.selectbox(key="pick-layer").value in layer_shapes(everything.store.members(experiment)[0].spec.network)
    assert "There is no layer" in texts(draw("weights", experiment=experiment.id, layer=layer))
