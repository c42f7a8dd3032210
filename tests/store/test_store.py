"""The store: allowed state transitions only, and curves as they were recorded."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from core.errors import LabError, QueueFullError, RunStateError, UnknownRunError
from core.spec import LoRASpec, OptimSpec, RunSpec
from core.store.record import Experiment, State
from core.store.schema import NEXT, VERSION
from core.store.search import Query, Search
from core.store.store import Store
from core.training.events import EpochEnd, StepLoss
from tests.conftest import DIGITS, TURNED
from tests.study.samples import RESULT

SPEC = RunSpec.of(method="pretrain", task=DIGITS)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "lab.sqlite3")


def put(store: Store, id: str, state: State, spec: RunSpec = SPEC, owner: str = "me") -> None:
    """Bring a run to a state by calls of the store."""
    store.add([(id, spec)], owner, 100)
    if state == "queued":
        return
    if state == "stopped":
        store.ask_stop(id, owner)
        return
    (run,) = store.claim(owner)
    assert run.id == id
    {
        "running": lambda: None,
        "finished": lambda: store.finish(run, "finished", RESULT, {}),
        "failed": lambda: store.fail(run, "because", None),
        "interrupted": lambda: store.interrupt(run),
    }[state]()


def train(store: Store, id: str, first: int, count: int) -> None:
    """Record steps of a run in training, a tenth of a second each."""
    seconds = 0.1 * np.arange(first, first + count)
    lost = store.record([(store.run(id), StepLoss(first, np.arange(first, first + count, dtype=np.float32), seconds))])
    assert not lost


def keep(store: Store, id: str, step: int) -> None:
    """Record a checkpoint of a run in training."""
    assert not store.keep_checkpoints([(store.run(id), f"checkpoint-{step}-abcd.safetensors", "0" * 64)])


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
    store.ask_stop("r-1", "me")
    store.ask_stop("r-1", "me")
    ended = dict.fromkeys(("queued", "running", "interrupted"), "stopped")  # it has learnt nothing yet
    assert store.run("r-1").state == ended.get(state, state)
    assert [entered for _, entered in store.transitions("r-1")].count("stopped") <= 1


def test_a_run_that_has_learnt_something_hears_of_a_stop_and_ends_itself(store: Store) -> None:
    put(store, "r-1", "running")
    store.begin(store.run("r-1"), 10)
    train(store, "r-1", 1, 3)
    for _ in range(2):
        store.ask_stop("r-1", "me")
    assert store.run("r-1").state == "running"
    assert store.run("r-1").stop_asked
    assert store.stops_asked(["r-1", "r-2"]) == {"r-1"}


def test_stopping_what_waits_with_a_checkpoint_sends_it_first_to_make_a_result_of_it(store: Store) -> None:
    put(store, "r-1", "running")
    store.begin(store.run("r-1"), 10)
    train(store, "r-1", 1, 3)
    keep(store, "r-1", 3)
    store.interrupt(store.run("r-1"), "Because.")
    store.add([("r-2", SPEC.but(seed=1))], "me", 10)
    for _ in range(3):  # once interrupted, twice queued
        store.ask_stop("r-1", "me")
        assert store.run("r-1").state == "queued"
    (run,) = store.claim("me", lambda spec: 4)
    assert (run.id, run.resumed_step, run.stop_asked) == ("r-1", 3, True)
    assert store.log("r-1")[0][1] == "Because."


def test_a_run_goes_on_with_the_curve_up_to_its_checkpoint_and_nothing_after_it(store: Store) -> None:
    put(store, "r-1", "running")
    store.begin(store.run("r-1"), 10)
    train(store, "r-1", 1, 4)
    store.record([(store.run("r-1"), EpochEnd(1, 4, 0.4, 1.4, 1.0, 50.0, None, None, 640.0))])
    train(store, "r-1", 5, 4)  # the checkpoint is in the middle of these, which a recorder never does
    keep(store, "r-1", 6)
    train(store, "r-1", 9, 1)
    store.record([(store.run("r-1"), EpochEnd(2, 6, 0.6, 1.4, 1.0, 50.0, None, None, 640.0))])
    store.interrupt(store.run("r-1"))
    store.requeue(["r-1"], "me")
    (run,) = store.claim("me")
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
    put(store, "r-1", "running")
    store.begin(store.run("r-1"), 100)
    train(store, "r-1", 1, 50)
    keep(store, "r-1", 50)
    store.interrupt(store.run("r-1"))
    store.requeue(["r-1"], "me")
    (run,) = store.claim("me")
    store.begin(run, 100, 5.0)
    fast = StepLoss(51, np.ones(10, np.float32), 5.0 + 0.01 * np.arange(1, 11))  # ten times as fast as before
    store.record([(run, fast)])
    assert store.run("r-1").eta == pytest.approx(40 * 0.01)


def test_a_checkpoint_ahead_of_its_curve_is_not_gone_on_from(store: Store) -> None:
    put(store, "r-1", "running")
    store.begin(store.run("r-1"), 10)
    train(store, "r-1", 1, 3)
    keep(store, "r-1", 5)
    store.interrupt(store.run("r-1"))
    store.requeue(["r-1"], "me")
    assert store.run("r-1").resumed_step == 0
    assert store.checkpoint("r-1") is None
    assert "first step" in store.log("r-1")[-1][1]


@pytest.mark.parametrize(("stop", "state"), [(False, "queued"), (True, "stopped")])
def test_what_cannot_go_on_starts_over_unless_it_shall_stop(store: Store, stop: bool, state: State) -> None:
    put(store, "r-1", "running")
    store.begin(store.run("r-1"), 10)
    train(store, "r-1", 1, 3)
    keep(store, "r-1", 3)
    store.interrupt(store.run("r-1"))
    store.ask_stop("r-1", "me") if stop else store.requeue(["r-1"], "me")
    (run,) = store.claim("me")
    store.start_over(run, "It is damaged.")
    run = store.run("r-1")
    assert (run.state, run.resumed_step) == (state, 0 if state == "queued" else 3)
    assert store.checkpoint("r-1") is None
    assert store.log("r-1")[-1][1] == "It is damaged."


def test_a_run_that_is_put_back_waits_for_its_last_checkpoint(store: Store) -> None:
    put(store, "r-1", "running")
    store.begin(store.run("r-1"), 10)
    train(store, "r-1", 1, 5)
    keep(store, "r-1", 3)
    before = store.checkpoint("r-1")
    store.put_back(store.run("r-1"), "Out of memory.")
    run = store.run("r-1")
    assert (run.state, run.owner, run.resumed_step, run.cause) == ("queued", "me", 3, None)
    assert store.checkpoint("r-1") == before
    assert store.log("r-1")[-1][1] == "Out of memory."
    assert [run.id for run in store.claim("me")] == ["r-1"]


@pytest.mark.parametrize(("checkpoint", "state"), [(False, "stopped"), (True, "queued")])
def test_a_run_that_is_put_back_and_shall_stop_stops(store: Store, checkpoint: bool, state: State) -> None:
    put(store, "r-1", "running")
    run = store.run("r-1")
    store.begin(run, 10)
    train(store, "r-1", 1, 3)
    if checkpoint:
        keep(store, "r-1", 3)
    store.ask_stop("r-1", "me")
    store.put_back(run, "Out of memory.")
    assert store.run("r-1").state == state
    assert [run.stop_asked for run in store.claim("me")] == [True] * checkpoint  # to make a result from its checkpoint


def test_a_run_in_other_hands_is_not_put_back(store: Store) -> None:
    put(store, "r-1", "running", owner="asleep")
    lost = store.run("r-1")
    store.take_over("asleep", "me", "It sleeps.")
    with pytest.raises(RunStateError):
        store.put_back(lost, "Out of memory.")
    assert store.run("r-1").state == "interrupted"


def test_who_has_lost_a_run_changes_nothing_of_it(store: Store) -> None:
    put(store, "r-1", "running", owner="asleep")
    lost = store.run("r-1")
    assert store.held([lost]) == {"r-1"}
    assert store.take_over("asleep", "me", "It sleeps.") == ["r-1"]
    store.requeue(["r-1"], "me")
    (run,) = store.claim("me")
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


def test_runs_at_different_steps_never_come_into_one_bank(store: Store) -> None:
    put(store, "r-base", "finished")
    tune = RunSpec.of(method="lora", task=DIGITS, source=DIGITS, base="r-base", lora=LoRASpec.of())
    store.add([(f"r-{i}", tune.but(seed=i)) for i in range(5)], "me", 100)
    assert len(store.claim("me", lambda spec: 5)) == 5
    for i, step in enumerate((3, 4, 3)):
        store.begin(store.run(f"r-{i}"), 10)
        train(store, f"r-{i}", 1, 4)
        keep(store, f"r-{i}", step)
    for i in range(5):
        store.interrupt(store.run(f"r-{i}"))
    store.requeue([f"r-{i}" for i in range(5)], "me")
    banks = [[run.id for run in store.claim("me", lambda spec: 5)] for _ in range(4)]
    assert banks == [["r-0", "r-2"], ["r-1"], ["r-3", "r-4"], []]


def test_a_full_queue_takes_all_or_nothing(store: Store) -> None:
    store.add([(f"r-{i}", SPEC) for i in range(3)], "me", limit=4)
    with pytest.raises(QueueFullError, match="takes 4 waiting runs, and 3 are waiting"):
        store.add([("r-8", SPEC), ("r-9", SPEC)], "me", 4, Experiment("e-1", "x", 0.0, "r-0", ("r-8", "r-9")))
    assert len(store.runs()) == 3
    assert store.experiments() == []


def test_a_fine_tune_run_waits_for_its_base_and_fails_with_it(store: Store) -> None:
    store.add([("r-base", SPEC)], "me", 10)
    tune = RunSpec.of(method="full", task=DIGITS, source=DIGITS, base="r-base")
    store.add([("r-tune", tune)], "me", 10)
    assert [run.id for run in store.claim("me")] == ["r-base"]
    assert store.claim("me") == []
    assert store.run("r-tune").state == "queued"
    store.fail(store.run("r-base"), "because", None)
    assert store.claim("me") == []
    assert store.run("r-tune").state == "failed"
    assert store.run("r-tune").cause == "Its base r-base failed."


def test_runs_of_another_owner_are_left_alone_until_it_is_dead(store: Store) -> None:
    put(store, "r-run", "running", owner="other")
    store.add([("r-wait", SPEC)], "other", 10)
    assert store.claim("me") == []
    store.take_over("other", "me")
    assert store.run("r-run").state == "interrupted"
    assert [run.id for run in store.claim("me")] == ["r-wait"]


def test_a_bank_takes_only_runs_that_can_be_trained_together_and_no_more_than_allowed(store: Store) -> None:
    put(store, "r-base", "finished")
    tune = RunSpec.of(method="lora", task=DIGITS, source=DIGITS, base="r-base", lora=LoRASpec.of())
    full = tune.but(method="full", lora=None)
    queued = [
        ("r-1", tune),
        ("r-2", full),
        ("r-3", tune.but(seed=1)),
        ("r-4", tune.but(lora=LoRASpec.of(rank=8, alpha=2))),
        ("r-5", tune.but(optim=OptimSpec.of(epochs=3))),
        ("r-6", tune.but(optim=OptimSpec.of(learning_rate=0.1))),
        ("r-7", tune.but(task=TURNED)),
        ("r-8", tune.but(seed=2)),
    ]
    store.add(queued, "me", 100)
    banks = [[run.id for run in store.claim("me", lambda spec: 4)] for _ in range(5)]
    assert banks == [["r-1", "r-3", "r-4", "r-6"], ["r-2"], ["r-5"], ["r-7"], ["r-8"]]


def test_two_workers_never_claim_the_same_run(store: Store) -> None:
    store.add([(f"r-{i}", SPEC) for i in range(30)], "me", 100)
    claimed: list[str] = []

    def work() -> None:
        while bank := store.claim("me", lambda spec: 3):
            claimed.extend(run.id for run in bank)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(f"r-{i}" for i in range(30))


def test_curves_come_back_as_they_were_recorded_nan_included(store: Store) -> None:
    put(store, "r-1", "running")
    store.begin(store.run("r-1"), steps=5)
    losses = np.array([1.5, 1.25, np.nan], np.float32)
    run = store.run("r-1")
    store.record(
        [(run, StepLoss(1, losses[:2], np.array([0.1, 0.2]))), (run, StepLoss(3, losses[2:], np.array([0.3])))]
    )
    store.record([(run, EpochEnd(1, 3, 0.3, 1.4, float("nan"), 50.0, None, None, 640.0))])
    curve = store.curve("r-1")
    np.testing.assert_array_equal(curve.loss, losses)
    assert curve.step.tolist() == [1, 2, 3]
    assert curve.seconds.tolist() == [0.1, 0.2, 0.3]
    (row,) = curve.epochs.to_dict("records")
    assert row["epoch"] == 1
    assert np.isnan(row["validation_loss"])
    assert np.isnan(row["source_accuracy"])
    run = store.run("r-1")
    assert (run.step, run.steps, run.progress) == (3, 5, 0.6)
    assert run.eta == pytest.approx(0.2)


def test_another_attempt_forgets_the_first_ones_curve(store: Store) -> None:
    put(store, "r-1", "running")
    store.begin(store.run("r-1"), 5)
    train(store, "r-1", 1, 2)
    store.interrupt(store.run("r-1"))
    store.requeue(["r-1"], "me")
    (run,) = store.claim("me")
    store.begin(run, 5)
    assert len(store.curve("r-1").step) == 0
    assert store.run("r-1").step == 0


def test_a_run_comes_back_equal_from_another_process_view(store: Store) -> None:
    put(store, "r-1", "finished")
    store.close()
    again = Store(store.path).run("r-1")
    assert again.spec == SPEC
    assert again.result == RESULT


def test_unknown_ids_and_foreign_files_get_a_sentence(store: Store, tmp_path: Path) -> None:
    for call in (store.run, store.experiment, lambda id: store.ask_stop(id, "me")):
        with pytest.raises(UnknownRunError):
            call("r-none")
    garbage = tmp_path / "garbage.sqlite3"
    garbage.write_bytes(b"this is no database" * 100)
    with pytest.raises(LabError, match=r"is damaged .*python -m core restore"):
        Store(garbage)
    newer = tmp_path / "newer.sqlite3"
    Store(newer).close()
    db = sqlite3.connect(newer)
    db.execute("PRAGMA user_version = 99")
    db.commit()
    db.close()
    with pytest.raises(LabError, match="newer LoRA Lab"):
        Store(newer)


LABEL = (
    "label TEXT GENERATED ALWAYS AS (CASE method WHEN 'lora' THEN 'LoRA r=' || json_extract(spec, '$.lora.rank')"
    " WHEN 'full' THEN CASE json_extract(spec, '$.control') WHEN 'head' THEN 'Head only' WHEN 'biases' THEN"
    " 'Biases only' WHEN 'scratch' THEN 'From scratch' ELSE 'Full' END ELSE 'Pretrain' END) VIRTUAL"
)
"""A column of versions 3 and 4."""


def as_it_was(sql: str, version: int) -> str | None:
    """A statement of this version's schema as in an earlier version; None if that version had none."""
    if sql.startswith("CREATE INDEX runs_by_kind"):
        return None  # of version 5
    sql = re.sub(r",\s*kind TEXT GENERATED.*(?=\))", "", sql, flags=re.DOTALL)
    sql = re.sub(r"(?=accuracy REAL GENERATED)", f"{LABEL}, ", sql)
    if version < 4:
        if sql.startswith(("CREATE TRIGGER", "CREATE INDEX runs_to_copy")):
            return None
        sql = re.sub(r",\s*changes INTEGER.*(?=\))", "", sql, flags=re.DOTALL)
    if version < 3:
        if re.match(r"CREATE INDEX (runs_by_(created|dataset|accuracy|training_seconds|base)|tags_by_tag) ", sql):
            return None
        if sql.startswith(("CREATE TABLE log", "CREATE INDEX log_by_run")):
            return None
        sql = re.sub(r",\s*dataset TEXT GENERATED.*(?=\))", "", sql, flags=re.DOTALL)
    if version < 2:
        if sql.startswith("CREATE TABLE tags"):
            return None
        sql = re.sub(r",\s*resumed_step.*(?=\))", "", sql, flags=re.DOTALL)
    return sql


@pytest.mark.parametrize("version", range(1, VERSION))
def test_a_store_of_an_earlier_version_becomes_one_of_this_version_with_its_runs(tmp_path: Path, version: int) -> None:
    old, new = tmp_path / "old.sqlite3", tmp_path / "new.sqlite3"
    Store(new).close()
    with closing(sqlite3.connect(new)) as db:
        tables = [row[0] for row in db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
    spec = RunSpec.of(method="pretrain")
    with closing(sqlite3.connect(old)) as db:
        for table in tables:
            if statement := as_it_was(table, version):
                db.execute(statement)
        columns = {row[1] for row in db.execute("PRAGMA table_xinfo(runs)")}
        assert ("accuracy" in columns, "label" in columns) == (version >= 3, version >= 3)
        assert ("copied" in columns, "kind" in columns) == (version >= 4, False)
        db.execute(
            "INSERT INTO runs (id, spec, method, bank_key, state, owner, created, result)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            ("r-1", spec.to_json(), "pretrain", spec.bank_key, "finished", "somebody", 1.0, json.dumps(asdict(RESULT))),
        )
        db.execute(f"PRAGMA user_version = {version}")
        db.commit()
    assert Store(old).run("r-1").spec == spec
    found = []
    for path in (old, new):
        with closing(sqlite3.connect(path)) as db:
            columns = db.execute("SELECT name, type, dflt_value, hidden FROM pragma_table_xinfo('runs')").fetchall()
            others = db.execute("SELECT name, sql FROM sqlite_master WHERE type <> 'table' ORDER BY name").fetchall()
            found.append((columns, others))
            assert db.execute("SELECT count(*) FROM tags").fetchone() == (0,)
            assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert found[0] == found[1]
    with closing(sqlite3.connect(old)) as db:
        assert db.execute("SELECT dataset, kind, accuracy FROM runs").fetchone() == ("digits", "pretrain//", 90.0)
    assert Search(Store(old)).count(Query(text="pretrain")) == 1
