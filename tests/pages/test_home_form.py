"""Home's form: what it asks, what it waits for, and what it shows of an experiment and of people's own data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from core.answer.lines import headline
from core.data.task_spec import TaskSpec
from core.data.uploads import read_texts
from core.engine.experiments import Experiments
from core.engine.launcher import Planned
from core.forecast.estimates import Estimates
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.networks.decoder import DecoderSpec
from core.networks.perceptron import PerceptronSpec
from core.settings import Settings
from core.store.record import Experiment
from core.study.report.example import example, example_verdict
from pages.home.asked import Question, question_of, targets
from pages.home.plans import PLANS
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import when
from tests.conftest import BOTH, compared, finish, short
from tests.data.text_files import CSV
from tests.data.uploaded import keep_noise
from tests.pages.test_pages import draw, draw_with_digits, stop_all, texts, visit
from tests.text_home import import_tiny
from tests.trained_home import TrainedHome


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a lab whose queue takes a thorough comparison."""
    return Settings(home=tmp_path / "home", max_waiting=500)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What each form that is drawn from now on asks for: its configuration where learning rates are searched for, else
    its runs.
    """
    found: list[Any] = []
    look = Experiments.find

    def find(experiments: Experiments, planned: Planned) -> Experiment | None:
        found.append(set(planned.runs) if planned.plan is None else planned.plan.configuration)
        return look(experiments, planned)

    monkeypatch.setattr(Experiments, "find", find)
    return found


def chosen(app: AppTest) -> tuple[Any, ...]:
    """Dataset, target and plan that the form shows."""
    return (
        app.selectbox(key="home-dataset").value,
        app.selectbox(key="home-target").value,
        app.radio(key="home-plan").value,
    )


def test_the_first_visit_shows_an_example_which_it_says_and_which_goes_when_there_is_an_experiment(opened: Lab) -> None:
    app = draw("home")
    assert f"**Example: {example().name}**, with a base for each seed." in texts(app).replace("\\", "")
    assert literal(headline(example_verdict())) in texts(app)
    assert "4,000 test images reliably show differences from" in texts(app)
    (chart,) = app.get("plotly_chart")
    assert "each setting minus that of full fine-tuning" in chart.proto.alt
    assert [each.proto.label for each in app.get("link_button")] == ["PNG", "SVG", "HTML"]
    assert [button.key for button in app.button if not button.key.startswith("home-run")] == []
    compared(opened, "rotation-45", "digits", None, short(rate=0.001), BOTH, seeds=range(1))
    assert "Example:" not in texts(draw("home"))


def test_home_and_the_form_with_everything_begin_with_the_same_question(opened: Lab, asked: list[Any]) -> None:
    draw_with_digits("home")
    home = asked[-1]
    base = opened.launcher.launch(home.base)
    finish(opened, base.id)
    asked.clear()
    draw("new", base=base.id)
    assert asked[-1].asks_the_same(home)
    assert asked[-1].base == home.base


@pytest.mark.parametrize("is_stopped", [False, True])
def test_the_button_waits_for_no_forecast(opened: Lab, monkeypatch: pytest.MonkeyPatch, is_stopped: bool) -> None:
    app = draw_with_digits("home")
    if is_stopped:
        app.button(key="home-run").click().run()
        stop_all(opened)
    steps: list[str] = []

    def noted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*values: Any, **more: Any) -> Any:
            steps.append(str(more.get("key")) if name == "button" else name)
            return call(*values, **more)

        return noting

    for name in ("whole", "between", "each", "rest", "shortage"):
        monkeypatch.setattr(Estimates, name, noted(name, getattr(Estimates, name)))
    monkeypatch.setattr("pages.home.question.expected_sentences", noted("expected", lambda *_: ["Expected."]))
    monkeypatch.setattr(st, "button", noted("button", st.button))
    app.run()
    assert app.button(key="home-run")
    buttons = ["home-run", "home-run-anew"]
    drawn = [step for step in steps if step in buttons or not step.startswith(("home-", "below-"))]
    assert drawn[: 1 + is_stopped] == buttons[: 1 + is_stopped]
    assert {"between", "expected", "shortage"} <= set(drawn)
    assert "Thorough: " in texts(app)


def test_what_does_not_fit_in_memory_is_not_queued_and_the_form_says_so(
    opened: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.forecast.estimates.free_bytes", lambda device: 1000)
    app = draw_with_digits("home")
    assert any("will not fit" in warning.value for warning in app.warning)
    app.button(key="home-run").click().run()
    assert any("will not fit" in error.value for error in app.error)
    assert any("will not fit" in warning.value for warning in app.warning)
    assert opened.store.runs() == []


def test_what_trains_is_in_the_form_after_a_reload_and_what_somebody_changes_stays(opened: Lab) -> None:
    app = draw_with_digits("home")
    app.selectbox(key="home-target").set_value("inversion")
    app.radio(key="home-plan").set_value("quick").run()
    app.button(key="home-run").click().run()
    (experiment,) = opened.store.experiments()
    assert opened.live()
    for again in (draw("home"), draw("home", experiment=experiment.id)):
        assert chosen(again) == ("digits", "inversion", "quick")
        again.selectbox(key="home-target").set_value("permutation").run()
        assert chosen(again) == ("digits", "permutation", "quick")
    stop_all(opened)
    for again in (draw("home", experiment=experiment.id), draw("home")):
        assert chosen(again) == ("digits", "inversion", "quick"), "nothing trains, and this is what the answer is to"


def test_what_a_link_or_a_person_chose_stays_while_experiments_get_runs_and_end(
    opened: Lab, trained_home: TrainedHome
) -> None:
    keep_noise(opened)
    app = draw_with_digits("home")
    app.selectbox(key="home-target").set_value("rotation-45").run()
    app.radio(key="home-plan").set_value("quick").run()
    app.button(key="home-run").click().run()
    (rotation,) = opened.store.experiments()
    assert app.query_params["experiment"] in (rotation.id, [rotation.id])

    visit(visit(app, "data"), "home", dataset="mine")  # as "Ask on Home" does
    assert chosen(app)[:2] == ("mnist-16k", "data:mine")
    stop_all(opened)
    app.radio(key="home-plan").set_value("thorough").run()
    assert chosen(app) == ("mnist-16k", "data:mine", "thorough"), "an experiment has ended meanwhile"

    app.query_params["experiment"] = rotation.id  # as adding runs to the experiment that is shown does
    app.run()
    assert chosen(app) == ("mnist-16k", "data:mine", "thorough")
    trained_home.bring(opened, str(trained_home.plain.base), *trained_home.plain.runs)
    app.run()
    assert chosen(app) == ("mnist-16k", "data:mine", "thorough"), "another experiment is there"
    app.button(key=f"open-{trained_home.plain.id}").click().run()
    assert chosen(app)[0] == "digits", "somebody has opened another experiment"
    app.selectbox(key="home-target").set_value("permutation").run()
    assert chosen(app)[:2] == ("digits", "permutation")


def test_every_question_of_home_is_read_from_its_experiment(opened: Lab) -> None:
    opened.workers.close(1.0)  # what is queued waits
    info = opened.catalog.info("digits")
    digits = [(target, PerceptronSpec.of(num_classes=10)) for target in targets(opened, info, direct=False)]
    asked = [Question(info.name, target, False, network, TaskSpec.of().length) for target, network in digits]
    continued = Question("definitions", "split", False, DecoderSpec.of(), TaskSpec.of().length)
    for question in (*asked, continued):
        target = question.target
        for name, plan in PLANS.items():
            planned = opened.launcher.plan(question.configuration(opened, plan))
            experiment = opened.experiments.start(replace(planned, runs=planned.runs[:3]), trim=name == "quick")
            assert question_of(opened, experiment) == (question, name)
            if (target, name) == ("inversion", "quick"):  # and while it is trained for longer, or with a rank more
                settings = opened.experiments.settings(experiment)
                more = [(optim.but(epochs=3 * optim.epochs), method) for optim, method in settings]
                opened.experiments.grow(
                    experiment, [*settings, *more, (settings[1][0], LoRASpec.of(rank=16))], range(8)
                )
                assert question_of(opened, opened.store.experiment(experiment.id)) == (question, name)
    other = compared(opened, "split", "digits", None, short(), BOTH, seeds=range(1))
    found, plan_name = question_of(opened, other)
    assert (found.source, found.target, plan_name) == ("digits", "split", None)


def test_own_images_own_texts_and_imported_networks_can_be_asked_about(opened: Lab, tmp_path: Path) -> None:
    opened.workers.close(1.0)  # what is queued waits
    app = draw("home")
    links = {link.proto.label: link.proto.page for link in app.get("page_link")}
    assert links["Upload images or texts"].endswith("library")
    assert links["Import a network"].endswith("library")
    app.selectbox(key="home-dataset").set_value("definitions").run()
    assert app.button_group(key="home-learned").value == "language", "which needs no network that is not there"
    assert app.button(key="home-run")
    options = app.selectbox(key="home-dataset").options
    assert [option for option in options if "Definitions" in option] == ["Definitions · texts"], "beside images"
    assert not app.toggle, "no network was imported, as which one could be fine-tuned"
    lean = "holds at these, and “probably” is the most that 3 seeds can say"
    assert app.radio(key="home-plan").proto.captions[1].endswith(lean)
    app.button_group(key="home-learned").set_value("text").run()
    assert [link.proto.label for link in app.get("page_link")].count("Import a network") == 1
    assert not app.toggle
    assert app.selectbox(key="home-dataset").label == "Dataset", "which a network learns that is to be imported"
    keep_noise(opened)
    app = draw("home", dataset="mine")
    assert chosen(app)[:2] == ("mnist-16k", "data:mine")
    app.button(key="home-run").click().run()
    assert not app.error
    (experiment,) = opened.store.experiments()
    assert opened.store.members(experiment)[0].spec.task.dataset == "mine"

    opened.catalog.keep(read_texts(CSV).dataset, "notes")  # three classes, which have no two halves
    app = draw("home", dataset="notes")
    assert app.button_group(key="home-learned").value == "text", "which it was uploaded for"
    assert [link.proto.label for link in app.get("page_link")].count("Import a network") == 1
    app.button_group(key="home-learned").set_value("language").run()
    assert not app.error
    assert app.button(key="home-run")

    network = import_tiny(opened, tmp_path / "tiny")
    app = draw("home", dataset="pets")
    assert app.toggle(key="home-direct").value
    assert chosen(app)[:2] == ("pets", "same")
    assert app.selectbox(key="home-network").value == network.brought
    app.radio(key="home-plan").set_value("quick").run()
    app.button(key="home-run").click().run()
    assert not app.error
    spec = opened.store.members(opened.store.experiments()[0])[0].spec
    assert (spec.task.dataset, spec.network.brought, spec.is_direct) == ("pets", network.brought, True)


def test_they_do_with_texts_and_an_imported_network_too(
    everything: Lab, trained_home: TrainedHome, asked: list[Any]
) -> None:
    app = draw("home")
    app.selectbox(key="home-dataset").set_value("pets").run()
    quick = asked[-1]
    app = draw("new", base=trained_home.digest)
    asked.clear()
    app.selectbox(key="new-dataset").set_value("pets").run()
    assert asked[-1] == quick
    base = everything.store.run(str(trained_home.after_source.base))
    asked.clear()
    draw("new", base=base.id)
    assert not any(spec.own_base for spec in asked[-1]), "an imported network is pretrained once for all seeds"


def test_the_form_shows_the_question_of_texts(everything: Lab, trained_home: TrainedHome) -> None:
    app = draw("home", experiment=trained_home.direct.id)
    assert chosen(app)[:2] == ("pets", "same")
    assert app.toggle(key="home-direct").value
    visit(app, "home", experiment=trained_home.after_source.id)
    assert chosen(app)[:2] == ("pets", "split")
    assert not app.toggle(key="home-direct").value


def test_an_answer_to_another_question_than_that_of_the_form_says_so(everything: Lab) -> None:
    app = draw("home")
    assert "Answer to another question" not in [each.value for each in app.subheader]
    app.selectbox(key="home-target").set_value("permutation").run()
    assert "Answer to another question" in [each.value for each in app.subheader]


def test_earlier_experiments_have_their_time_and_their_name(everything: Lab, trained_home: TrainedHome) -> None:
    app = draw("home")
    shown = trained_home.plain.id
    listed = [experiment for experiment in everything.store.experiments(12) if experiment.id != shown]
    assert len(listed) > 1
    captions = [caption.value.replace("\\", "") for caption in app.caption]
    for experiment in listed:
        assert when(experiment.created) in captions
        assert f"**{experiment.name}**" in texts(app).replace("\\", "")
        trained = everything.experiments.trained_text(experiment, everything.store.members(experiment))
        assert bool(trained) == ("→" not in experiment.name)  # somebody chose the name
        assert not trained or trained in captions
