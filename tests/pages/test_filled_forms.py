"""Forms that are filled from a file or from an experiment, what they start, and what they cannot show."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.data.task_spec import TaskSpec
from core.lab import Lab
from core.methods.dora import DoRASpec
from core.methods.full import FullSpec
from core.methods.head import HeadSpec
from core.methods.lora import LoRASpec
from core.networks.perceptron import PerceptronSpec
from core.objectives.registry import CLASSIFICATION
from core.plan.configuration import Configuration, with_head
from core.plan.configuration_file import write_configuration
from core.plan.experiment import Recipe
from core.plan.search import TuneSpec
from core.results.intervals import DEFAULT_SEEDS
from core.run_spec import OptimSpec, RunSpec, default_optim, default_rate
from core.store.record import Run
from pages.shared.experiment import keep
from pages.shared.experiment.configuration import SAVE
from pages.shared.experiment.left_out import left_out
from pages.shared.forms.objective import TITLE
from pages.shared.forms.task import network_on
from pages.shared.ui.links import ENTRIES, script
from tests.conftest import BOTH, DIGITS, TURNED, short, some_of
from tests.data.uploaded import keep_noise
from tests.launching import fine_tune
from tests.pages.test_pages import choose, draw, press, stop_all, texts
from tests.text_home import PETS, import_tiny
from tests.trained_home import TrainedHome

pytestmark = pytest.mark.slow

BEYOND = "The form cannot show all that this file says"
ODD = OptimSpec.of(learning_rate=0.0316, epochs=3, batch_size=48)
FULL, LORA = (ODD, FullSpec()), (ODD, LoRASpec.of())
HEAD = ODD.but(learning_rate=0.005), "head"
FOUND = TuneSpec.of()


def adapter_arms(optim: OptimSpec, *ranks: int, **settings: Any) -> list[tuple[OptimSpec, LoRASpec]]:
    return [(optim, LoRASpec.of(rank=rank, **settings)) for rank in ranks]


def grid(optim: OptimSpec) -> list[Recipe]:
    adapter = LoRASpec.of(scaling="alpha", target_modules=("layers.2",))
    return [
        (optim.but(learning_rate=rate), method)
        for method in (FullSpec(), adapter.but(rank=6), adapter.but(rank=2))
        for rate in (0.0316, 0.007)
    ]


BY_LOSS = CLASSIFICATION.but(measure="loss", within=0.123)
SOME = TaskSpec.of(dataset="digits", rotation=30.0, invert=True, shots=7, classes=(1, 2, 5), validation=0.2)

SHOWN = [
    (TURNED, [FULL, *adapter_arms(ODD, 1, 8, alpha=3.0, scaling="alpha", start="gaussian"), HEAD], 3, {}),
    (TURNED, [(short(), FullSpec()), (ODD.but(epochs=1, batch_size=64), LoRASpec.of(rank=3))], 12, {}),
    (TURNED, [FULL, LORA, (ODD, DoRASpec.of())], 3, {"own_bases": True, "objective": BY_LOSS}),
    (DIGITS, [FULL, LORA], 1, {"tune": FOUND, "objective": CLASSIFICATION.but(within=0.037)}),
    (SOME, [FULL], 2, {"device": "cpu"}),
    (
        DIGITS.but(invert=True),
        grid(ODD),
        2,
        {"objective": CLASSIFICATION.but(measure="macro_f1", within=1.25)},
    ),
]
"""What the form can show: task, arms, seeds, and other fields."""


def gaussian(rate: float) -> list[Recipe]:
    return [(short(rate=rate), method.of(start="gaussian")) for method in (LoRASpec, DoRASpec)]


CANNOT: list[tuple[list[Any], tuple[int, ...], dict[str, Any], str]] = [
    ([FULL, (short(), LoRASpec.of())], (0, 1), {}, "Batch size 64; Epochs 1"),
    (
        [FULL, LORA],
        (0, 3, 5),
        {"trim": True, "objective": BY_LOSS},
        "seeds 3 and 5; Keep only chosen networks",
    ),
    ([(ODD.but(patience=2, epochs=60), FullSpec())], (0, 1), {}, "Epochs 60; Patience 2"),
    ([FULL, *adapter_arms(ODD, 1, alpha=1.0), *adapter_arms(ODD, 2)], (0,), {}, "Alpha 8"),
    ([FULL, LORA], (0, 1), {"tune": TuneSpec.of(rates=3)}, "learning rates that are given"),
    ([*grid(ODD), (ODD.but(learning_rate=0.0316), DoRASpec.of(rank=4))], (0, 1), {}, ""),
]
"""What the form cannot show: arms, seeds, other fields, and what is left out where an experiment fills it in, which is
nothing where it combines the same values in other ways.
"""


def upload(app: AppTest, content: str, name: str = "experiment.json") -> AppTest:
    """Choose a file, as somebody does in the popover."""
    field = next(field for field in app.file_uploader if str(field.key).startswith("new-open"))
    field.upload(name, content.encode(), "application/json")
    return app.run()


def start(app: AppTest) -> None:
    """Press the button that starts what the form or the file says."""
    press(app, "Start the experiment")
    assert not app.error


def started(lab: Lab, known: set[str] | None = None) -> list[RunSpec]:
    """Specs of the runs of the only new experiment, which are stopped."""
    (new,) = [experiment for experiment in lab.store.experiments() if experiment.id not in (known or set())]
    stop_all(lab)
    return [run.spec for run in lab.store.members(new)]


def warned(app: AppTest) -> str:
    return "\n".join(warning.value for warning in app.warning).replace("\\", "")


@pytest.mark.parametrize(
    ("task", "arms", "seeds", "more"),
    some_of(SHOWN, lambda task, arms, seeds, more: seeds in (2, 3) and task != SOME),
)
def test_a_file_and_an_experiment_fill_in_the_form_that_can_show_them_and_the_form_starts_the_same(
    opened: Lab, trained_home: TrainedHome, task: TaskSpec, arms: list[Any], seeds: int, more: dict[str, Any]
) -> None:
    trained_home.bring(opened, str(trained_home.plain.base), str(trained_home.split.base))
    base = opened.bases()[-1]  # not the default: it has learned half of the classes
    network = network_on(base, task)
    arms = [
        (optim.but(learning_rate=default_rate(HeadSpec, network)) if method == HEAD[1] else optim, method)
        for optim, method in arms
    ]
    asked = with_head(Configuration.on(base.spec, task, arms, range(seeds), **more))
    app = upload(draw("new"), write_configuration(asked))
    assert not app.error
    assert BEYOND not in texts(app)
    assert app.query_params["base"] == base.id
    assert opened.store.experiments() == []
    start(app)
    (first,) = opened.store.experiments()
    assert opened.experiments.configuration(first).asks_the_same(asked)
    specs = started(opened)
    assert {(spec.optim, spec.method) for spec in specs} == set(asked.settings)
    assert {spec.base for spec in specs} == ({base.id} if not asked.own_bases else {spec.base for spec in specs})
    assert {"objective" in spec.to_json() for spec in specs} == {"objective" in more}

    app = draw("new", like=first.id)
    assert not app.error
    assert "cannot show all" not in texts(app)
    assert [toast.value for toast in app.toast] == ["The form has the settings of that experiment."]
    app.run().button(key="new-run-anew").click().run()
    assert not app.error
    second = opened.store.experiments()[0]
    assert second.name == f"{first.name} (2)"
    assert opened.experiments.configuration(second).asks_the_same(asked)
    stop_all(opened)


def test_a_file_that_a_form_cannot_show_opens_where_the_form_asks_which_networks_to_keep(
    opened: Lab, base: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep, "MUCH_SPACE", 0)  # as with networks of hundreds of megabytes
    arms, seeds, more, _ = CANNOT[0]
    assert any("Keep only the networks" in toggle.label for toggle in draw("new").toggle)
    app = upload(draw("new"), write_configuration(Configuration.on(base.spec, TURNED, arms, seeds, **more)))
    assert not app.exception
    assert BEYOND in texts(app)
    app.button(key="new-close").click().run()
    assert not app.exception
    assert BEYOND not in texts(app)


@pytest.mark.parametrize(
    ("arms", "seeds", "more", "missing"),
    some_of(CANNOT, lambda arms, seeds, more, missing: len(seeds) > 1 and "tune" not in more),
)
def test_what_a_form_cannot_show_is_queued_as_it_is_and_named_where_an_experiment_fills_it_in(
    opened: Lab, base: Run, arms: list[Any], seeds: tuple[int, ...], more: dict[str, Any], missing: str
) -> None:
    asked = Configuration.on(base.spec, TURNED, arms, seeds, **more)
    app = upload(draw("new"), write_configuration(asked))
    assert not app.error
    assert BEYOND in texts(app)
    assert {"Runs", "Time"} <= {metric.label for metric in app.metric}
    assert opened.store.experiments() == []
    start(app)
    (experiment,) = opened.store.experiments()
    assert opened.experiments.configuration(experiment).asks_the_same(asked)
    specs = started(opened)
    assert {(spec.optim, spec.method, spec.objective) for spec in specs} == {
        (*setting, asked.objective) for setting in asked.settings
    }
    assert {spec.seed for spec in specs} == set(seeds)
    assert BEYOND not in texts(app.run())

    app = draw("new", like=experiment.id)
    for _ in range(2):
        assert not app.toast
        said = f"The form cannot show all settings of that experiment. Left out: {missing}."
        assert (said in warned(app)) == bool(missing)
        app.run()
    del app.query_params["like"]
    assert "Left out" not in texts(app.run())


@pytest.mark.parametrize(
    "arms",
    [
        BOTH,
        [*BOTH, (short(), DoRASpec.of())],
        [BOTH[0], gaussian(0.005)[0]],
        [BOTH[0], (short(), "head")],
        adapter_arms(ODD, 2, alpha=4.0) + adapter_arms(ODD, 4, alpha=8.0),  # twice the rank
    ],
)
def test_an_experiment_is_run_again_from_the_form(opened: Lab, base: Run, arms: list[Recipe]) -> None:
    experiment = fine_tune(opened, base, TURNED, arms, [0], tune=FOUND)
    stop_all(opened)
    app = draw("experiment", experiment=experiment.id)
    choose(app, "again")
    assert app.query_params["like"] == experiment.id
    assert app.title[0].value == ENTRIES["new"].title
    assert [toast.value for toast in draw("new", like=experiment.id).toast] == [
        "The form has the settings of that experiment."
    ]


def test_a_form_that_was_filled_from_a_file_can_be_changed(opened: Lab, base: Run) -> None:
    app = upload(draw("new"), write_configuration(Configuration.on(base.spec, TURNED, [FULL], [0, 1])))
    assert app.slider(key="new-epochs").value == 3
    app.slider(key="new-epochs").set_value(4).run()
    assert app.slider(key="new-epochs").value == 4
    assert BEYOND not in texts(app)
    start(app)
    assert {spec.optim.epochs for spec in started(opened)} == {4}


def test_a_form_is_filled_once_for_each_link_that_is_followed(opened: Lab, base: Run) -> None:
    experiment = fine_tune(opened, base, TURNED, [(short(epochs=3), FullSpec())], range(2))
    stop_all(opened)
    app = draw("new", like=experiment.id)
    assert app.slider(key="new-epochs").value == 3
    app.slider(key="new-epochs").set_value(7).run()
    assert app.slider(key="new-epochs").value == 7
    assert app.query_params["like"] == experiment.id
    app.query_params["experiment"] = experiment.id
    app.switch_page(script("experiment")).run()
    choose(app, "again")
    assert app.slider(key="new-epochs").value == 3


def test_a_file_that_was_closed_leaves_the_form(opened: Lab, base: Run) -> None:
    app = upload(draw("new"), write_configuration(Configuration.on(base.spec, TURNED, [FULL], [7])))
    assert BEYOND in texts(app)
    press(app, "Close the file")
    assert not app.error
    assert BEYOND not in texts(app)
    assert app.slider(key="new-epochs").value == 3  # the nearest that the form could show
    assert opened.store.experiments() == []


def test_where_there_is_no_base_yet_the_file_has_it_trained(opened: Lab) -> None:
    spec = RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001))
    app = upload(draw("new"), write_configuration(Configuration.on(spec, TURNED, grid(ODD), [0, 1])))
    assert BEYOND in texts(app)
    assert [metric.value for metric in app.metric if metric.label == "Bases to train"] == ["1"]
    start(app)
    (experiment,) = opened.store.experiments()
    assert opened.store.run(experiment.base).spec == spec
    stop_all(opened)


def test_a_bad_file_gets_one_sentence_and_a_link_to_no_experiment_too_and_the_form_stays(
    opened: Lab, base: Run
) -> None:
    text = write_configuration(Configuration.on(base.spec, TURNED, BOTH, [0]))
    app = draw("new")
    for wrong, sentence in (
        ("{", "bad.json: This is not valid JSON"),
        (text.replace('"rotation": 45.0', '"rotation": 999'), "Rotation must be at most 180, not 999"),
        (text.replace('"rank": 4', '"rank": 500'), "Rank 500 is above 128"),
        (text.replace("digits", "nobodys"), "There is no dataset"),
        (text.replace('"classes": null', '"classes": [3, 12]'), "12"),
    ):
        upload(app, wrong, "bad.json")
        (error,) = [error.value.replace("\\", "") for error in app.error]
        assert sentence in error
        assert BEYOND not in texts(app)
    assert opened.store.experiments() == []
    assert app.file_uploader
    assert "There is no experiment" in texts(draw("new", like="e-none"))


def test_a_network_that_was_brought_is_chosen_from_a_file(opened: Lab, tmp_path: Path) -> None:
    network = import_tiny(opened, tmp_path / "tiny")
    arms = [(default_optim(method, network).but(epochs=2), method) for method in (FullSpec(), LoRASpec.of(rank=2))]
    asked = Configuration.on(network, PETS.but(shots=7), arms, range(2))
    app = upload(draw("new"), write_configuration(asked))
    assert not app.error
    assert BEYOND not in texts(app)
    assert app.query_params["base"] == network.brought
    assert app.slider(key="new-transformer-epochs").value == 2


def test_an_experiment_is_saved_as_a_file_by_a_button_of_one_name(filled: Lab) -> None:
    for page in ("home", "experiment", "new"):
        app = draw(page, experiment=filled.store.experiments()[0].id)
        if app.menu_button and page == "home":
            choose(app, "save")
        assert [link.proto.label for link in app.get("link_button")].count(SAVE) == 1, page


def test_a_form_whose_dataset_was_deleted_says_so_and_chooses_none_in_its_place(opened: Lab, base: Run) -> None:
    keep_noise(opened)
    experiment = fine_tune(opened, base, TaskSpec.of(dataset="mine"), BOTH, [0])
    stop_all(opened)
    opened.catalog.remove("mine")
    app = draw("new", like=experiment.id)
    assert [warning.value for warning in app.warning] == ["Its dataset mine was deleted: choose another one."]
    assert not app.toast
    assert app.multiselect(key="new-rates-lora").value == [f"{BOTH[1][0].learning_rate:g}"]


def fold(app: AppTest) -> str:
    """The label of the fold for measure and margin, which is closed."""
    (found,) = [each.proto for each in app.expander if each.label.startswith(TITLE)]
    assert not found.expanded
    return str(found.label)


def test_an_experiment_whose_head_was_frozen_fills_the_form_with_the_usual_rate_of_the_head(
    opened: Lab, trained_home: TrainedHome
) -> None:
    trained_home.bring(opened, str(trained_home.split.base))
    base = opened.bases()[-1]
    planned = opened.launcher.plan(Configuration.on(base.spec, TURNED, BOTH, [0, 1]), base)
    frozen = [spec.but(head=None, optim=spec.optim.but(head_rate=None)) for spec in planned.runs]
    old = opened.experiments.start(replace(planned, runs=tuple(frozen)))
    stop_all(opened)
    app = draw("new", like=old.id)
    assert app.select_slider(key="new-head-rate").value == PerceptronSpec.head_rate
    (warning,) = [warning.value for warning in app.warning if "Left out" in warning.value]
    assert warning.endswith("Left out: a head that only full fine-tuning trains.")


def test_what_is_chosen_in_the_fold_is_what_is_started_and_its_label_says_so_unless_it_is_the_default(
    opened: Lab, base: Run
) -> None:
    app = draw("new")
    app.slider(key="new-seeds").set_value(1)
    app.pills(key="new-rank").set_value([1])
    app.slider(key="new-epochs").set_value(1).run()
    assert fold(app) == TITLE
    choice = app.selectbox(key="new-measure")
    assert (choice.value, choice.options) == ("accuracy", ["Accuracy", "Macro-F1", "Loss"])
    points = app.number_input(key="new-margin-accuracy")
    assert points.label == "Margin, in points"
    points.set_value(2.0).run()
    assert fold(app) == f"{TITLE}: accuracy, margin 2 points"
    app.number_input(key="new-margin-accuracy").set_value(0.5).run()
    assert fold(app) == TITLE
    app.selectbox(key="new-measure").set_value("loss").run()
    margin = app.number_input(key="new-margin-loss")
    assert (margin.label, margin.min, margin.max, margin.step, margin.value) == ("Margin", 0.0, 1.0, 0.01, 0.02)
    assert fold(app) == f"{TITLE}: loss, margin 0.02"
    app.selectbox(key="new-measure").set_value("accuracy").run()
    assert fold(app) == TITLE
    app.selectbox(key="new-measure").set_value("loss").run()
    app.number_input(key="new-margin-loss").set_value(0.1).run()
    assert fold(app) == f"{TITLE}: loss, margin 0.1"
    start(app)
    specs = started(opened)
    assert {spec.objective for spec in specs} == {CLASSIFICATION.but(measure="loss", within=0.1)}
    assert {opened.store.run(str(spec.base)).spec.objective for spec in specs} == {CLASSIFICATION}


def test_a_measure_that_a_form_does_not_show_is_named(base: Run) -> None:
    shown = Configuration.on(base.spec, TURNED, BOTH, [0])
    assert left_out(shown.but(objective=BY_LOSS), shown) == ["judged by loss, margin 0.123"]


def test_the_same_runs_by_another_measure_are_offered_as_a_new_experiment(opened: Lab, filled: Lab) -> None:
    (first,) = opened.store.experiments()
    app = draw("new", like=first.id)
    app.selectbox(key="new-measure").set_value("macro_f1").run()
    start(app)
    assert {spec.objective for spec in started(opened, {first.id})} == {CLASSIFICATION.but(measure="macro_f1")}
    assert opened.store.experiments()[0].name == f"{first.name} (2)"


def test_a_second_press_opens_the_experiment_of_the_first(opened: Lab, base: Run) -> None:
    app = draw("new")
    app.toggle(key="new-own-bases").set_value(False)
    app.toggle(key="new-found").set_value(False)
    app.pills(key="new-rank").set_value([4]).run()
    start(app)
    (first,) = opened.store.experiments()
    specs = [run.spec for run in opened.store.members(first)]  # full and LoRA on one base and task, with every seed
    assert sorted((spec.kind, spec.seed) for spec in specs) == list(product(("full", "lora"), range(DEFAULT_SEEDS)))
    assert {(spec.base, spec.task) for spec in specs} == {(base.id, specs[0].task)}
    said = "This experiment has these runs already"
    assert said not in texts(app)
    app.switch_page(script("new")).run()
    start(app)
    assert opened.store.experiments() == [first]
    assert said in texts(app)
    stop_all(opened)
    app.switch_page(script("new")).run()
    assert f"0 of {len(first.runs)} finished" in texts(app)
    app.button(key="new-run").click().run()
    assert opened.store.experiments() == [first]
    assert said not in texts(app)
    assert all(run.is_live or run.state == "finished" for run in opened.store.members(first))
    stop_all(opened)
    app.switch_page(script("new")).run().button(key="new-run-anew").click().run()
    assert len(opened.store.experiments()) == 2
    stop_all(opened)
