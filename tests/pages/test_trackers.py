"""Sending an experiment to a tracker from its page, through AppTest."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.lab import Lab, close_lab, open_lab
from core.settings import Settings
from core.store.record import Experiment
from core.tracking.tracking import tracker_of
from pages.shared.experiment import trackers
from pages.shared.ui.primary import on_primary
from tests.conftest import HANG, wait_until
from tests.pages.test_pages import button, choose, draw, press, texts
from tests.tracking.readers import in_tensorboard, single, stored


def asked(experiment: Experiment) -> AppTest:
    """The page of an experiment with what can be sent to a tracker."""
    return choose(draw("experiment", experiment=experiment.id), "track")


def sent(app: AppTest, lab: Lab) -> str:
    """What the page says once all has been sent."""
    press(app, "Send")
    wait_until(lambda: not any(state.running for state in lab.tracking.sendings.states()))
    return texts(app.run())


def test_the_button_sends_and_says_what_it_sent(filled: Lab, tmp_path: Path) -> None:
    experiment, logs = filled.store.experiments()[0], tmp_path / "logs"
    app = asked(experiment)
    assert on_primary("Send") not in [button.label for button in app.button]
    app.text_input(key=f"track-{experiment.id}-address-tensorboard").set_value(str(logs)).run()
    assert "5 runs sent;" in sent(app, filled)
    assert in_tensorboard(logs) == single(stored(filled, experiment))
    assert "0 runs sent;" in sent(app, filled)


def test_an_address_that_cannot_be_used_is_a_sentence_on_the_page(filled: Lab, tmp_path: Path) -> None:
    experiment = filled.store.experiments()[0]
    (tmp_path / "file").write_text("")
    app = asked(experiment)
    app.text_input(key=f"track-{experiment.id}-address-tensorboard").set_value(str(tmp_path / "file")).run()
    assert "cannot be used" in sent(app, filled)
    app.radio(key=f"track-{experiment.id}-to").set_value("mlflow").run()
    app.text_input(key=f"track-{experiment.id}-address-mlflow").set_value("elsewhere").run()
    assert "MLflow needs a SQLite file or a server" in texts(app)
    assert on_primary("Send") not in [button.label for button in app.button]


def test_others_choose_only_among_the_trackers_that_get_every_run(
    filled: Lab, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = filled.store.experiments()[0]
    monkeypatch.setattr(trackers, "is_local", lambda: False)
    app = asked(experiment)
    assert "LORA_LAB_TRACK" in texts(app)
    assert not app.text_input
    close_lab()
    open_lab(replace(settings, track=(f"tensorboard:{tmp_path / 'logs'}",)))
    app = asked(experiment)
    assert "gets every run when it ends." in texts(app)
    assert not app.text_input
    assert button(app, "Send")


def test_what_was_stopped_is_not_said_to_be_all(filled: Lab, tmp_path: Path) -> None:
    experiment, tracker = filled.store.experiments()[0], tracker_of(f"tensorboard:{tmp_path / 'logs'}")

    def stopped(progress: Callable[[float], None], stop: threading.Event) -> int:
        stop.set()
        return filled.tracking.experiment(experiment, tracker, lambda _: b"", progress, stop)

    filled.tracking.sendings.begin(f"{experiment.id} to {tracker.shown}", stopped)
    wait_until(lambda: not any(state.running for state in filled.tracking.sendings.states()))
    shown = texts(asked(experiment))
    assert "stopped; what was sent stays" in shown
    assert "has the others already" not in shown


def test_what_is_sent_of_another_experiment_is_not_waited_for(filled: Lab) -> None:
    ended = threading.Event()
    filled.tracking.sendings.begin("e-other to elsewhere", lambda progress, stop: ended.wait(HANG))
    try:
        assert "elsewhere" not in texts(asked(filled.store.experiments()[0]))
    finally:
        ended.set()
