"""Forms show forecasts as ranges, never measure anything themselves, and a finished run shows its forecast."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from core.forecast import calibration
from core.forecast.calibration import Calibration
from core.forecast.estimates import Estimates
from core.forecast.forecast import Forecast
from core.forecast.memory import memory_of
from core.forecast.pace import Work
from core.lab import Lab, close_lab, open_lab
from core.networks.perceptron import PerceptronSpec
from core.numbers import bytes_text, left_text, unbroken
from core.plan.configuration import Configuration
from core.run_spec import RunSpec, default_optim
from core.settings import Settings
from core.store.record import Run
from pages.shared.experiment.state import time_left
from tests.conftest import BOTH, DIGITS, TURNED, finish, short, wait_until
from tests.pages.test_pages import draw, metrics, press, stop_all, texts

PRETRAIN = RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001, batch_size=32))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Work]:
    """Everything that is calibrated from now on."""
    found: list[Work] = []

    def measure(work: Work, must_stop: object = None) -> Calibration:
        found.append(work)
        return Calibration(step=0.01, image=0.0, steady=True)

    monkeypatch.setattr(calibration, "calibrate", measure)
    return found


@pytest.fixture
def opened(calls: list[Work], settings: Settings) -> Iterator[Lab]:
    yield open_lab(settings)
    close_lab()


def test_a_page_beside_a_run_in_training_answers_without_calibrating(
    opened: Lab, calls: list[Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = ("pretrain", "new", "study")
    finish(opened, opened.launcher.launch(PRETRAIN).id)
    long = opened.launcher.launch(
        PRETRAIN.but(optim=short(epochs=200, batch_size=8), network=PerceptronSpec.of(num_hidden_1=500))
    )
    wait_until(lambda: opened.store.run(long.id).step > 0)
    before = list(calls)
    for page in pages:
        app = draw(page)
        found = {metric.label: metric for metric in app.metric}
        assert found["Time"].value == "not known yet", page
        assert found["Time"].delta == "A few steps are timed as soon as nothing trains", page
        assert found["Memory"].value.endswith("MB"), page
        for table in [each.value for each in app.table if "Time per run" in each.value]:
            assert set(table["Time per run"]) == {unbroken("not known yet")}, "as of all runs"
    begun = opened.store.run(long.id)
    other = begun.spec.but(network=PerceptronSpec.of(num_hidden_1=300))
    waiting = replace(begun, id="r-waiting", spec=other, state="queued", step=0)
    for seconds, shown_as in (
        (200.0, "more than 2.6 min left: some runs are not timed yet"),
        (20.0, "time left not known yet"),
    ):
        slow = replace(begun, state="running", step=50, steps=100, training_seconds=seconds, resumed_step=0)
        assert time_left(opened, [slow, waiting]) == shown_as
    assert time_left(opened, [waiting]) == "time left not known yet"
    assert time_left(opened, [replace(slow, stop_asked=True), replace(waiting, state="stopped")]) == "stopping …"
    with monkeypatch.context() as patch:  # a search whose next runs are like none that was timed
        patch.setattr(opened.progress, "coming", lambda runs: {"e-search": [other]})
        known = left_text(
            *(getattr(opened.estimates.remaining([slow]), end) for end in ("seconds_low", "seconds_high"))
        )
        assert known != left_text(None, None)
        assert time_left(opened, [slow]) == f"{known}, the search may add runs"
        assert time_left(opened, [waiting]) == "time left not known yet, the search may add runs"
        bound = left_text(opened.estimates.remaining([slow]).seconds_low, None)
        assert time_left(opened, [slow, waiting]) == f"{bound}, the search may add runs"
    assert opened.store.run(long.id).is_live
    assert calls == before == []
    stop_all(opened)
    for page in pages:
        wait_until(lambda page=page: " to " in metrics(draw(page))["Time"])


def test_the_detail_of_a_run_shows_its_forecast_beside_what_it_took(opened: Lab) -> None:
    finish(opened, opened.launcher.launch(PRETRAIN).id)
    run = finish(opened, opened.launcher.launch(PRETRAIN.but(seed=1)).id)[0]
    kept = opened.estimates.at_launch([run.id])[run.id]
    assert kept.basis == "measured"
    app = draw("runs", run=run.id)
    shown = texts(app)
    assert metrics(app)["Memory, counted"] == bytes_text(run.result.memory)
    assert "Training: estimated " in shown
    assert f"forecast {kept.memory / 1e6:.1f} MB, measured " in shown
    with opened.store.transaction() as db:
        db.execute("DELETE FROM log")
        db.execute("INSERT INTO log VALUES (?, 0, ?)", (run.id, Forecast(5.0, 10.0, 10**6, "rough").to_line()))
    assert "Training: estimated 5 to 10 s, took " in texts(draw("runs", run=run.id))


def test_a_press_is_not_lost_where_the_time_becomes_known_while_the_page_is_drawn(
    opened: Lab, base: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = draw("new")
    app.pills(key="new-rank").set_value([4]).run()
    forecast, bases = Estimates.whole, iter(["unknown"])
    monkeypatch.setattr(
        Estimates, "whole", lambda self, specs: replace(forecast(self, specs), basis=next(bases, "measured"))
    )
    press(app, "Start the experiment")
    assert len(opened.store.experiments()) == 1
    stop_all(opened)


def test_each_setting_shows_what_one_of_its_runs_takes_alone_as_it_is_checked_against_free_memory(
    opened: Lab, base: Run
) -> None:
    app = draw("new")
    app.toggle(key="new-found").set_value(False)
    app.pills(key="new-rank").set_value([4])
    app.select_slider(key="new-shots").set_value("all")
    app.pills(key="new-controls").set_value(["head"]).run()
    (table,) = [found.value for found in app.table if "Time per run" in found.value]
    asked = Configuration.on(base.spec, TURNED, [*BOTH, (short(), "head")], [0])
    specs = [
        spec.but(optim=default_optim(type(spec.method), spec.network)) for spec in opened.launcher.plan(asked).runs
    ]
    assert list(table["Setting"]) == [spec.label for spec in specs]
    sizes = [memory_of([spec], opened.tasks) for spec in specs]
    assert [cell.replace("\N{NO-BREAK SPACE}", " ") for cell in table["Memory alone"]] == list(map(bytes_text, sizes))
    assert len(set(sizes)) > 1
    assert "Learning rates: " not in texts(app)
    app.toggle(key="new-found").set_value(True).run()
    assert "Learning rates are searched for, in runs of 10 epochs: 3 around" in texts(app)
    assert "3 times the epochs are tried while a method gets better, 90 at most, and a third of them" in texts(app)
    app.button_group(key="new-longer").set_value(0).run()
    assert "Learning rates are searched for, in runs of 10 epochs: 3 around" in texts(app)
    assert "times the epochs" not in texts(app)
