"""A run's state: only allowed changes happen, a run goes on from its checkpoint, and lost claims change nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pytest

from core.errors import RunStateError
from core.lab import Lab
from core.run_spec import RunSpec
from core.store.record import State
from core.store.schema import NEXT
from core.store.store import Store
from core.training.stepper import StepLoss
from tests.conftest import DIGITS, finish, short
from tests.store.states import SPEC, begun, claim, claimed_again, keep, put
from tests.study.samples import RESULT


@pytest.mark.parametrize("state", list(NEXT))
@pytest.mark.parametrize("wanted", ["finished", "failed", "interrupted", "queued"])
def test_only_the_allowed_changes_happen_and_each_leaves_one_entry(store: Store, state: State, wanted: State) -> None:
    put(store, "r-1", state)
    before = store.transitions("r-1")
    change = {
        "finished": lambda: store.finish(store.run("r-1"), "finished", RESULT, {}),
        "failed": lambda: store.fail(store.run("r-1"), "x", None),
        "interrupted": lambda: store.interrupt(store.run("r-1")),
        "queued": lambda: store.requeue(["r-1"], "me"),
    }[wanted]
    # A queued run fails only in a claim, because of its base; see below.
    if wanted in NEXT[state] and (state, wanted) != ("queued", "failed"):
        change()
        assert store.run("r-1").state == wanted
        assert [entered for _, entered in store.transitions("r-1")] == [*(s for _, s in before), wanted]
    else:
        with pytest.raises(RunStateError):
            change()
        assert store.run("r-1").state == state
        assert store.transitions("r-1") == before


@pytest.mark.parametrize("state", list(NEXT))
def test_stop_is_safe_in_every_state_and_twice(store: Store, state: State) -> None:
    put(store, "r-1", state)
    store.ask_stop("r-1", owner="me")
    store.ask_stop("r-1", owner="me")
    ended = dict.fromkeys(("queued", "running", "interrupted"), "stopped")  # it has learned nothing yet
    assert store.run("r-1").state == ended.get(state, state)
    assert [entered for _, entered in store.transitions("r-1")].count("stopped") <= 1


def test_a_run_that_has_learnt_something_hears_of_a_stop_and_ends_itself(store: Store) -> None:
    begun(store, 3)
    for _ in range(2):
        store.ask_stop("r-1", owner="me")
    assert store.run("r-1").state == "running"
    assert store.run("r-1").stop_asked
    assert store.stops_asked(["r-1", "r-2"]) == {"r-1"}


def test_stopping_what_waits_with_a_checkpoint_sends_it_first_to_make_a_result_of_it(store: Store) -> None:
    begun(store, 3, kept=3)
    store.interrupt(store.run("r-1"), "Because.")
    store.add([("r-2", SPEC.but(seed=1))], "me", 10)
    for _ in range(3):  # once interrupted, twice queued
        store.ask_stop("r-1", owner="me")
        assert store.run("r-1").state == "queued"
    (run,) = claim(store, 4)
    assert (run.id, run.resumed_step, run.stop_asked) == ("r-1", 3, True)
    assert store.log("r-1")[0][1] == "Because."


def test_a_checkpoint_ahead_of_its_curve_is_not_gone_on_from(store: Store) -> None:
    begun(store, 3, kept=5)
    assert claimed_again(store).resumed_step == 0
    assert store.checkpoint("r-1") is None
    assert "first step" in store.log("r-1")[-1][1]


@pytest.mark.parametrize(("stop", "state"), [(False, "queued"), (True, "stopped")])
def test_what_cannot_go_on_starts_over_unless_it_shall_stop(store: Store, stop: bool, state: State) -> None:
    begun(store, 3, kept=3)
    store.interrupt(store.run("r-1"))
    store.ask_stop("r-1", owner="me") if stop else store.requeue(["r-1"], "me")
    (run,) = claim(store)
    store.start_over(run, "It is damaged.")
    run = store.run("r-1")
    assert (run.state, run.resumed_step) == (state, 0 if state == "queued" else 3)
    assert store.checkpoint("r-1") is None
    assert store.log("r-1")[-1][1] == "It is damaged."


def test_a_run_that_is_put_back_waits_for_its_last_checkpoint(store: Store) -> None:
    begun(store, 5, kept=3)
    before = store.checkpoint("r-1")
    store.put_back(store.run("r-1"), "Out of memory.")
    run = store.run("r-1")
    assert (run.state, run.owner, run.resumed_step, run.cause) == ("queued", "me", 3, None)
    assert store.checkpoint("r-1") == before
    assert store.log("r-1")[-1][1] == "Out of memory."
    assert [run.id for run in claim(store)] == ["r-1"]


@pytest.mark.parametrize(("checkpoint", "state"), [(False, "stopped"), (True, "queued")])
def test_a_run_that_is_put_back_and_shall_stop_stops(store: Store, checkpoint: bool, state: State) -> None:
    begun(store, 3, kept=3 if checkpoint else None)
    run = store.run("r-1")
    store.ask_stop("r-1", owner="me")
    store.put_back(run, "Out of memory.")
    assert store.run("r-1").state == state
    assert [run.stop_asked for run in claim(store)] == [True] * checkpoint  # to make a result from its checkpoint


def test_who_has_lost_a_run_changes_nothing_of_it(store: Store) -> None:
    put(store, "r-1", "running", owner="asleep")
    lost = store.run("r-1")
    assert store.held([lost]) == {"r-1"}
    assert store.take_over("asleep", "me", "It sleeps.") == ["r-1"]
    store.requeue(["r-1"], "me")
    (run,) = claim(store)
    store.begin(run, 5)
    before = store.run("r-1")
    assert store.held([lost]) == set()
    assert store.record([(lost, StepLoss(1, np.ones(2, np.float32), np.ones(2)))]) == {"r-1"}
    assert store.keep_checkpoints([(lost, "checkpoint-1-a.safetensors", "0")]) == {"r-1"}
    for change in (
        lambda: store.begin(lost, 9),
        lambda: store.finish(lost, "finished", RESULT, {}),
        lambda: store.fail(lost, "x", None),
        lambda: store.interrupt(lost),
        lambda: store.start_over(lost, "x"),
        lambda: store.put_back(lost, "x"),
    ):
        with pytest.raises(RunStateError, match="held by another worker"):
            change()
    assert store.run("r-1") == before
    assert store.files("r-1") == {}
    assert len(store.curve("r-1").step) == 0


@pytest.mark.parametrize("end", ["finish", "fail"])
def test_a_checkpoint_ends_with_its_run(store: Store, end: str) -> None:
    put(store, "r-1", "running")
    for step in (2, 3):
        keep(store, "r-1", step)
        assert list(store.files("r-1")) == [f"checkpoint-{step}-abcd.safetensors"]
    run = store.run("r-1")
    if end == "finish":
        store.finish(run, "finished", RESULT, {"network.safetensors": "1" * 64})
    else:
        store.fail(run, "x", None)
    assert store.checkpoint("r-1") is None
    assert len(store.files("r-1")) == (end == "finish")


def test_history_and_log_keep_their_order_when_the_clock_was_put_back(lab: Lab) -> None:
    (run,) = finish(lab, lab.launcher.launch(RunSpec.of(method="pretrain", task=DIGITS, optim=short())).id)
    for text in ("first", "second", "third"):
        lab.store.add_log(run.id, text)
    with closing(sqlite3.connect(lab.settings.home / "lab.sqlite3")) as db, db:
        db.execute("UPDATE transitions SET at = 1e9 - rowid")
        db.execute("UPDATE log SET at = 1e9 - rowid")
    assert [state for _, state in lab.store.transitions(run.id)] == ["queued", "running", "finished"]
    assert [text for _, text in lab.store.log(run.id)][-3:] == ["first", "second", "third"]
