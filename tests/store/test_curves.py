"""Curves come back as they were recorded, cut to the checkpoint that a run goes on from."""

from __future__ import annotations

import numpy as np
import pytest

from core.store.store import Store
from core.training.events import EpochEnd, StepLoss
from tests.store.states import begun, claim, keep, put, train

MEASURES = {"validation_loss": 1.0, "validation_accuracy": 50.0}


def test_a_run_goes_on_with_the_curve_up_to_its_checkpoint_and_nothing_after_it(store: Store) -> None:
    begun(store, 4)
    store.record([(store.run("r-1"), EpochEnd(1, 4, 0.4, 1.4, 640.0, MEASURES))])
    train(store, "r-1", 5, 4)  # the checkpoint is in the middle of these, which a recorder never does
    keep(store, "r-1", 6)
    train(store, "r-1", 9, 1)
    store.record([(store.run("r-1"), EpochEnd(2, 6, 0.6, 1.4, 640.0, MEASURES))])
    store.interrupt(store.run("r-1"))
    store.requeue(["r-1"], "me")
    (run,) = claim(store)
    assert run.resumed_step == 6
    store.begin(run, 10, 0.6)
    curve = store.curve("r-1")
    assert curve.step.tolist() == curve.loss.tolist() == [1, 2, 3, 4, 5, 6]
    assert curve.epochs["epoch"].tolist() == [1]
    assert store.run("r-1").eta is None  # no step since it was resumed
    train(store, "r-1", 7, 2)
    assert store.curve("r-1").step.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    run = store.run("r-1")
    assert run.training_seconds == pytest.approx(0.8)
    assert run.eta == pytest.approx((0.8 - 0.6) / 2 * 2)
    assert run.progress == 0.8


def test_the_eta_counts_only_this_sessions_steps(store: Store) -> None:
    begun(store, 50, kept=50, steps=100)
    store.interrupt(store.run("r-1"))
    store.requeue(["r-1"], "me")
    (run,) = claim(store)
    store.begin(run, 100, 5.0)
    fast = StepLoss(51, np.ones(10, np.float32), 5.0 + 0.01 * np.arange(1, 11))  # ten times as fast as before
    store.record([(run, fast)])
    assert store.run("r-1").eta == pytest.approx(40 * 0.01)


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
    store.interrupt(store.run("r-1"))
    store.requeue(["r-1"], "me")
    (run,) = claim(store)
    store.begin(run, 5)
    assert len(store.curve("r-1").step) == 0
    assert store.run("r-1").step == 0
