"""The Study page, of sweeps and of studies: empty, started from its form, running, finished, asked for too much."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from core.answer.lines import headline
from core.data.task_spec import TaskSpec
from core.engine.jobs.run_files import NETWORK
from core.forecast.forecast import plan, target_layers
from core.lab import Lab, close_lab, open_lab
from core.methods.lora import LoRASpec
from core.numbers import count_text
from core.plan.axes import VarySpec
from core.results.row import rows_of
from core.rule.tuning import RATES_OFFERED
from core.settings import Settings
from core.store.record import Experiment, Run
from core.study.arms.study_words import study_headline
from core.study.arms.sweep import sweep_arms
from core.study.report.answer import answer_of, place_of
from pages.shared.experiment.estimate import SEE_FORM
from pages.shared.ui.literal import literal
from pages.study.live import comparison
from tests.conftest import TURNED, finish, wait_until
from tests.data.uploaded import keep_noise
from tests.launching import fine_tune
from tests.pages.test_pages import draw, metrics, set_state, texts
from tests.studied_home import POINTS
from tests.trained_home import SWEPT, TrainedHome


@pytest.fixture
def swept(trained_home: TrainedHome, opened: Lab, base: Run) -> Experiment:
    """A finished sweep."""
    trained_home.bring(opened, *trained_home.sweep.runs)
    return trained_home.sweep


def filled_in(ranks: list[int], rates: list[float], full: list[float], seeds: int) -> AppTest:
    """The page with these rates in its form, in place of a search."""
    app = draw("study")
    app.toggle(key="study-found").set_value(False).run()
    app.toggle(key="study-own-bases").set_value(False).run()
    app.pills(key="study-ranks").set_value(ranks).run()
    app.pills(key="study-rates").set_value(rates).run()
    app.pills(key="study-full-rates").set_value(full).run()
    app.slider(key="study-seeds").set_value(seeds).run()
    return app.slider(key="study-epochs").set_value(1).run()


def test_the_form_starts_every_combination_it_shows(opened: Lab, base: Run) -> None:
    app = filled_in([1, 4], [0.00316, 0.01], [0.001], 2)
    shown = metrics(app)
    assert (shown["Runs"], shown["Trainable parameters"]) == ("10", "1,562 to 136,074")
    app.button(key="study-start").click().run()
    (experiment,) = opened.store.experiments()
    specs = [run.spec for run in opened.store.members(experiment)]
    assert sorted((s.method.size or 0, s.optim.learning_rate, s.seed) for s in specs) == sorted(
        [(rank, rate, seed) for rank in (1, 4) for rate in (0.00316, 0.01) for seed in (0, 1)]
        + [(0, 0.001, seed) for seed in (0, 1)]
    )
    assert {spec.base for spec in specs} == {base.id}
    assert app.query_params["experiment"] == experiment.id
    finish(opened, *experiment.runs)
    app = draw("study")
    assert "The answer" in texts(app)
    assert shown["Steps per run"] == str(opened.store.run(experiment.runs[0]).steps)


def test_the_layers_that_are_chosen_get_adapters_and_without_any_there_is_a_sentence(opened: Lab, base: Run) -> None:
    app = filled_in([1, 2], [0.00316, 0.01], [], 1)
    assert app.pills(key="study-layers").value == list(target_layers(base.spec.network).groups)
    app.pills(key="study-layers").set_value([]).run()
    assert app.error
    app.pills(key="study-layers").set_value(["layers.2"]).run()
    assert not app.error
    methods = [LoRASpec.of(rank=rank, target_modules=("layers.2",)) for rank in (1, 2)]
    counts = [count_text(plan(base.spec.network, method).trainable_parameters) for method in methods]
    assert metrics(app)["Trainable parameters"] == " to ".join(counts)


def test_a_sweep_without_ranks_says_that_lora_is_left_out_and_it_can_be_of_another_method(
    opened: Lab, base: Run
) -> None:
    app = filled_in([1], [0.01], RATES_OFFERED[3:7], 1)
    left_out = "Without a rank, an alpha and a learning rate, LoRA is left out."
    assert left_out not in texts(app)
    app.pills(key="study-ranks").set_value([]).run()
    assert left_out in texts(app)
    app.segmented_control(key="study-adapters").set_value("dora").run()
    assert "DoRA: ranks" in [pills.label for pills in app.pills]


def test_a_sweep_can_keep_only_the_networks_of_chosen_settings(
    opened: Lab, base: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pages.shared.experiment.keep.MUCH_SPACE", 0)
    app = filled_in([1], [0.00316, 0.01], [0.001, 0.00316], 1)
    app.toggle(key="study-trim").set_value(True).run()
    app.button(key="study-start").click().run()
    (experiment,) = opened.store.experiments()
    assert experiment.trim
    finish(opened, *experiment.runs)
    wait_until(lambda: sum((opened.settings.runs / id / NETWORK).exists() for id in experiment.runs) == 1)


@pytest.mark.parametrize(
    ("ranks", "full", "seeds", "sentence"),
    [([1, 2, 4, 8, 16], [0.001], 50, "at most 2,000 runs and this one has 3,050"), ([], [], 3, "at least 4 settings")],
)
def test_a_sweep_that_does_not_hold_cannot_be_started(
    opened: Lab, base: Run, ranks: list[int], full: list[float], seeds: int, sentence: str
) -> None:
    app = filled_in(ranks, RATES_OFFERED, full, seeds)
    (form,) = [column for column in app.columns if "Settings to try" in [each.value for each in column.subheader]]
    (error,) = form.error
    assert sentence in error.value, "beside the fields"
    (cost,) = [column for column in app.columns if "Estimated cost" in [each.value for each in column.subheader]]
    assert (len(cost.error), [each.value for each in cost.caption]) == (0, [SEE_FORM])
    assert not [button for button in app.button if button.key == "study-start"]


def test_the_queues_limit_holds_and_nothing_is_queued(opened: Lab, base: Run) -> None:
    app = filled_in([1, 2, 4, 8], RATES_OFFERED[3:7], [0.001], 3)
    app.button(key="study-start").click().run()
    assert "The queue takes 40 waiting runs" in texts(app)
    assert opened.store.experiments() == []


def test_while_it_runs_the_page_shows_how_far_it_is_and_stops_it(opened: Lab, base: Run) -> None:
    arms = [(optim.but(epochs=200), lora) for optim, lora in SWEPT]
    experiment = fine_tune(opened, base, TURNED, arms, [0, 1], "Sweep, a to b")
    wait_until(lambda: opened.store.run(experiment.runs[0]).step > 0)
    app = draw("study")
    assert "Training now: " in texts(app)
    assert "The answer" not in texts(app)
    app.session_state[f"study-{experiment.id}-stop"] = True  # the popover is open
    app.run().button(key=f"study-{experiment.id}-stop-all").click().run()
    runs = finish(opened, *experiment.runs)
    assert {run.state for run in runs} == {"stopped"}
    app = draw("study")
    assert "0 of 20 finished, 20 stopped" in texts(app)
    assert "No setting has finished, so there is no verdict." in texts(app)


def test_a_finished_sweep_gives_its_answer_its_pictures_and_its_numbers(opened: Lab, swept: Experiment) -> None:
    app = draw("study")
    assert not app.error
    assert "LoRA's best rate is" in texts(app) or "LoRA's best rate, as a multiple" in texts(app)
    assert literal(headline(place_of(opened, swept))) in texts(app)
    assert len(app.get("plotly_chart")) == 2, "by rank, and by rate, below the map"
    tried = [frame.value for frame in app.dataframe if "Rates tried" in frame.value]
    assert len(tried) == 1


def test_values_are_those_of_the_kept_epoch(opened: Lab, swept: Experiment) -> None:
    members = opened.store.members(swept)
    by_run = {
        run.id: value
        for arm in sweep_arms(rows_of(members))
        for run, value in zip(arm.finished.values(), arm.validation, strict=True)
    }
    assert by_run.keys() == set(swept.runs)
    for run in members:
        assert by_run[run.id] == opened.store.curve(run.id).epochs["validation_accuracy"].iloc[-1]


def test_every_choice_of_alpha_draws_also_with_the_form_open(opened: Lab, swept: Experiment) -> None:
    app = draw("study", alpha="Best")
    app.session_state["study-new-1"] = True
    for alpha in ("Best", "8", "16"):
        app.segmented_control(key="alpha").set_value(alpha).run()
        assert app.button(key="study-start")
    for alpha in ("8", "16"):
        assert draw("study", alpha=alpha).segmented_control(key="alpha").value == alpha


def test_an_experiment_of_few_settings_is_no_sweep(filled: Lab) -> None:
    app = draw("study")
    assert "appears here as soon as it has started" in texts(app)


def test_the_address_of_compare_names_each_arm_once(swept: Experiment) -> None:
    assert comparison(swept, ["a", "b", "a"]) == {"experiment": swept.id, "arms": "a,b"}


@pytest.fixture
def interrupted(opened: Lab, base: Run) -> Iterator[Run]:
    """A base that was interrupted, so that runs on it wait."""
    set_state(opened, "interrupted", base.id, result=None)
    yield opened.store.run(base.id)
    opened.stop(*(run.id for run in opened.live()))


def test_pages_draw_while_runs_wait_whose_dataset_is_gone_and_their_base_is_finished_by_a_press(
    opened: Lab, interrupted: Run
) -> None:
    keep_noise(opened)
    experiment = fine_tune(opened, interrupted, TaskSpec.of(dataset="mine"), SWEPT[2:6], [0])
    opened.catalog.remove("mine")
    for page in ("home", "runs", "compare", "study"):
        app = draw(page, experiment=experiment.id)
        assert "0 of 5 finished, 4 queued, 1 interrupted · time left not known yet" in texts(app), page
    assert "Waiting for the base, whose training was interrupted." in texts(app)
    app.button(key=f"study-{experiment.id}-finish").click().run()
    assert opened.store.run(interrupted.id).state != "interrupted"


def test_an_experiment_that_grows_to_a_sweep_is_one(opened: Lab, interrupted: Run) -> None:
    experiment = fine_tune(opened, interrupted, TURNED, SWEPT[2:4], [0, 1])
    assert "is no study and no sweep" in texts(draw("study", experiment=experiment.id))
    opened.experiments.grow(experiment, SWEPT[2:6], [0, 1])
    app = draw("study", experiment=experiment.id)
    assert app.selectbox(key="pick-experiment").value == experiment.id


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
    app = draw("study", experiment=experiment.id)
    assert literal(study_headline(found)) in texts(app)
    assert "How long?" in texts(app)
    table = next(frame.value for frame in app.dataframe if "Epochs" in frame.value)
    assert list(table["Epochs"]) == ["1", "1", "2", "2"]
    assert list(table["Setting"]) == ["Full", "LoRA r=2"] * 2
    for point in POINTS:
        app = draw("compare", experiment=experiment.id, point=str(point))
        at = next(at for at in found.places if at.point == point)
        assert literal(headline(at)) in texts(app)
        assert next(c for c in app.segmented_control if c.label == "Epochs").value == str(point)
    for page in ("home", "report"):
        assert literal(study_headline(found)) in texts(draw(page, experiment=experiment.id))
    for page in ("weights", "adapters", "tryit", "runs", "finetune"):
        draw(page, experiment=experiment.id)
    assert [look.key for look in lab.looks.of(experiment.id)] == [look.key for look in found.looks]


def test_the_form_starts_a_study_of_what_it_shows_and_its_file_opens_it_again(opened: Lab, base: Run) -> None:
    app = draw("study")
    app.toggle(key="study-own-bases").set_value(False).run()
    app.pills(key="study-axis").set_value("batch").run()
    assert not [slider for slider in app.select_slider if slider.key == "study-batch"], (
        "what is varied is not asked for"
    )
    app.multiselect(key="study-points-batch").set_value(["16", "64"]).run()
    app.pills(key="study-ranks").set_value([2]).run()
    app.slider(key="study-seeds").set_value(3).run()
    app.slider(key="study-epochs").set_value(1).run()
    assert metrics(app)["Runs"] == "36 to 108"
    app.button(key="study-start").click().run()
    (experiment,) = opened.store.experiments()
    asked = opened.experiments.configuration(experiment)
    assert asked.vary == VarySpec.of(name="batch", points=(16, 64))
    specs = {run.spec for run in opened.store.members(experiment)}
    assert {(spec.optim.batch_size, spec.kind) for spec in specs} == {
        (size, kind) for size in (16, 64) for kind in ("full", "lora")
    }
    assert "How large a batch?" in texts(app)
    opened.stop(*experiment.runs)
    app = draw("study", like=experiment.id, base=base.id)
    assert app.pills(key="study-axis").value == "batch"
    assert app.multiselect(key="study-points-batch").value == ["16", "64"]


def test_points_that_are_none_are_refused_in_the_form(opened: Lab, base: Run) -> None:
    app = draw("study")
    app.pills(key="study-axis").set_value("shots").run()
    for points, sentence in ((["10"], "A study has 2 to 8 points"), (["10", "many"], "'many' is no whole number")):
        app.multiselect(key="study-points-shots").set_value(points).run()
        assert sentence in texts(app)
        assert not [button for button in app.button if button.key == "study-start"]
