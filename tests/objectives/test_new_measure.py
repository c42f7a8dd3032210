"""The measure of docs/extending.md, which only this test registers, is asked for, chooses and decides."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from core.cli.as_json import as_json
from core.lab import Lab, close_lab, open_lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.objectives.classification import ClassificationSpec
from core.objectives.measure import Answers, Measure, Values
from core.results.arm import judged_by
from core.results.choice import best_arm, is_adapter
from core.results.grid import common_seeds
from core.results.row import row_of, rows_of
from core.rule.differences import differences_between
from core.rule.family import crossed
from core.settings import Settings
from core.store.record import Experiment
from core.study.report.answer import place_of
from core.study.weights import predicted
from tests.conftest import compared, finish, short
from tests.docs.examples import example
from tests.pages.test_pages import draw, texts

NAMES = {"np": np, "Answers": Answers, "Values": Values, "Measure": Measure, "__name__": "balanced"}
exec(compile(example("a measure"), "docs/extending.md", "exec", dont_inherit=True), NAMES)
BALANCED: Measure = NAMES["BALANCED"]
"""The measure that the page defines."""
RATES = (0.0005, 0.02)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClassificationSpec, "measures", (*ClassificationSpec.measures, BALANCED))
        yield open_lab(Settings(home=tmp_path_factory.mktemp("measure") / "home"))
        close_lab()


@pytest.fixture(scope="module")
def experiment(opened: Lab) -> Experiment:
    objective = ClassificationSpec.of(measure=BALANCED.name, within=3.0)
    arms = [(short(rate=0.001), FullSpec()), *((short(rate=rate), LoRASpec.of()) for rate in RATES)]
    found = compared(opened, "rotation-45", "digits", None, short(), arms, range(3), objective=objective)
    finish(opened, *found.runs)
    return found


def test_it_is_the_mean_of_the_accuracies_on_each_class() -> None:
    answers = Answers(np.array([0, 0, 1, 1, 1]), np.array([0, 0, 0, 1, 2]))
    assert BALANCED.of(answers) == pytest.approx(100 * (2 / 3 + 1 + 0) / 3)


def test_it_is_measured_chooses_and_decides(experiment: Experiment, opened: Lab) -> None:
    runs = opened.store.members(experiment)
    assert judged_by(rows_of(runs)).primary is BALANCED
    for run in runs:
        assert run.score == run.result.measures[BALANCED.name]
        assert np.isfinite(opened.store.curve(run.id).measured(f"validation_{BALANCED.name}")).all()
    adapter = best_arm(rows_of(runs), is_adapter)
    validated = {
        rate: np.mean([run.validated for run in runs if run.spec.optim.learning_rate == rate]) for rate in RATES
    }
    assert adapter.learning_rate == max(validated, key=lambda rate: validated[rate])
    found = place_of(opened, experiment)
    assert (found.margin, found.told.difference.what.measure) == (3.0, BALANCED)
    interval = found.told.difference.interval
    assert interval.mean == pytest.approx(
        adapter.interval(BALANCED.name).mean - found.full.interval(BALANCED.name).mean
    )
    tested, run = predicted.tested_by(opened), adapter.runs[0]
    answers = Answers(predicted.predictions(opened, run).predicted, predicted.true_targets(opened, run.spec))
    np.testing.assert_array_equal(tested(row_of(run)), BALANCED.each(answers))
    over = crossed(differences_between(adapter, found.full, common_seeds([adapter, found.full]), tested)).interval()
    assert (interval.low, interval.high) == pytest.approx((over.low, over.high), abs=0.01)
    assert found.told.difference.examples == 360
    said = json.loads(json.dumps(as_json(opened, experiment, opened.bases(), runs)))
    assert said["objective"] == {"kind": "classification", "measure": BALANCED.name, "within": 3.0}
    assert len(said["arms"][0]["measures"][BALANCED.name]) == 3


def test_it_is_on_the_pages_and_in_files(experiment: Experiment, opened: Lab) -> None:
    app = draw("experiment", experiment=experiment.id)
    assert BALANCED.title in [tab.label for tab in app.tabs]
    assert "balanced accuracy, margin 3 points" in texts(app)
    app = draw("new")
    measures = next(box for box in app.selectbox if box.label == "Primary measure")
    assert BALANCED.title in measures.options
    assert opened.experiments.configuration(experiment).objective.measure == BALANCED.name
