"""What three times the epochs would add, from the curve of a run."""

from __future__ import annotations

import numpy as np
import pytest

from core.lab import Lab
from core.store.curves import trends_of
from tests.conftest import BOTH, DIGITS, compared, finish, short


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
        curve = lab.curve(run.id)
        names = [name for name in curve.epochs if name.startswith("validation_")]
        assert {name: run.result.trends[name] for name in names} == trends_of({n: curve.measured(n) for n in names})
    endless = lab.launch(lab.run(experiment.base).spec.but(optim=short(epochs=200, batch_size=16), task=DIGITS)).id
    while lab.run(endless).step < 20:
        pass
    lab.stop(endless)
    (stopped,) = finish(lab, endless)
    assert (stopped.state, stopped.result and stopped.result.trends) == ("stopped", None)
