"""Forms for texts: presets with and without a source, and the reasons for defaults."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.data.dataset import TextDataset
from core.data.task_spec import TaskSpec
from core.forecast.estimates import Estimates
from core.forecast.forecast import target_layers
from core.lab import Lab, close_lab, open_lab
from core.methods.lora import LoRASpec
from core.methods.method import Role
from core.networks.transformer import TransformerSpec
from core.run_spec import RunSpec
from core.settings import Settings
from pages.shared.forms.task import OWN
from tests.conftest import HANG, finish, short
from tests.launching import fine_tune
from tests.networks.tiny import save_tiny
from tests.pages.test_pages import draw, visit

LONGEST = 64
"""Tokens that the base was trained with."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Open a home with texts of sixty words, a tiny network, and a base that was pretrained on them."""
    folder = tmp_path_factory.mktemp("fit")
    lab = open_lab(Settings(home=folder / "home"))
    texts, labels = ("cat " * 60, "dog " * 60, "mat " * 60, "far " * 60) * 12, np.arange(48) % 4
    lab.catalog.keep(TextDataset("upload", texts, labels, texts, labels, ("cat", "dog", "mat", "far")), "long")
    card = lab.networks.import_folder(save_tiny(folder / "tiny", max_position_embeddings=128), "tiny")
    network = lab.networks.spec(card.digest, 4)
    task = TaskSpec.of(dataset="long", length=LONGEST)
    finish(
        lab, lab.launcher.launch(RunSpec.of(method="pretrain", network=network, task=task, optim=short(epochs=1))).id
    )
    yield lab
    close_lab()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[RunSpec]]:
    """The runs of each form that asks whether they fit, in the order of asking."""
    found: list[Sequence[RunSpec]] = []
    shortage = Estimates.shortage

    def noted(estimates: Estimates, specs: Sequence[RunSpec]) -> str | None:
        found.append(list(specs))
        return shortage(estimates, specs)

    monkeypatch.setattr(Estimates, "shortage", noted)
    return found


def test_the_presets_of_a_network_as_it_was_brought_take_the_whole_dataset_or_ten_shots_of_each_class(
    lab: Lab, asked: list[Sequence[RunSpec]]
) -> None:
    app = draw("new", base=lab.networks.list()[0].digest)
    app.selectbox(key="new-dataset").set_value("long").run()
    assert list(app.pills(key="new-preset").options) == ["Whole dataset", "Ten shots", "Custom"]
    whole = asked[-1]
    assert {spec.task for spec in whole} == {TaskSpec.of(dataset="long", length=128)}
    app.pills(key="new-preset").set_value("ten-shot").run()
    assert asked[-1] == [spec.but(task=spec.task.but(shots=10)) for spec in whole]


def test_home_fine_tunes_a_network_as_it_was_brought_on_the_whole_dataset_or_ten_shots_of_each_class(
    lab: Lab, asked: list[Sequence[RunSpec]]
) -> None:
    app = draw("home")
    app.selectbox(key="home-dataset").set_value("digits").run()
    assert not [toggle for toggle in app.toggle if toggle.key == "home-direct"]
    app.selectbox(key="home-dataset").set_value("long").run()
    assert app.selectbox(key="home-dataset").label == "Dataset"
    assert list(app.selectbox(key="home-target").options) == ["Whole dataset", "Ten shots"]
    whole = asked[-1]
    assert {(spec.is_direct, spec.task) for spec in whole} == {(True, TaskSpec.of(dataset="long", length=128))}
    app.selectbox(key="home-target").set_value("ten-shot").run()
    assert asked[-1] == [spec.but(task=spec.task.but(shots=10)) for spec in whole]
    app.selectbox(key="home-dataset").set_value("digits").run()
    assert app.selectbox(key="home-dataset").label == "Pretrained on"


def test_a_preset_that_another_base_does_not_have_gives_way_to_the_one_that_is_suggested(lab: Lab) -> None:
    app = draw("new", base=lab.bases()[0].id)
    assert app.pills(key="new-preset").value == "split"
    app.selectbox(key="pick-base").set_value(lab.networks.list()[0].digest).run()
    assert app.pills(key="new-preset").value == "same"


def test_a_form_that_is_filled_from_an_experiment_has_the_preset_of_its_task(lab: Lab) -> None:
    base, network = lab.bases()[0], lab.networks.spec(lab.networks.list()[0].digest, 4)
    whole = TaskSpec.of(dataset="long", length=128)
    for start, task, preset in (
        (network, whole.but(shots=10), "ten-shot"),
        (network, whole.but(shots=5), "same"),
        (network, whole.but(length=32), "same"),
        (network, whole.but(classes=(0, 1)), OWN),
        (base, whole.but(length=LONGEST, classes=(2, 3)), "split"),
    ):
        experiment = fine_tune(lab, start, task, [(short(), LoRASpec.of(rank=1))], range(1))
        lab.stop(*experiment.runs)
        app = draw("new", like=experiment.id)
        assert (app.pills(key="new-preset").value, task) == (preset, task)
        assert app.select_slider(key="new-length").value == task.length
        if preset != "ten-shot":
            assert app.select_slider(key="new-shots").value == (task.shots or "all")


ADAPTERS = {"adapter", "rank", "alpha", "target_modules"}
"""Reasons for the defaults of adapters."""


@pytest.mark.parametrize(
    ("page", "left_out"),
    [("new", {Role.BASE}), ("pretrain", {*ADAPTERS, "learning_rate"})],
)
def test_the_help_of_a_field_gives_the_reason_for_the_value_that_it_starts_at(
    lab: Lab, page: str, left_out: set[str]
) -> None:
    app = draw(page, **({} if page == "pretrain" else {"base": lab.networks.list()[0].digest}))
    app.selectbox(key=f"{page}-dataset").set_value("long").run()
    told = "\n".join(widget.help for widget in widgets(app))
    for name, reason in TransformerSpec.reasons.items():
        assert (f": {reason}." in told) == (name not in left_out), name
    for widget in widgets(app):
        if found := re.search(r"Default (.+?): ", widget.help):
            values = widget.value if isinstance(widget.value, list) else [widget.value]
            assert found[1] == ", ".join(value if isinstance(value, str) else f"{value:g}" for value in values)


def test_the_form_of_a_perceptron_gives_no_reasons(lab: Lab) -> None:
    app = draw("pretrain")
    app.selectbox(key="pretrain-dataset").set_value("digits").run()
    assert widgets(app)
    assert not [widget.help for widget in widgets(app) if "Default" in widget.help]


def widgets(app: AppTest) -> list[Any]:
    """The fields of a form that have a help."""
    kinds = ("slider", "select_slider", "pills", "segmented_control", "selectbox", "multiselect", "toggle")
    return [widget for kind in kinds for widget in app.get(kind) if getattr(widget, "help", "")]


def layers_of_a_network() -> None:
    """A page of nothing but the layers of the network that the address names."""
    import streamlit as st

    from core.lab import current
    from pages.shared.forms.layers import layer_form

    layer_form("form", current().networks.spec(st.query_params["base"], 4))


def test_every_block_of_another_network_is_chosen_and_a_choice_for_it_stays_as_does_that_of_an_experiment(
    lab: Lab, tmp_path: Path
) -> None:
    shallow = lab.networks.list()[0].digest
    deep = lab.networks.import_folder(save_tiny(tmp_path / "deep", num_hidden_layers=4)).digest
    app = AppTest.from_function(layers_of_a_network, default_timeout=HANG)
    try:
        for base, every in ((shallow, [0, 1]), (deep, [0, 1, 2, 3]), (shallow, [0, 1])):
            app.query_params["base"] = base
            app.run()
            assert app.pills(key="form-blocks").value == every
        app.pills(key="form-blocks").set_value([1]).run()
        app.run()
        assert app.pills(key="form-blocks").value == [1]

        network, task = lab.networks.spec(shallow, 4), TaskSpec.of(dataset="long", length=128)
        targets = target_layers(network).targets(["all-linear"], [1])
        experiment = fine_tune(lab, network, task, [(short(), LoRASpec.of(rank=1, target_modules=targets))], range(1))
        lab.stop(*experiment.runs)
        app = draw("new", base=deep)
        app.query_params["like"] = experiment.id
        app.run()
        assert app.selectbox(key="pick-base").value == shallow
        assert app.pills(key="new-transformer-blocks").value == [1]
    finally:
        lab.networks.remove(deep)


def test_settings_that_contradict_each_other_are_a_sentence(lab: Lab) -> None:
    app = draw("networks")
    app.session_state["new-transformer-batch"] = 8
    app.session_state["new-transformer-accumulation"] = 16
    visit(app, "new", base=lab.networks.list()[0].digest)
    (error,) = app.error
    assert "16" in error.value


def test_each_of_two_networks_of_one_name_can_be_chosen(lab: Lab, tmp_path: Path) -> None:
    first = lab.networks.list()[0]
    second = lab.networks.import_folder(save_tiny(tmp_path / "tiny", seed=1), first.name)
    try:
        app = draw("pretrain")
        app.selectbox(key="pretrain-dataset").set_value("long").run()
        options = app.selectbox(key="pretrain-network").options
        assert len(set(options)) == len(options) == 2
        for digest in (first.digest, second.digest, first.digest):
            app.selectbox(key="pretrain-network").set_value(digest).run()
            assert app.selectbox(key="pretrain-network").value == digest
    finally:
        lab.networks.remove(second.digest)
