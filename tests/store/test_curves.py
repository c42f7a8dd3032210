"""Curves come back as they were recorded, cut to the checkpoint that a run goes on from, with their trends."""

from __future__ import annotations

import numpy as np
import pytest

from core.lab import Lab
from core.store.curves import trends_of
from core.store.store import Store
from core.training.stepper import EpochEnd, StepLoss
from tests.conftest import BOTH, DIGITS, compared, finish, short
from tests.store.states import begun, claimed_again, keep, put, train

MEASURES = {"validation_loss": 1.0, "validation_accuracy": 50.0}


def test_a_run_goes_on_with_the_curve_up_to_its_checkpoint_and_an_eta_of_its_new_steps_alone(store: Store) -> None:
    begun(store, 4)
    store.record([(store.run("r-1"), EpochEnd(1, 4, 0.4, 1.4, 640.0, MEASURES))])
    train(store, "r-1", 5, 4)  # the checkpoint is in the middle of these, which a recorder never does
    keep(store, "r-1", 6)
    train(store, "r-1", 9, 1)
    store.record([(store.run("r-1"), EpochEnd(2, 6, 0.6, 1.4, 640.0, MEASURES))])
    run = claimed_again(store)
    assert run.resumed_step == 6
    store.begin(run, 10, 0.6)
    curve = store.curve("r-1")
    assert curve.step.tolist() == curve.loss.tolist() == [1, 2, 3, 4, 5, 6]
    assert curve.epochs["epoch"].tolist() == [1]
    assert store.run("r-1").eta is None  # no step since it was resumed
    fast = StepLoss(7, np.ones(2, np.float32), np.array([0.61, 0.62]))  # ten times as fast as before
    store.record([(run, fast)])
    assert store.curve("r-1").step.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    run = store.run("r-1")
    assert run.training_seconds == pytest.approx(0.62)
    assert run.eta == pytest.approx(2 * 0.01)
    assert run.progress == 0.8


def test_curves_come_back_as_they_were_recorded_nan_included(store: Store) -> None:
    put(store, "r-1", "running")
    store.begin(store.run("r-1"), steps=5)
    losses = np.array([1.5, 1.25, np.nan], np.float32)
    run = store.run("r-1")
    store.record(
        [(run, StepLoss(1, losses[:2], np.array([0.1, 0.2]))), (run, StepLoss(3, losses[2:], np.array([0.3])))]
    )
    store.record([(run, EpochEnd(1, 3, 0.3, 1.4, 640.0, MEASURES | {"validation_loss": float("nan")}))])
    curve = store.curve("r-1")
    np.testing.assert_array_equal(curve.loss, losses)
    assert curve.step.tolist() == [1, 2, 3]
    assert curve.seconds.tolist() == [0.1, 0.2, 0.3]
    (row,) = curve.epochs.to_dict("records")
    assert row["epoch"] == 1
    assert np.isnan(row["validation_loss"])
    assert np.isnan(curve.measured("source_accuracy")).all()
    run = store.run("r-1")
    assert (run.step, run.steps, run.progress) == (3, 5, 0.6)
    assert run.eta == pytest.approx(0.2)


def test_another_attempt_forgets_the_first_ones_curve(store: Store) -> None:
    begun(store, 2, steps=5)
    store.begin(claimed_again(store), 5)
    assert len(store.curve("r-1").step) == 0
    assert store.run("r-1").step == 0


def test_a_straight_line_on_the_logarithm_of_the_epoch_adds_the_same_with_each_three_times_the_epochs() -> None:
    def value(epoch: object) -> object:
        return 70 + 4 * np.log(epoch) / np.log(3)

    epochs = np.arange(1, 13)
    found = trends_of({"accuracy": value(epochs), "flat": np.full(12, 3.0)})
    assert found == pytest.approx({"accuracy": value(36) - value(12), "flat": 0}, abs=1e-9)


def test_only_the_last_two_thirds_count_and_what_levels_off_adds_less_than_its_trend() -> None:
    epochs = np.arange(1, 31)
    early = np.where(epochs > 10, 50.0, 0.0)
    assert trends_of({"accuracy": early})["accuracy"] == pytest.approx(0, abs=1e-9)
    levelling = 90 - 40 * epochs**-0.5
    adds = (90 - 40 * 90**-0.5) - levelling[-1]
    assert trends_of({"accuracy": levelling})["accuracy"] > adds


def test_a_trend_is_of_the_epochs_that_were_evaluated_and_what_was_not_at_the_end_has_none() -> None:
    line = 4 * np.log(np.arange(1, 13))
    line[[4, 6, 9]] = np.nan
    gap = np.array([np.nan, 1.0, 2.0, 3.0, np.nan])
    found = trends_of({"line": line, "gap": gap, "late": np.array([np.nan, 1.0, 2.0])})
    assert found == pytest.approx({"line": 4 * np.log(3), "late": np.log(3) / np.log(1.5)})
    assert trends_of({"one": np.array([1.0])}) == {}


def test_a_finished_run_has_the_trend_of_its_stored_curve_and_a_stopped_one_has_none(lab: Lab) -> None:
    arms = [(optim.but(epochs=23), method) for optim, method in BOTH]
    experiment = compared(lab, "rotation-45", "digits", None, short(), arms, [0])
    for run in finish(lab, *experiment.runs):
        assert run.result is not None
        assert run.result.trends is not None
        curve = lab.store.curve(run.id)
        names = [name for name in curve.epochs if name.startswith("validation_")]
        assert {name: run.result.trends[name] for name in names} == trends_of({n: curve.measured(n) for n in names})
    endless = lab.launcher.launch(
        lab.store.run(experiment.base).spec.but(optim=short(epochs=200, batch_size=16), task=DIGITS)
    ).id
    while lab.store.run(endless).step < 20:
        pass
    lab.stop(endless)
    (stopped,) = finish(lab, endless)
    assert (stopped.state, stopped.result and stopped.result.trends) == ("stopped", None)
