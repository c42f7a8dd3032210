"""Experiments as files on the pages: a file fills in the form, or is shown as a whole, and is what is queued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.data.task_spec import TaskSpec
from core.lab import Lab
from core.methods.dora import DoRASpec
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.objectives.registry import CLASSIFICATION
from core.plan.configuration import Configuration
from core.plan.configuration_file import write_configuration
from core.plan.rate_grid import TuneSpec, rates_around
from core.run_spec import OptimSpec, RunSpec, default_optim, default_rate
from core.store.record import Run
from pages.shared.experiment.configuration import SAVE
from pages.shared.ui.primary import on_primary
from tests.conftest import BOTH, DIGITS, TURNED, finish, short
from tests.pages.test_pages import draw, texts
from tests.text_home import PETS, bring_tiny

BEYOND = "The form cannot show all that this file says"
ODD = OptimSpec.of(learning_rate=0.0316, epochs=3, batch_size=48)
LABELS = {"finetune": "Start the experiment", "sweep": "Start the sweep"}


def adapter_arms(optim: OptimSpec, *ranks: int, **settings: Any) -> list[tuple[OptimSpec, LoRASpec]]:
    return [(optim, LoRASpec.of(rank=rank, **settings)) for rank in ranks]


def head(optim: OptimSpec) -> tuple[OptimSpec, str]:
    return optim.but(learning_rate=0.005), "head"


def grid(optim: OptimSpec) -> list[tuple[OptimSpec, Any]]:
    adapter = LoRASpec.of(scaling="alpha", target_modules=("layers.2",))
    return [
        (optim.but(learning_rate=rate), method)
        for method in (FullSpec(), adapter.but(rank=6), adapter.but(rank=2))
        for rate in (0.0316, 0.007)
    ]


BY_LOSS = CLASSIFICATION.but(measure="loss", within=0.123)

SHOWN = [
    ("finetune", TURNED, [(ODD, FullSpec()), *adapter_arms(ODD, 1, 8, alpha=3.0, start="gaussian"), head(ODD)], 3, {}),
    ("finetune", TURNED, [(ODD, FullSpec()), (ODD, LoRASpec.of()), (ODD, DoRASpec.of())], 3, {"own_bases": True}),
    ("finetune", DIGITS.but(validation=0.2), [(ODD, FullSpec()), (ODD, LoRASpec.of())], 1, {"tune": TuneSpec.of()}),
    ("finetune", TaskSpec.of(dataset="digits", shots=7, classes=(1, 2)), [(ODD, FullSpec())], 2, {"device": "cpu"}),
    ("sweep", TaskSpec.of(dataset="digits", invert=True), grid(ODD), 2, {}),
    ("finetune", TURNED, [(ODD, FullSpec()), (ODD, LoRASpec.of())], 2, {"objective": BY_LOSS}),
    ("sweep", TURNED, grid(ODD), 2, {"objective": CLASSIFICATION.but(measure="macro_f1", within=1.25)}),
]
"""What a form can show: page, task, arms, seeds, and other fields."""

CANNOT = [
    ("finetune", TURNED, [(ODD, FullSpec()), (short(), LoRASpec.of())], (0, 1), {}),
    ("finetune", TURNED, [(ODD, FullSpec()), (ODD, LoRASpec.of())], (3, 5), {}),
    ("finetune", TURNED, [(ODD.but(patience=2), FullSpec())], (0, 1), {}),
    ("finetune", TURNED, [(ODD, FullSpec()), *adapter_arms(ODD, 1, alpha=1.0), *adapter_arms(ODD, 2)], (0,), {}),
    ("finetune", TURNED, [(ODD, FullSpec())], (0, 1), {"trim": True}),
    ("sweep", TURNED, [*grid(ODD), head(ODD)], (0, 1), {}),
    ("sweep", TURNED, grid(ODD), (0,), {"own_bases": True}),
    ("sweep", TURNED, grid(ODD)[:2], (0,), {}),
    ("finetune", TURNED, [(ODD, FullSpec())], (3, 5), {"objective": BY_LOSS}),
]


def upload(app: AppTest, page: str, content: str, name: str = "experiment.json") -> None:
    """Choose a file, as somebody does in the popover."""
    field = next(field for field in app.file_uploader if str(field.key).startswith(f"{page}-open"))
    field.upload(name, content.encode(), "application/json")
    app.run()
    assert not app.exception


def press(app: AppTest, *labels: str) -> None:
    (found,) = [button for button in app.button if button.label in {*labels, *map(on_primary, labels)}]
    found.click().run()
    assert not app.exception
    assert not app.error


def started(lab: Lab, known: set[str] | None = None) -> list[RunSpec]:
    """Specs of the runs of the only new experiment, which are stopped."""
    (new,) = [experiment for experiment in lab.experiments() if experiment.id not in (known or set())]
    members = lab.members(new)
    for run in members:
        lab.stop(run.id)
    bases = {run.spec.base for run in members if run.spec.base}
    for id in bases:
        lab.stop(id)
    finish(lab, *bases, *new.runs)
    return [run.spec for run in members]


@pytest.mark.parametrize(("page", "task", "arms", "seeds", "more"), SHOWN)
def test_a_file_fills_in_the_form_that_can_show_it_and_the_form_starts_it(
    opened: Lab, base: Run, page: str, task: TaskSpec, arms: list[Any], seeds: int, more: dict[str, Any]
) -> None:
    asked = Configuration.on(base.spec, task, arms, range(seeds), **more)
    newer = opened.launch(base.spec.but(seed=9))  # so that the base of the file is not the default
    finish(opened, newer.id)
    app = draw(page)
    upload(app, page, write_configuration(asked))
    assert not app.error
    assert BEYOND not in texts(app)
    assert app.query_params["base"] == base.id
    assert opened.experiments() == []
    press(app, LABELS[page])
    (experiment,) = opened.experiments()
    assert opened.configuration(experiment).asks_the_same(asked)
    specs = started(opened)
    assert {(spec.optim, spec.method) for spec in specs} == set(asked.settings)
    assert {spec.base for spec in specs} == ({base.id} if not asked.own_bases else {spec.base for spec in specs})


def test_a_form_that_was_filled_from_a_file_can_be_changed(opened: Lab, base: Run) -> None:
    app = draw("finetune")
    upload(app, "finetune", write_configuration(Configuration.on(base.spec, TURNED, [(ODD, FullSpec())], [0, 1])))
    assert app.slider(key="finetune-epochs").value == 3
    app.slider(key="finetune-epochs").set_value(4).run()
    assert app.slider(key="finetune-epochs").value == 4
    assert BEYOND not in texts(app)
    press(app, LABELS["finetune"])
    assert {spec.optim.epochs for spec in started(opened)} == {4}


@pytest.mark.parametrize(("page", "task", "arms", "seeds", "more"), CANNOT)
def test_what_a_form_cannot_show_is_shown_as_a_whole_and_queued_as_it_is(
    opened: Lab, base: Run, page: str, task: TaskSpec, arms: list[Any], seeds: tuple[int, ...], more: dict[str, Any]
) -> None:
    asked = Configuration.on(base.spec, task, arms, seeds, **more)
    app = draw(page)
    upload(app, page, write_configuration(asked))
    assert not app.error
    assert BEYOND in texts(app)
    assert "Runs" in [metric.label for metric in app.metric]
    assert "Time" in [metric.label for metric in app.metric]
    assert opened.experiments() == []
    press(app, LABELS["finetune"])
    (experiment,) = opened.experiments()
    assert opened.configuration(experiment).asks_the_same(asked)
    specs = started(opened)
    assert {(spec.optim, spec.method) for spec in specs} == set(asked.settings)
    assert {spec.objective for spec in specs} == {asked.objective}
    assert {spec.seed for spec in specs} == set(seeds)
    assert BEYOND not in texts(app.run())


def test_a_file_that_was_closed_leaves_the_form(opened: Lab, base: Run) -> None:
    app = draw("finetune")
    upload(app, "finetune", write_configuration(Configuration.on(base.spec, TURNED, [(ODD, FullSpec())], [7])))
    assert BEYOND in texts(app)
    press(app, "Close the file")
    assert BEYOND not in texts(app)
    assert app.slider(key="finetune-epochs").value == 3  # the nearest that the form could show
    assert opened.experiments() == []


@pytest.mark.parametrize("page", ["finetune", "sweep"])
def test_where_there_is_no_base_yet_the_file_has_it_trained(opened: Lab, page: str) -> None:
    spec = RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001))
    app = draw(page)
    upload(app, page, write_configuration(Configuration.on(spec, TURNED, grid(ODD), [0, 1])))
    assert BEYOND in texts(app)
    assert [metric.value for metric in app.metric if metric.label == "Bases to train"] == ["1"]
    press(app, LABELS["finetune"])
    (experiment,) = opened.experiments()
    assert opened.run(experiment.base).spec == spec
    started(opened)


@pytest.mark.parametrize("page", ["finetune", "sweep"])
def test_a_bad_file_gets_one_sentence_and_the_form_stays(opened: Lab, base: Run, page: str) -> None:
    text = write_configuration(Configuration.on(base.spec, TURNED, BOTH, [0]))
    app = draw(page)
    for wrong, sentence in (
        ("{", "bad.json: This is not valid JSON"),
        (text.replace('"rotation": 45.0', '"rotation": 999'), "Rotation must be at most 180, not 999"),
        (text.replace('"rank": 4', '"rank": 500'), "Rank 500 is above 128"),
        (text.replace("digits", "nobodys"), "There is no dataset"),
        (text.replace('"classes": null', '"classes": [3, 12]'), "12"),
    ):
        upload(app, page, wrong, "bad.json")
        (error,) = [error.value.replace("\\", "") for error in app.error]
        assert sentence in error
        assert BEYOND not in texts(app)
    assert opened.experiments() == []
    assert app.file_uploader


def test_a_network_that_was_brought_is_chosen_from_a_file(opened: Lab, tmp_path: Path) -> None:
    network = bring_tiny(opened, tmp_path / "tiny")
    arms = [(default_optim(method, network).but(epochs=2), method) for method in (FullSpec(), LoRASpec.of(rank=2))]
    asked = Configuration.on(network, PETS.but(shots=7), arms, range(2))
    app = draw("finetune")
    upload(app, "finetune", write_configuration(asked))
    assert not app.error
    assert BEYOND not in texts(app)
    assert app.query_params["base"] == network.brought
    assert app.slider(key="finetune-transformer-epochs").value == 2


@pytest.mark.parametrize("page", ["home", "compare", "report", "finetune"])
def test_an_experiment_is_saved_as_a_file_by_a_button_of_one_name(filled: Lab, page: str) -> None:
    app = draw(page, experiment=filled.experiments()[0].id)
    assert [link.proto.label for link in app.get("link_button")].count(SAVE) == 1


def test_tuned_rates_of_a_file_are_those_of_the_form(opened: Lab, base: Run) -> None:
    """A file may have every rate written out: the form then shows the tuning that gives them."""
    arms = [
        (ODD.but(learning_rate=rate), method)
        for method in (FullSpec(), LoRASpec.of())
        for rate in rates_around(default_rate(method), TuneSpec.of(rates=3))
    ]
    app = draw("finetune")
    upload(app, "finetune", write_configuration(Configuration.on(base.spec, TURNED, arms, [0, 1])))
    assert BEYOND not in texts(app)
    assert app.toggle(key="finetune-tune").value
    assert app.slider(key="finetune-tune-rates").value == 3
