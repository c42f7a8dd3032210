"""Renaming an experiment, and adding seeds and settings to it."""

from __future__ import annotations

import pytest

from core.answer.design import look_line
from core.errors import RunStateError
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.plan.experiment import Recipe, settings_of
from core.plan.search import FIRST_POINTS, default_search, tuned_arms
from core.results.choice import chosen_arms
from core.results.row import rows_of
from core.rule.spending import CLAIM_SEEDS
from core.rule.tuning import rate_choices
from core.run_spec import default_rate
from core.store.record import Run
from core.study.report.report import report_of
from pages.shared.experiment.start import runs_text
from tests.conftest import TURNED, finish, short
from tests.launching import fine_tune
from tests.pages.test_pages import button, choose, draw, press, stop_all, texts
from tests.trained_home import TrainedHome


def test_seeds_are_added_and_the_name_follows_until_somebody_chooses_one(opened: Lab, filled: Lab) -> None:
    (experiment,) = opened.store.experiments()
    app = draw("experiment", experiment=experiment.id)
    choose(app, "seeds")
    assert "2 settings with" in texts(app)
    app.number_input[0].set_value(2).run()
    press(app, "Train 4 runs")
    grown = opened.store.experiment(experiment.id)
    assert len(grown.runs) == 8
    assert grown.name == "Digits → rotated 45° · r 4 · 4 seeds"
    choose(app, "rename")
    app.text_input[0].set_value("mine").run()
    press(app, "Save name")
    assert (opened.store.experiment(experiment.id).name, [toast.value for toast in app.toast]) == (
        "mine",
        ["Name saved"],
    )
    stop_all(opened)
    (about,) = [each.value for each in draw("home").caption if each.value.startswith("mine · ")]
    assert about.startswith(f"mine · {grown.name} · ")  # whatever it is called, the page says what was trained


def test_whether_the_rank_mattered_is_said_beside_a_button_that_adds_ranks(filled: Lab) -> None:
    (experiment,) = filled.store.experiments()
    app = draw("experiment", experiment=experiment.id)
    assert texts(app).count("Rank: only one was trained") == 1
    press(app, "Add ranks or methods")
    app.pills(key=f"add-settings-{experiment.id}-4-ranks").set_value([1]).run()
    press(app, "Train 2 runs")
    finish(filled, *filled.store.experiment(experiment.id).runs)
    for page in ("home", "compare"):
        app = draw(page, experiment=experiment.id)
        assert texts(app).count("Rank: LoRA r=4 was") == 1
    press(app, "Add ranks or methods")
    assert not {"1", "4"} & {*app.pills(key=f"add-settings-{experiment.id}-6-ranks").options}


def test_five_more_seeds_turn_leaning_into_shown_and_train_nothing_else(opened: Lab, base: Run) -> None:
    arms: list[Recipe] = [(short(rate=0.001), FullSpec()), (short(), LoRASpec.of(rank=1))]
    experiment = fine_tune(opened, base, TURNED, arms, range(3))
    before = {run.id: run for run in finish(opened, base.id, *experiment.runs)}
    app = draw("experiment", experiment=experiment.id)
    assert ":orange-badge[probably]" in texts(app)
    assert "All 3 seeds agree, but a claim takes at least 7 seeds." in texts(app)
    choose(app, "seeds")
    assert app.number_input[0].value == CLAIM_SEEDS - 3, "as many as a claim takes"
    app.number_input[0].set_value(5).run()
    assert look_line(8, [3]) in texts(app)
    press(app, "Train 10 runs")
    grown = opened.store.experiment(experiment.id)
    after = {run.id: run for run in finish(opened, *(run.id for run in opened.store.runs()))}
    assert {id: after[id] for id in before} == before
    new = [run.spec for id, run in after.items() if id not in before]
    assert sorted((spec.kind, spec.seed) for spec in new) == [(m, s) for m in ("full", "lora") for s in range(3, 8)]
    assert set(settings_of(new)) == set(arms)
    assert set(grown.runs) == after.keys() - {base.id}
    app = draw("experiment", experiment=experiment.id)
    assert ":green-badge[shown" in texts(app)
    assert "#### At these rates, " in texts(app)
    assert "Use " not in texts(app), "one rate of each says nothing of the methods"
    (primary,) = [each for each in app.button if each.proto.type == "primary"]
    assert "Find the learning rates" in primary.label, "the button does what is advised"
    report = draw("report", experiment=experiment.id)
    report.button(key=f"find-{experiment.id}").click().run()
    assert "Asks the same again" in texts(report), "whoever reads it there can do it there"
    assert "Find the learning rates" in dict(report_of(opened, experiment).words)
    assert not any("Extend rates" in option for option in app.menu_button[0].options), "no rates are added one by one"
    assert [(look.seeds, look.level > 0) for look in opened.looks.of(experiment.id)] == [(3, False), (8, True)]
    choose(app, "seeds")
    assert app.number_input[0].value == 8, "as many as there are"
    app.number_input[0].set_value(1).run()
    assert look_line(9, [8]) in texts(app)
    assert look_line(9, [8]) == "A look at 9 seeds allows 0.2 % of false claims; one at 16 would allow 0.9 %."


def test_rates_that_were_given_are_found_by_an_experiment_of_its_own_that_trains_nothing_again(
    opened: Lab, base: Run
) -> None:
    """All rates that a search begins with, which are made one arm for each method and rank."""
    adapters = [LoRASpec.of(rank=1), LoRASpec.of(rank=4)]
    usual: list[Recipe] = [(short(rate=default_rate(method)), method) for method in (FullSpec(), *adapters)]
    arms = tuned_arms(usual, FIRST_POINTS)
    experiment = fine_tune(opened, base, TURNED, arms, range(2))
    before = finish(opened, *experiment.runs)
    opened.workers.close(1.0)  # what is queued waits
    planned = opened.experiments.rate_search(experiment)
    asked, given = planned.plan.configuration, opened.experiments.configuration(experiment)
    assert [arm.method for arm in asked.arms] == [FullSpec(), *adapters]
    same = ("base", "network", "task", "seeds", "own_bases", "objective", "device")
    assert [getattr(asked, name) for name in same] == [getattr(given, name) for name in same]
    assert asked.tune == default_search(given.start)
    there = {run.spec for run in before}
    assert set(planned.runs) <= there, "each of the first rates was given"
    assert not there & set(planned.at_least), "what is there costs nothing"
    app = draw("experiment", experiment=experiment.id)
    choose(app, "find")
    assert f"{runs_text(planned)}. Time: " in texts(app)
    app.button(key=f"find-rates-{experiment.id}-start").click().run()
    (found,) = [each for each in opened.store.experiments() if each.id != experiment.id]
    assert app.query_params["experiment"] == found.id, "the page shows what was started"
    assert {run.experiment for run in opened.live()} == {found.id}, "what follows trains"
    assert "still to finish" in texts(app)
    stop_all(opened)
    assert set(planned.runs) <= {run.spec for run in opened.store.runs_of(sorted({*found.runs} & {*experiment.runs}))}
    assert opened.store.experiment(experiment.id) == experiment
    app = draw("experiment", experiment=found.id)
    assert not any("Find the learning rates" in option for option in app.menu_button[0].options), "it does so already"
    with pytest.raises(RunStateError, match="searched for already"):
        opened.experiments.rate_search(found)


def test_rates_are_extended_for_every_method_where_the_best_is_at_an_end(opened: Lab, base: Run) -> None:
    arms: list[Recipe] = [
        (short(rate=rate), method) for method in (FullSpec(), LoRASpec.of(rank=1)) for rate in (0.001, 0.00316)
    ]
    experiment = fine_tune(opened, base, TURNED, arms, range(2))
    before = finish(opened, *experiment.runs)
    assert {choice.at_end for choice in rate_choices(rows_of(before))} == {"highest"}
    app = draw("experiment", experiment=experiment.id)
    assert "A better rate may lie above 0.00316" in texts(app)
    assert opened.looks.of(experiment.id) == [], "nothing was tested"
    choose(app, "rates")
    assert "Adds 0.01 for every method and rank." in texts(app)
    press(app, "Train 4 runs")
    old = {run.id for run in before}
    new = [run.spec for run in opened.store.members(opened.store.experiment(experiment.id)) if run.id not in old]
    assert sorted((spec.kind, spec.optim.learning_rate, spec.seed) for spec in new) == [
        (kind, 0.01, seed) for kind in ("full", "lora") for seed in (0, 1)
    ]
    assert "still to finish" in texts(draw("experiment", experiment=experiment.id))
    finish(opened, *opened.store.experiment(experiment.id).runs)
    app = draw("experiment", experiment=experiment.id)
    ends = {
        choice.at_end for choice in rate_choices(rows_of(opened.store.members(opened.store.experiment(experiment.id))))
    }
    assert any("Extend rates" in option for option in app.menu_button[0].options) is (ends != {None})


def test_an_experiment_grows_by_a_method_at_every_rank_and_rate_of_the_other(
    opened: Lab, base: Run, trained_home: TrainedHome
) -> None:
    experiment = trained_home.sweep
    trained_home.bring(opened, *experiment.runs)
    app = draw("experiment", experiment=experiment.id)
    choose(app, "settings")
    app.pills(key=f"add-settings-{experiment.id}-{len(experiment.runs)}-kinds").set_value(["dora"]).run()
    press(app, "Train 16 runs")
    stop_all(opened)
    specs = [run.spec for run in opened.store.members(opened.store.experiment(experiment.id))]
    lora, dora = (
        {(spec.method.rank, spec.method.alpha, spec.optim, spec.seed) for spec in specs if spec.kind == kind}
        for kind in ("lora", "dora")
    )
    assert lora == dora != set()


@pytest.mark.parametrize(("method", "title"), [(LoRASpec.of(rank=1), "Add full fine-tuning"), (FullSpec(), "Add LoRA")])
def test_what_was_trained_alone_has_the_other_side_as_its_next_step(
    opened: Lab, base: Run, method: LoRASpec | FullSpec, title: str
) -> None:
    experiment = fine_tune(opened, base, TURNED, [(short(), method)], [0])
    finish(opened, *experiment.runs)
    for page in ("home", "report"):
        assert button(draw(page, experiment=experiment.id), title)
    app = draw("experiment", experiment=experiment.id)
    press(app, title)
    press(app, "Train 1 run")
    assert {run.spec.kind for run in opened.store.members(experiment)} == {"full", "lora"}
    stop_all(opened)


def test_the_settings_of_an_answer_are_trained_three_times_as_long(opened: Lab, filled: Lab) -> None:
    (experiment,) = opened.store.experiments()
    before = {run.id: run for run in opened.store.members(experiment)}
    app = draw("experiment", experiment=experiment.id)
    assert "What longer training would bring" in texts(app), "a run of one epoch does not tell"
    choose(app, "longer")
    assert "2 settings with 2 seeds each" in texts(app)
    press(app, "Train 4 runs")
    finish(opened, *opened.store.experiment(experiment.id).runs)
    new = [run.spec for run in opened.store.members(experiment) if run.id not in before]
    old = {run.spec for run in before.values()}
    assert {spec.but(optim=spec.optim.but(epochs=spec.optim.epochs // 3)) for spec in new} == old
    assert len(new) == 4
    app = draw("experiment", experiment=experiment.id)
    assert {arm.spec.optim.epochs for arm in chosen_arms(rows_of(opened.store.members(experiment)))} == {
        new[0].optim.epochs
    }


def test_a_selection_of_runs_has_no_actions(filled: Lab) -> None:
    (experiment,) = filled.store.experiments()
    app = draw("experiment", runs=",".join(experiment.runs))
    assert not app.menu_button
