"""The store: a queue that workers claim runs and banks from, and runs that come back equal."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from core.errors import LabError, QueueFullError, UnknownRunError
from core.methods.lora import LoRASpec
from core.run_spec import OptimSpec, RunSpec
from core.store.record import Experiment
from core.store.store import Store
from tests.conftest import DIGITS, TURNED
from tests.store.states import SPEC, claim, keep, put, train
from tests.study.samples import RESULT


def test_runs_at_different_steps_never_come_into_one_bank(store: Store) -> None:
    put(store, "r-base", "finished")
    tune = RunSpec.of(task=DIGITS, source=DIGITS, base="r-base", method=LoRASpec.of())
    store.add([(f"r-{i}", tune.but(seed=i)) for i in range(5)], "me", 100)
    assert len(claim(store, 5)) == 5
    for i, step in enumerate((3, 4, 3)):
        store.begin(store.run(f"r-{i}"), 10)
        train(store, f"r-{i}", 1, 4)
        keep(store, f"r-{i}", step)
    for i in range(5):
        store.interrupt(store.run(f"r-{i}"))
    store.requeue([f"r-{i}" for i in range(5)], "me")
    banks = [[run.id for run in claim(store, 5)] for _ in range(4)]
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
    assert [run.id for run in claim(store)] == ["r-base"]
    assert claim(store) == []
    assert store.run("r-tune").state == "queued"
    store.fail(store.run("r-base"), "because", None)
    assert claim(store) == []
    assert store.run("r-tune").state == "failed"
    assert store.run("r-tune").cause == "Its base r-base failed."


def test_runs_of_another_owner_are_left_alone_until_it_is_dead(store: Store) -> None:
    put(store, "r-run", "running", owner="other")
    store.add([("r-wait", SPEC)], "other", 10)
    assert claim(store) == []
    store.take_over("other", "me")
    assert store.run("r-run").state == "interrupted"
    assert [run.id for run in claim(store)] == ["r-wait"]


def test_a_bank_takes_only_runs_that_can_be_trained_together_and_no_more_than_allowed(store: Store) -> None:
    put(store, "r-base", "finished")
    tune = RunSpec.of(task=DIGITS, source=DIGITS, base="r-base", method=LoRASpec.of())
    full = tune.but(method="full")
    queued = [
        ("r-1", tune),
        ("r-2", full),
        ("r-3", tune.but(seed=1)),
        ("r-4", tune.but(method=LoRASpec.of(rank=8, alpha=2))),
        ("r-5", tune.but(optim=OptimSpec.of(epochs=3))),
        ("r-6", tune.but(optim=OptimSpec.of(learning_rate=0.1))),
        ("r-7", tune.but(task=TURNED)),
        ("r-8", tune.but(seed=2)),
    ]
    store.add(queued, "me", 100)
    banks = [[run.id for run in claim(store, 4)] for _ in range(5)]
    assert banks == [["r-1", "r-3", "r-4", "r-6"], ["r-2"], ["r-5"], ["r-7"], ["r-8"]]


def test_two_workers_never_claim_the_same_run(store: Store) -> None:
    store.add([(f"r-{i}", SPEC) for i in range(30)], "me", 100)
    claimed: list[str] = []

    def work() -> None:
        while bank := claim(store, 3):
            claimed.extend(run.id for run in bank)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(f"r-{i}" for i in range(30))


def test_a_run_comes_back_equal_from_another_process_view(store: Store) -> None:
    put(store, "r-1", "finished")
    store.close()
    again = Store(store.path).run("r-1")
    assert again.spec == SPEC
    assert again.result == RESULT


def test_unknown_ids_and_foreign_files_get_a_sentence(store: Store, tmp_path: Path) -> None:
    for call in (store.run, store.experiment, lambda id: store.ask_stop(id, owner="me")):
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
