"""Runs brought to a state by calls of the store."""

from __future__ import annotations

import sqlite3

import numpy as np

from core.run_spec import RunSpec
from core.store.record import Run, State
from core.store.store import Store
from core.training.stepper import StepLoss
from tests.conftest import DIGITS
from tests.study.samples import RESULT

SPEC = RunSpec.of(method="pretrain", task=DIGITS)


def claim(store: Store, count: int = 1, owner: str = "me") -> list[Run]:
    """Claim the next runs that can be trained together, at most so many."""
    return store.claim(store.next_runs(owner)[:count])


def put(store: Store, id: str, state: State, spec: RunSpec = SPEC, owner: str = "me") -> None:
    """Import a run to a state by calls of the store."""
    store.add([(id, spec)], owner, 100)
    if state == "queued":
        return
    if state == "stopped":
        store.ask_stop(id, owner=owner)
        return
    (run,) = claim(store, owner=owner)
    assert run.id == id
    {
        "running": lambda: None,
        "finished": lambda: store.finish(run, "finished", RESULT, {}),
        "failed": lambda: store.fail(run, "because", None),
        "interrupted": lambda: store.interrupt(run),
    }[state]()


def insert(db: sqlite3.Connection, **row: object) -> None:
    """Write a row of the table of runs, as this version would not."""
    db.execute(f"INSERT INTO runs ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()])


def train(store: Store, id: str, first: int, count: int) -> None:
    """Record steps of a run in training, a tenth of a second each."""
    seconds = 0.1 * np.arange(first, first + count)
    lost = store.record([(store.run(id), StepLoss(first, np.arange(first, first + count, dtype=np.float32), seconds))])
    assert not lost


def keep(store: Store, id: str, step: int) -> None:
    """Record a checkpoint of a run in training."""
    assert not store.keep_checkpoints([(store.run(id), f"checkpoint-{step}-abcd.safetensors", "0" * 64)])


def begun(store: Store, count: int, kept: int | None = None, steps: int = 10) -> None:
    """The run r-1 in training, with so many steps behind it and a checkpoint of one of them."""
    put(store, "r-1", "running")
    store.begin(store.run("r-1"), steps)
    train(store, "r-1", 1, count)
    if kept is not None:
        keep(store, "r-1", kept)


def claimed_again(store: Store) -> Run:
    """The run r-1, which was in training, interrupted and claimed once more."""
    store.interrupt(store.run("r-1"))
    store.requeue(["r-1"], "me")
    (run,) = claim(store)
    return run
