"""A method that is in the registry is on every page: here DoRA, from the form of Fine-tune to its adapter file."""

from __future__ import annotations

import pytest

from core.lab import Lab
from core.store.record import Run
from core.study.arms.sweep import MIN_ARMS
from tests.conftest import finish
from tests.pages.test_experiment_actions import button, unfold
from tests.pages.test_pages import draw, texts
from tests.trained_home import TrainedHome

pytestmark = pytest.mark.slow


@pytest.fixture
def trained(opened: Lab, base: Run) -> list[Run]:
    """Runs of full fine-tuning, LoRA and DoRA that the Fine-tune page has started."""
    app = draw("finetune", base=base.id)
    app.pills(key="finetune-methods").set_value(["full", "lora", "dora"]).run()
    app.pills(key="finetune-rank").set_value([1, 4]).run()
    app.slider(key="finetune-seeds").set_value(2).run()
    app.slider(key="finetune-epochs").set_value(2).run()
    rates = {kind: app.select_slider(key=f"finetune-rate-{kind}").value for kind in ("full", "lora", "dora")}
    assert rates == {"full": 0.001, "lora": 0.005, "dora": 0.005}
    button(app, "Start the experiment").click().run()
    assert not app.exception
    (experiment,) = opened.experiments()
    return finish(opened, *experiment.runs)


def test_every_page_shows_a_method_without_having_been_told(opened: Lab, trained: list[Run]) -> None:
    assert {(run.state, run.cause) for run in trained} == {("finished", None)}
    labels = {run.spec.label for run in trained}
    assert labels == {"Full", "LoRA r=1", "LoRA r=4", "DoRA r=1", "DoRA r=4"}
    assert len(labels) >= MIN_ARMS
    (experiment,) = opened.experiments()
    dora = next(run for run in trained if run.spec.kind == "dora")
    for view in ("Accuracy", "Rates", "Curves", "Forgetting", "Cost", "Examples", "Table"):
        app = draw("compare", experiment=experiment.id, view=view)
        assert not app.exception, view
    assert "DoRA r=4" in set(app.dataframe[0].value["Setting"])
    for page in ("home", "sweep", "report", "weights"):
        app = draw(page, experiment=experiment.id)
        assert not app.exception, page
        assert "DoRA" in texts(app) or any("DoRA" in str(frame.value) for frame in app.dataframe), page
    app = draw("weights", experiment=experiment.id, run=dora.id, view="Alpha and layers")
    assert not app.exception
    app = draw("adapters", adapter=dora.id)
    assert not app.exception
    assert "6,642" in " ".join(metric.value for metric in app.metric) or dora.spec.method.rank == 1
    app = draw("runs", method="dora")
    assert not app.exception
    assert set(app.dataframe[0].value["Setting"]) == {"DoRA r=1", "DoRA r=4"}
    assert draw("runs", run=dora.id).exception == []


def test_an_experiment_grows_by_a_method_at_every_rank_and_rate_of_the_other(
    opened: Lab, base: Run, trained_home: TrainedHome
) -> None:
    experiment = trained_home.sweep
    trained_home.bring(opened, *experiment.runs)
    app = draw("compare", experiment=experiment.id)
    unfold(app, f"add-settings-{experiment.id}-{len(experiment.runs)}")
    app.pills(key=f"add-settings-{experiment.id}-{len(experiment.runs)}-kinds").set_value(["dora"]).run()
    button(app, "Train 16 runs").click().run()
    assert not app.exception
    opened.stop(*(run.id for run in opened.live()))
    runs = finish(opened, *opened.experiment(experiment.id).runs)
    settings = {
        kind: {
            (r.spec.method.rank, r.spec.method.alpha, r.spec.optim, r.spec.seed)
            for r in runs
            if r.spec.kind == kind and r.spec.role == "adapter"
        }
        for kind in ("lora", "dora")
    }
    assert settings["dora"] == settings["lora"] != set()


def test_a_sweep_can_be_of_another_method(opened: Lab, base: Run) -> None:
    app = draw("sweep", base=base.id)
    app.segmented_control(key="sweep-adapters").set_value("dora").run()
    assert not app.exception
    assert "DoRA: ranks" in [pills.label for pills in app.pills]
