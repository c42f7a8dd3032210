"""Renaming an experiment, adding seeds to it, and filling the forms with its settings."""

from __future__ import annotations

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.data.dataset import ImageDataset
from core.data.task_spec import TaskSpec
from core.lab import Lab
from core.methods.dora import DoRASpec
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.low_rank import LowRankSpec
from core.plan.experiment import Setting, settings_of
from core.plan.rate_grid import TuneSpec
from core.run_spec import OptimSpec
from core.store.record import Run
from pages.shared.ui.links import script
from pages.shared.ui.primary import on_primary
from tests.conftest import BOTH, TURNED, finish, short
from tests.data.uploaded import noise
from tests.pages.test_pages import draw, texts


def unfold(app: AppTest, popover: str) -> None:
    """Open the popover with this key."""
    assert app.session_state[popover] is False
    app.session_state[popover] = True
    app.run()


def button(app: AppTest, label: str) -> object:
    (found,) = [button for button in app.button if button.label in (label, on_primary(label))]
    return found


def test_seeds_are_added_and_the_name_follows_until_somebody_chooses_one(opened: Lab, filled: Lab) -> None:
    (experiment,) = opened.experiments()
    app = draw("compare", experiment=experiment.id)
    unfold(app, f"add-seeds-{experiment.id}-4")
    assert "2 settings with" in texts(app)
    app.number_input[0].set_value(2).run()
    button(app, "Train 4 runs").click().run()
    assert not app.exception
    grown = opened.experiment(experiment.id)
    assert len(grown.runs) == 8
    assert grown.name == "Digits → rotated 45° · r 4 · 4 seeds"
    unfold(app, f"rename-{experiment.id}-{grown.name}")
    app.text_input[0].set_value("mine").run()
    button(app, "Save name").click().run()
    assert not app.exception
    assert opened.experiment(experiment.id).name == "mine"
    opened.stop(*grown.runs)
    finish(opened, *grown.runs)


def test_five_more_seeds_turn_leaning_into_shown_and_train_nothing_else(opened: Lab, base: Run) -> None:
    arms: list[Setting] = [(short(rate=0.001), FullSpec()), (short(), LoRASpec.of(rank=1))]
    experiment = opened.fine_tune(base, TURNED, arms, range(3))
    before = {run.id: run for run in finish(opened, base.id, *experiment.runs)}
    app = draw("compare", experiment=experiment.id)
    assert ":orange-badge[leaning]" in texts(app)
    assert "Full fine-tuning looks better" in texts(app)
    unfold(app, f"add-seeds-{experiment.id}-6")
    app.number_input[0].set_value(5).run()
    button(app, "Train 10 runs").click().run()
    assert not app.exception
    grown = opened.experiment(experiment.id)
    after = {run.id: run for run in finish(opened, *(run.id for run in opened.runs()))}
    assert {id: after[id] for id in before} == before
    new = [run.spec for id, run in after.items() if id not in before]
    assert sorted((spec.kind, spec.seed) for spec in new) == [(m, s) for m in ("full", "lora") for s in range(3, 8)]
    assert set(settings_of(new)) == set(arms)
    assert set(grown.runs) == after.keys() - {base.id}
    app = draw("compare", experiment=experiment.id)
    assert ":green-badge[shown]" in texts(app)
    assert "Use full fine-tuning: LoRA r=1 is" in texts(app).replace("\\", "")


def test_a_selection_of_runs_has_no_actions(filled: Lab) -> None:
    (experiment,) = filled.experiments()
    app = draw("compare", runs=",".join(experiment.runs))
    assert f"add-seeds-{experiment.id}-4" not in app.session_state


ODD = OptimSpec.of(learning_rate=0.0316, epochs=3, batch_size=48)


@pytest.mark.parametrize(
    ("page", "task", "arms", "seeds"),
    [
        (
            "finetune",
            TURNED,
            [(short(epochs=2), FullSpec()), (ODD.but(epochs=2, batch_size=64), LoRASpec.of(rank=3))],
            12,
        ),
        (
            "finetune",
            TaskSpec.of(dataset="digits", rotation=30.0, invert=True, shots=7, classes=(1, 2, 5), validation=0.2),
            [
                *((ODD, LoRASpec.of(rank=rank, alpha=3.0, scaling="alpha", start="gaussian")) for rank in (1, 8)),
                (ODD.but(learning_rate=0.005), "head"),
            ],
            1,
        ),
        (
            "sweep",
            TaskSpec.of(dataset="digits", invert=True),
            [
                (ODD.but(learning_rate=rate), kind)
                for kind in (FullSpec(), LoRASpec.of(rank=6))
                for rate in (0.0316, 0.007)
            ],
            2,
        ),
    ],
)
def test_a_form_that_is_filled_and_started_trains_the_same_settings(
    opened: Lab, base: Run, page: str, task: TaskSpec, arms: list[Setting], seeds: int
) -> None:
    first = opened.fine_tune(base, task, arms, range(seeds))
    for id in first.runs:
        opened.stop(id)
    newer = opened.launch(base.spec.but(seed=9))  # so that the experiment's base is not the default
    finish(opened, newer.id, *first.runs)
    app = draw(page, like=first.id)
    assert not app.error
    app.run()
    app.button(key={"finetune": "finetune-run-anew", "sweep": "sweep-start-anew"}[page]).click().run()
    assert not app.exception
    assert not app.error
    second = opened.experiments()[0]
    assert second.id != first.id
    for id in second.runs:
        opened.stop(id)
    finish(opened, *second.runs)
    known, found = ([run.spec for run in opened.members(experiment)] for experiment in (first, second))
    assert set(settings_of(found)) == set(settings_of(known))
    assert {(s.base, s.task, s.seed) for s in found} == {(s.base, s.task, s.seed) for s in known}
    assert second.name == f"{first.name} (2)"


def test_a_form_is_filled_once_for_each_link_that_is_followed(opened: Lab, base: Run) -> None:
    experiment = opened.fine_tune(base, TURNED, [(short(epochs=3), FullSpec())], range(2))
    opened.stop(*experiment.runs)
    finish(opened, *experiment.runs)
    app = draw("finetune", like=experiment.id)
    assert app.slider(key="finetune-epochs").value == 3
    app.slider(key="finetune-epochs").set_value(7).run()
    assert app.slider(key="finetune-epochs").value == 7
    assert app.query_params["like"] == experiment.id
    app.query_params["experiment"] = experiment.id
    app.switch_page(script("compare")).run()
    app.query_params["like"] = experiment.id
    app.switch_page(script("finetune")).run()
    assert app.slider(key="finetune-epochs").value == 3


def test_a_link_to_an_experiment_that_does_not_exist_says_so(opened: Lab, base: Run) -> None:
    for page in ("finetune", "sweep"):
        app = draw(page, like="e-none")
        assert "There is no experiment" in texts(app)


TUNED = TuneSpec.of(rates=3)


def gaussian(method: type[LowRankSpec], rate: float = 0.005) -> Setting:
    return short(rate=rate), method.of(start="gaussian")


@pytest.mark.parametrize(
    ("arms", "page"),
    [
        ([(short(rate=0.001), FullSpec()), (short(), LoRASpec.of())], "sweep"),
        ([(short(rate=0.001), FullSpec()), (short(), LoRASpec.of()), (short(), DoRASpec.of())], "finetune"),
        ([(short(rate=0.001), FullSpec()), gaussian(LoRASpec)], "finetune"),
        ([(short(rate=0.001), FullSpec()), (short(), "head")], "finetune"),
        ([(short(), LoRASpec.of())], "finetune"),  # three settings, which Sweep refuses
    ],
)
def test_an_experiment_is_run_again_from_the_form_that_takes_its_settings(
    opened: Lab, base: Run, arms: list[Setting], page: str
) -> None:
    experiment = opened.fine_tune(base, TURNED, arms, [0], tune=TUNED)
    opened.stop(*experiment.runs)
    finish(opened, *experiment.runs)
    app = draw("compare", experiment=experiment.id)
    (again,) = [each.proto for each in app.get("page_link") if each.proto.label == "Run again with changes"]
    assert again.page.rpartition("/")[2] == page
    filled = draw(page, like=experiment.id)
    assert not filled.error
    assert not [warning.value for warning in filled.warning if "form" in warning.value]
    assert [toast.value for toast in filled.toast] == ["The form has the settings of that experiment."]


@pytest.mark.parametrize(
    ("page", "arms", "seeds", "said"),
    [
        ("finetune", [(short(epochs=60), FullSpec())], [0], "Epochs 60"),
        ("finetune", [(short(), FullSpec())], [0, 3, 5], "seeds 3 and 5"),
        (
            "finetune",
            [(short(), LoRASpec.of(rank=rank, alpha=alpha)) for rank, alpha in ((1, 8.0), (2, 16.0))],
            [0],
            "Alpha 16",
        ),
        (
            "sweep",
            [(short(rate=rate), method) for rate in (0.001, 0.002, 0.005) for method in (FullSpec(), "head")],
            [0],
            "",
        ),
        (
            "sweep",
            [gaussian(method, rate) for rate in (0.001, 0.002, 0.003, 0.005) for method in (LoRASpec, DoRASpec)],
            [0],
            "DoRA; Initialization of A gaussian",
        ),
    ],
)
def test_a_form_says_what_it_cannot_show_of_an_experiment_until_another_one_is_asked_for(
    opened: Lab, base: Run, page: str, arms: list[Setting], seeds: list[int], said: str
) -> None:
    experiment = opened.fine_tune(base, TURNED, arms, seeds)
    opened.stop(*experiment.runs)
    app = draw(page, like=experiment.id)
    for _ in range(2):
        assert not app.toast
        warned = "\n".join(warning.value for warning in app.warning).replace("\\", "")
        if said:
            assert f"The form cannot show all settings of that experiment. Left out: {said}." in warned
        app.run()
    del app.query_params["like"]
    assert "Left out" not in texts(app.run())


def test_a_form_whose_dataset_was_deleted_says_so_and_chooses_none_in_its_place(opened: Lab, base: Run) -> None:
    images, labels = noise(1, (60, 28, 28)), np.arange(60) % 3
    opened.catalog.keep(ImageDataset("upload", images, labels, images, labels, ("a", "b", "c")), "mine")
    experiment = opened.fine_tune(base, TaskSpec.of(dataset="mine"), BOTH, [0])
    opened.stop(*experiment.runs)
    finish(opened, *experiment.runs)
    opened.catalog.remove("mine")
    app = draw("finetune", like=experiment.id)
    assert [warning.value for warning in app.warning] == ["Its dataset mine was deleted: choose another one."]
    assert not app.toast
    assert app.select_slider(key="finetune-rate-lora").value == BOTH[1][0].learning_rate


@pytest.mark.parametrize("page", ["finetune", "sweep"])
def test_a_second_press_opens_the_experiment_of_the_first(opened: Lab, base: Run, page: str) -> None:
    app = draw(page)
    label = {"finetune": "Start the experiment", "sweep": "Start the sweep"}[page]
    if page == "sweep":
        app.session_state["sweep-seeds"] = 1
        app.session_state["sweep-ranks"] = [1]
        app.run()
    button(app, label).click().run()
    (first,) = opened.experiments()
    said = "This experiment has these runs already"
    assert said not in texts(app)
    if page == "sweep":  # the form is folded once its sweep has begun
        app.session_state["sweep-new-1"] = True
        app.run()
    button(app, label).click().run()
    assert not app.exception
    assert opened.experiments() == [first]
    assert said in texts(app)
    opened.stop(*first.runs)
    finish(opened, *first.runs)
    if page == "finetune":
        app.run()
        assert f"0 of {len(first.runs)} finished" in texts(app)
        app.button(key="finetune-run").click().run()
        assert opened.experiments() == [first]
        assert said not in texts(app)
        assert all(run.is_live or run.state == "finished" for run in opened.members(first))
        opened.stop(*first.runs)
        finish(opened, *first.runs)
        app.run().button(key="finetune-run-anew").click().run()
        assert len(opened.experiments()) == 2
        opened.stop(*opened.experiments()[0].runs)
        finish(opened, *opened.experiments()[0].runs)
