"""The fold for measure and margin on Fine-tune and Sweep, through AppTest."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from core.lab import Lab
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.plan.configuration import Configuration
from core.store.record import Run
from pages.shared.experiment.left_out import left_out
from pages.shared.forms.objective import TITLE
from tests.conftest import BOTH, TURNED, finish, short
from tests.pages.test_open_file import LABELS, press, started
from tests.pages.test_pages import draw, texts

PAGES = ["finetune", "sweep"]
BY_F1 = CLASSIFICATION.but(measure="macro_f1", within=1.0)
SWEPT = [(short(rate=rate), method) for _, method in BOTH for rate in (0.001, 0.01)]


def fold(app: AppTest) -> str:
    """The label of the fold, which is closed."""
    (found,) = [each.proto for each in app.expander if each.label.startswith(TITLE)]
    assert not found.expanded
    return str(found.label)


def small(page: str) -> AppTest:
    """The form of a page, with few runs."""
    app = draw(page)
    app.slider(key=f"{page}-seeds").set_value(1).run()
    app.slider(key=f"{page}-epochs").set_value(1).run()
    if page == "sweep":
        app.pills(key="sweep-ranks").set_value([1]).run()
    return app


@pytest.mark.parametrize("page", PAGES)
def test_what_is_chosen_in_the_fold_is_what_is_started_and_its_label_says_so(opened: Lab, base: Run, page: str) -> None:
    app = small(page)
    assert fold(app) == TITLE
    choice = app.selectbox(key=f"{page}-measure")
    assert (choice.value, choice.options) == ("accuracy", ["Accuracy", "Macro-F1", "Loss"])
    assert app.number_input(key=f"{page}-margin-accuracy").label == "Margin, in points"
    choice.set_value("loss").run()
    margin = app.number_input(key=f"{page}-margin-loss")
    assert (margin.label, margin.min, margin.max, margin.step, margin.value) == ("Margin", 0.0, 1.0, 0.01, 0.02)
    assert fold(app) == f"{TITLE}: loss, margin 0.02"
    margin.set_value(0.1).run()
    assert fold(app) == f"{TITLE}: loss, margin 0.1"
    press(app, LABELS[page])
    specs = started(opened)
    assert {spec.objective for spec in specs} == {CLASSIFICATION.but(measure="loss", within=0.1)}
    assert {opened.run(str(spec.base)).spec.objective for spec in specs} == {CLASSIFICATION}


@pytest.mark.parametrize("page", PAGES)
def test_the_default_is_what_an_experiment_of_today_has(opened: Lab, base: Run, page: str) -> None:
    app = small(page)
    app.number_input(key=f"{page}-margin-accuracy").set_value(2.0).run()
    assert fold(app) == f"{TITLE}: accuracy, margin 2 points"
    app.number_input(key=f"{page}-margin-accuracy").set_value(0.5).run()
    assert fold(app) == TITLE
    app.selectbox(key=f"{page}-measure").set_value("macro_f1").run()
    app.selectbox(key=f"{page}-measure").set_value("accuracy").run()
    assert fold(app) == TITLE
    press(app, LABELS[page])
    assert all("objective" not in spec.to_json() for spec in started(opened))


@pytest.mark.parametrize(
    ("page", "objective"),
    [
        ("finetune", BY_F1),
        ("sweep", CLASSIFICATION.but(measure="loss")),
        ("finetune", CLASSIFICATION.but(within=0.037)),
    ],
)
def test_an_experiment_is_run_again_with_its_measure_and_margin(
    opened: Lab, base: Run, page: str, objective: ObjectiveSpec
) -> None:
    first = opened.fine_tune(base, TURNED, SWEPT if page == "sweep" else BOTH, range(2), objective=objective)
    opened.stop(*first.runs)
    finish(opened, *first.runs)
    app = draw(page, like=first.id)
    assert fold(app) != TITLE
    assert "cannot show all" not in texts(app)
    app.button(key={"finetune": "finetune-run-anew", "sweep": "sweep-start-anew"}[page]).click().run()
    assert not app.exception
    assert {spec.objective for spec in started(opened, {first.id})} == {objective}


def test_the_same_runs_by_another_measure_are_offered_as_a_new_experiment(opened: Lab, filled: Lab) -> None:
    (first,) = opened.experiments()
    app = draw("finetune", like=first.id)
    app.selectbox(key="finetune-measure").set_value("macro_f1").run()
    press(app, LABELS["finetune"])
    assert {spec.objective for spec in started(opened, {first.id})} == {CLASSIFICATION.but(measure="macro_f1")}
    assert opened.experiments()[0].name == f"{first.name} (2)"


def test_a_measure_that_a_form_does_not_show_is_named(opened: Lab, base: Run) -> None:
    shown = Configuration.on(base.spec, TURNED, BOTH, [0])
    assert left_out(shown.but(objective=BY_F1), shown) == ["judged by macro-F1, margin 1 point"]
