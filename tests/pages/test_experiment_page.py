"""An experiment: its answer first, its sections in tabs, its report as a file; through AppTest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import streamlit as st

from core.answer.lines import headline
from core.engine.jobs.run_files import NETWORK
from core.errors import NetworkFileError
from core.lab import Lab
from core.numbers import NOTHING, bytes_text
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.results.setting import setting_of
from core.rule.tuning import is_tuned
from core.store.record import Experiment, Run
from core.study.arms.forgetting_notes import OWN_RATES
from core.study.report import answer
from core.study.report.parts import Plot, Table
from core.study.report.report import command_of, report_of
from pages.experiment.parts import JOINED
from pages.shared.ui.download import OFFERS
from pages.shared.ui.literal import literal
from tests.pages.test_pages import draw, metrics, press, stop_all, texts
from tests.trained_home import TrainedHome


@pytest.fixture(scope="module")
def tuned(everything: Lab, trained_home: TrainedHome) -> tuple[Lab, Experiment]:
    """The process-wide lab, and the tuned experiment."""
    return everything, trained_home.tuned


def said(tuned: tuple[Lab, Experiment]) -> str:
    """The verdict's sentence, as the page writes it."""
    lab, experiment = tuned
    return literal(headline(answer.place_of(lab, experiment)))


@contextmanager
def judged(lab: Lab, experiment: Experiment, objective: ObjectiveSpec) -> Iterator[None]:
    """The experiment with another measure and margin, until the block ends."""
    kept = [(run.id, run.spec.to_json()) for run in lab.store.members(experiment)]
    rows = [(run.spec.but(objective=objective).to_json(), run.id) for run in lab.store.members(experiment)]
    answer._answers.clear()  # no measure changes but here
    try:
        with lab.store.transaction() as db:
            db.executemany("UPDATE runs SET spec = ? WHERE id = ?", rows)
        yield
    finally:
        answer._answers.clear()
        with lab.store.transaction() as db:
            db.executemany("UPDATE runs SET spec = ? WHERE id = ?", [(spec, id) for id, spec in kept])


def test_the_form_starts_what_the_form_says_tuned_and_with_a_base_for_each_seed(opened: Lab, base: Run) -> None:
    app = draw("new")
    app.slider(key="new-epochs").set_value(1).run()
    app.slider(key="new-seeds").set_value(3).run()
    app.pills(key="new-rank").set_value([4]).run()
    app.pills(key="new-controls").set_value(["head"]).run()
    assert metrics(app)["Runs"] == "54 to 243", "one epoch and three of each"
    press(app, "Start the experiment")
    (newest,) = opened.store.experiments()
    specs = [run.spec for run in opened.store.members(newest)]
    assert len(specs) == 27
    assert is_tuned(map(setting_of, specs))
    assert {spec.kind for spec in specs} == {"full", "lora", "head"}
    assert {opened.store.run(str(spec.base)).spec.seed == spec.seed for spec in specs} == {True}
    stop_all(opened)


def test_the_answer_does_not_wait_for_what_is_measured_again(
    tuned: tuple[Lab, Experiment], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise NetworkFileError("Nothing can be measured.")

    monkeypatch.setattr("pages.experiment.runs.remeasure", missing)
    app = draw("experiment", experiment=tuned[1].id)
    assert not app.error, "what is not open is not measured"
    assert said(tuned) in texts(app)
    app = draw("experiment", experiment=tuned[1].id, view="Runs")
    assert {error.value for error in app.error} == {"Nothing can be measured."}
    assert said(tuned) in texts(app)


def test_the_page_has_all_that_its_report_has(tuned: tuple[Lab, Experiment]) -> None:
    lab, experiment = tuned
    found = report_of(lab, experiment)
    app = draw("experiment", experiment=experiment.id)
    assert app.tabs[0].label == found.sections[0].title
    for section in found.sections:
        view = JOINED.get(section.title, section.title) or found.sections[0].title
        app = draw("experiment", experiment=experiment.id, view=view)
        plots = [part.key for part in section.parts if isinstance(part, Plot)]
        drawn = " ".join(each.proto.id for each in app.get("plotly_chart"))
        live = {"curves"}  # drawn with choices on the page
        assert all(f"figure-{key}" in drawn for key in plots if key not in live), section.title
        frames = [list(frame.value.columns) for frame in app.dataframe]
        assert all(list(part.frame.columns) in frames for part in section.parts if isinstance(part, Table))
    app = draw("experiment", experiment=experiment.id, view="Runs")
    shown = texts(app)
    for told in (*found.answer[:2], found.question, found.scope):
        assert literal(told) in shown
    assert all(literal(check.line).replace(" %", "\N{NO-BREAK SPACE}%") in shown for check in found.checks)
    for name, value in (*found.facts, *found.words):
        assert f"**{literal(name)}:** {literal(value)}" in shown
    assert [code.value for code in app.code] == [
        found.command,
        *([command_of(experiment.id, "--tune")] if found.finds_rates else []),
        "\n".join(found.specs),
    ]


def test_what_a_customer_costs_is_in_the_page_and_in_its_file(tuned: tuple[Lab, Experiment]) -> None:
    app = draw("experiment", experiment=tuned[1].id, view="Cost")
    app.select_slider(key="customers").set_value(20).run()
    assert any("To store, 20 customers" in frame.value for frame in app.dataframe)
    app.run()  # the menu above the tab has the number of the last run
    offer = app.session_state[OFFERS].get("report-file")
    assert "To store, 20 customers" in offer.content()
    result = next(run.result for run in tuned[0].store.members(tuned[1]) if run.result)
    assert f"one base of {bytes_text(result.checkpoint_bytes)} and one adapter per customer" in texts(app)


def test_what_could_not_be_measured_is_measured_once_it_can_be(
    tuned: tuple[Lab, Experiment], trained_home: TrainedHome
) -> None:
    lab, plain = tuned[0], trained_home.one_seed
    st.cache_data.clear()
    file = lab.settings.runs / plain.base / NETWORK
    away = file.rename(file.with_suffix(".away"))
    assert "could not be measured again" in texts(draw("experiment", experiment=plain.id, view="Runs"))
    away.rename(file)
    assert "could not be measured again" not in texts(draw("experiment", experiment=plain.id, view="Runs"))


def test_the_page_has_the_answer_at_the_margin_of_the_experiment(tuned: tuple[Lab, Experiment]) -> None:
    for objective, margin in ((CLASSIFICATION, "0.5 points"), (CLASSIFICATION.but(within=3.0), "3 points")):
        with judged(*tuned, objective):
            app = draw("experiment", experiment=tuned[1].id, view="Runs")
            assert not app.error
            assert f"Good enough here means: at most {margin}" in texts(app).replace("\\", "")
            assert said(tuned) in texts(app)
            assert app.code[0].value.startswith(f"python -m core compare --config {tuned[1].id}.json ")


def test_every_page_with_an_answer_says_what_it_is_judged_by(tuned: tuple[Lab, Experiment]) -> None:
    for objective, sentence in (
        (CLASSIFICATION, "judged by accuracy, margin 0.5 points"),
        (CLASSIFICATION.but(measure="macro_f1", within=1.0), "judged by macro-f1, margin 1 point"),
    ):
        with judged(*tuned, objective):
            for page in ("home", "experiment"):
                assert sentence in texts(draw(page, experiment=tuned[1].id)).lower().replace("\\", ""), page


def test_compare_shows_each_setting_at_its_best_rate_and_all_on_demand(tuned: tuple[Lab, Experiment]) -> None:
    app = draw("experiment", experiment=tuned[1].id)
    assert not app.error
    assert list(app.dataframe[0].value["Setting"]) == ["Full", "LoRA r=1", "LoRA r=4", "Head only"]
    assert "at 2 learning rates" in texts(draw("experiment", experiment=tuned[1].id, view="Rates"))
    assert "Each seed has a base of its own" in texts(app)
    app.toggle(key="all-tried").set_value(True).run()
    assert len(app.dataframe[0].value) == 8


def test_compare_says_what_is_shown_and_what_is_not(tuned: tuple[Lab, Experiment]) -> None:
    app = draw("experiment", experiment=tuned[1].id, view="Accuracy")
    accuracy = next(frame.value for frame in app.dataframe if "Finding" in frame.value)
    assert list(accuracy["Setting"]) == ["LoRA r=1", "LoRA r=4", "Head only"]
    assert set(accuracy["Finding"]) == {"Not told apart with 2 seeds"}
    assert set(accuracy["p"]) == {NOTHING}, "nothing is tested while a rate is at an end"
    assert all(text.endswith("%") for text in accuracy["Beats it"])
    sections = {section.title: section for section in report_of(*tuned).sections}
    table, equal = [part for part in sections["Forgetting"].parts if isinstance(part, Table)]
    shown = draw("experiment", experiment=tuned[1].id, view="Forgetting").markdown
    for told in (table.note, " ".join(each.help for each in shown)):
        assert OWN_RATES in told
        assert ("equally much it may be another" in told) is (len(equal.frame) == 0), (
            "what a table says is not left open"
        )


def test_one_seed_is_compared_image_by_image(everything: Lab, trained_home: TrainedHome) -> None:
    app = draw("experiment", experiment=trained_home.one_seed.id)
    assert not app.error
    assert "One seed: image by image" in texts(app)
    assert "images" in texts(app)
    assert "are right only with LoRA r=4" in texts(app)
    assert "corrected by Holm for all settings of this seed, but not for other seeds" in texts(app)


def test_the_weights_page_takes_no_control_for_full_fine_tuning(tuned: tuple[Lab, Experiment]) -> None:
    app = draw("weights", experiment=tuned[1].id)
    assert not app.error
    choices = app.selectbox(key="pick-run").options
    assert any(choice.startswith("Full") for choice in choices)
    assert not any(choice.startswith("Head only") for choice in choices)
