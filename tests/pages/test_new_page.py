"""New experiment: every combination that it shows is started, studies among them, and what does not hold is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from core.answer.lines import headline
from core.data.task_spec import TaskSpec
from core.engine.jobs.run_files import NETWORK
from core.forecast.forecast import target_layers
from core.lab import Lab, close_lab, open_lab
from core.plan.axes import VarySpec
from core.results.row import rows_of
from core.settings import Settings
from core.store.record import Experiment, Run
from core.study.arms.rates import tried_arms
from core.study.arms.study_words import study_headline
from core.study.report.answer import answer_of
from pages.shared.ui.literal import literal
from tests.conftest import finish, wait_until
from tests.data.uploaded import keep_noise
from tests.launching import fine_tune
from tests.pages.test_pages import draw, metrics, set_state, texts
from tests.studied_home import POINTS
from tests.trained_home import SWEPT, TrainedHome


@pytest.fixture
def swept(trained_home: TrainedHome, opened: Lab, base: Run) -> Experiment:
    """A finished experiment with several ranks, alphas and learning rates."""
    trained_home.bring(opened, *trained_home.sweep.runs)
    return trained_home.sweep


def filled_in(ranks: list[int], rates: list[str], full: list[str], seeds: int) -> AppTest:
    """The form with these rates, in place of a search."""
    app = draw("new")
    app.toggle(key="new-found").set_value(False).run()
    app.toggle(key="new-own-bases").set_value(False).run()
    app.pills(key="new-rank").set_value(ranks).run()
    app.multiselect(key="new-rates-lora").set_value(rates).run()
    app.multiselect(key="new-rates-full").set_value(full).run()
    app.slider(key="new-seeds").set_value(seeds).run()
    return app.slider(key="new-epochs").set_value(1).run()


def test_the_form_starts_every_combination_it_shows(opened: Lab, base: Run) -> None:
    app = filled_in([1, 4], ["0.00321", "0.01"], ["0.001"], 2)  # the first one is typed
    app.pills(key="new-alpha").set_value([8.0, "2 × rank"]).run()
    shown = metrics(app)
    assert shown["Runs"] == "14"
    app.button(key="new-run").click().run()
    (experiment,) = opened.store.experiments()
    specs = [run.spec for run in opened.store.members(experiment)]
    adapted = [(s.method.size, s.method.strength, s.optim.learning_rate, s.seed) for s in specs if s.method.size]
    assert sorted(adapted) == sorted(
        (rank, alpha, rate, seed)
        for rank, alpha in ((1, 8.0), (1, 2.0), (4, 8.0))  # twice the rank is 8 there
        for rate in (0.00321, 0.01)
        for seed in (0, 1)
    )
    assert {spec.base for spec in specs} == {base.id}
    assert app.query_params["experiment"] == experiment.id
    finish(opened, *experiment.runs)
    assert shown["Steps per run"] == str(opened.store.run(experiment.runs[0]).steps)


def test_the_layers_that_are_chosen_get_adapters_and_without_any_there_is_a_sentence(opened: Lab, base: Run) -> None:
    app = filled_in([1, 2], ["0.00316", "0.01"], ["0.001"], 1)
    assert app.pills(key="new-layers").value == list(target_layers(base.spec.network).groups)
    app.pills(key="new-layers").set_value([]).run()
    assert app.error
    app.pills(key="new-layers").set_value(["layers.2"]).run()
    assert not app.error
    app.button(key="new-run").click().run()
    (experiment,) = opened.store.experiments()
    targets = {run.spec.method.targets for run in opened.store.members(experiment) if run.spec.method.size}
    assert targets == {("layers.2",)}


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("new-rank", [], "Choose at least one rank for LoRA."),
        ("new-alpha", [], "Choose at least one alpha for LoRA."),
        ("new-rates-lora", [], "Choose at least one learning rate for LoRA."),
        ("new-rates-lora", ["fast"], "A learning rate is a number, as in 0.001."),
        ("new-rates-full", ["2"], "Learning rate must be at most 1"),
        ("new-axis", "shots", ""),
    ],
)
def test_what_does_not_hold_is_refused_beside_its_field(
    opened: Lab, base: Run, key: str, value: object, sentence: str
) -> None:
    app = filled_in([1], ["0.01"], ["0.001"], 1)
    if key == "new-axis":
        app.pills(key=key).set_value(value).run()
        for points, said in ((["10"], "A study has 2 to 8 points"), (["10", "many"], "'many' is no whole number")):
            app.multiselect(key="new-points-shots").set_value(points).run()
            assert said in texts(app)
            assert not [button for button in app.button if button.key == "new-run"]
        return
    field = app.pills(key=key) if key in ("new-rank", "new-alpha") else app.multiselect(key=key)
    field.set_value(value).run()
    assert sentence in texts(app)
    assert not [button for button in app.button if button.key == "new-run"]


def test_an_experiment_can_keep_only_the_networks_of_chosen_settings(
    opened: Lab, base: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pages.shared.experiment.keep.MUCH_SPACE", 0)
    app = filled_in([1], ["0.00316", "0.01"], ["0.001", "0.00316"], 1)
    app.toggle(key="new-trim").set_value(True).run()
    app.button(key="new-run").click().run()
    (experiment,) = opened.store.experiments()
    assert experiment.trim
    finish(opened, *experiment.runs)
    wait_until(lambda: sum((opened.settings.runs / id / NETWORK).exists() for id in experiment.runs) == 1)


def test_the_queues_limit_holds_and_nothing_is_queued(opened: Lab, base: Run) -> None:
    app = filled_in([1, 2, 4, 8], ["0.001", "0.002", "0.005", "0.01"], ["0.001"], 3)
    app.button(key="new-run").click().run()
    assert "The queue takes 40 waiting runs" in texts(app)
    assert opened.store.experiments() == []


def test_several_ranks_and_rates_have_a_map(opened: Lab, swept: Experiment) -> None:
    app = draw("experiment", experiment=swept.id, view="Rates")
    assert not app.error
    figures = [each.proto.id for each in app.get("plotly_chart")]
    assert [name for name in ("rate-map", "rates") if any(f"figure-{name}" in id for id in figures)] == [
        "rate-map",
        "rates",
    ]
    assert len([frame for frame in app.dataframe if "Rates tried" in frame.value]) == 1


def test_values_are_those_of_the_kept_epoch(opened: Lab, swept: Experiment) -> None:
    members = opened.store.members(swept)
    by_run = {
        run.id: value
        for arm in tried_arms(rows_of(members))
        for run, value in zip(arm.finished.values(), arm.validation, strict=True)
    }
    assert by_run.keys() == set(swept.runs)
    for run in members:
        assert by_run[run.id] == opened.store.curve(run.id).epochs["validation_accuracy"].iloc[-1]


def test_pages_draw_while_runs_wait_whose_dataset_is_gone_and_their_base_is_finished_by_a_press(
    opened: Lab, base: Run
) -> None:
    set_state(opened, "interrupted", base.id, result=None)  # so that runs on it wait
    keep_noise(opened)
    experiment = fine_tune(opened, opened.store.run(base.id), TaskSpec.of(dataset="mine"), SWEPT[2:6], [0])
    opened.catalog.remove("mine")
    for page in ("home", "runs", "experiment"):
        app = draw(page, experiment=experiment.id)
        assert "0 of 5 finished, 4 queued, 1 interrupted · time left not known yet" in texts(app), page
    app.button(key=f"experiment-{experiment.id}-finish").click().run()
    assert opened.store.run(base.id).state != "interrupted"
    opened.stop(*(run.id for run in opened.live()))


@pytest.fixture
def along(studied: tuple[Lab, Experiment], settings: Settings) -> Iterator[tuple[Lab, Experiment]]:
    """A lab that pages find, with a finished study of epochs."""
    lab, experiment = studied
    shutil.copytree(lab.settings.home, settings.home)
    yield open_lab(settings), experiment
    close_lab()


def test_a_study_shows_its_sentence_every_point_and_the_comparison_at_each(along: tuple[Lab, Experiment]) -> None:
    lab, experiment = along
    found = answer_of(lab, experiment)
    app = draw("experiment", experiment=experiment.id)
    assert literal(study_headline(found)) in texts(app)
    assert "How long?" in texts(app)
    table = next(frame.value for frame in app.dataframe if "Epochs" in frame.value)
    assert list(table["Epochs"]) == ["1", "1", "2", "2"]
    assert list(table["Setting"]) == ["Full", "LoRA r=2"] * 2
    for point in POINTS:
        app = draw("experiment", experiment=experiment.id, point=str(point))
        at = next(at for at in found.places if at.point == point)
        assert literal(headline(at)) in texts(app)
        assert next(c for c in app.segmented_control if c.label == "Epochs").value == str(point)
    assert literal(study_headline(found)) in texts(draw("home", experiment=experiment.id))
    for page in ("weights", "adapters", "tryit", "runs", "new"):
        draw(page, experiment=experiment.id)
    assert [look.key for look in lab.looks.of(experiment.id)] == [look.key for look in found.looks]


def test_the_form_starts_a_study_of_what_it_shows_and_it_fills_the_form_again(opened: Lab, base: Run) -> None:
    app = draw("new")
    app.toggle(key="new-own-bases").set_value(False).run()
    app.pills(key="new-axis").set_value("batch").run()
    assert not [each for each in app.select_slider if each.key == "new-batch"], "what is varied is not asked for"
    app.multiselect(key="new-points-batch").set_value(["16", "64"]).run()
    app.pills(key="new-rank").set_value([2]).run()
    app.slider(key="new-seeds").set_value(3).run()
    app.slider(key="new-epochs").set_value(1).run()
    assert metrics(app)["Runs"] == "36 to 108"
    app.button(key="new-run").click().run()
    (experiment,) = opened.store.experiments()
    asked = opened.experiments.configuration(experiment)
    assert asked.vary == VarySpec.of(name="batch", points=(16, 64))
    specs = {run.spec for run in opened.store.members(experiment)}
    assert {(spec.optim.batch_size, spec.kind) for spec in specs} == {
        (size, kind) for size in (16, 64) for kind in ("full", "lora")
    }
    assert "How large a batch?" in texts(app)
    opened.stop(*experiment.runs)
    app = draw("new", like=experiment.id, base=base.id)
    assert app.pills(key="new-axis").value == "batch"
    assert app.multiselect(key="new-points-batch").value == ["16", "64"]
