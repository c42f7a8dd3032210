"""Histories keep their order when the system clock is changed."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from core.lab import Lab
from core.run_spec import RunSpec
from tests.conftest import DIGITS, finish, short


def test_history_and_log_keep_their_order_when_the_clock_was_put_back(lab: Lab) -> None:
    (run,) = finish(lab, lab.launch(RunSpec.of(method="pretrain", task=DIGITS, optim=short())).id)
    for text in ("first", "second", "third"):
        lab.store.add_log(run.id, text)
    with closing(sqlite3.connect(lab.settings.home / "lab.sqlite3")) as db, db:
        db.execute("UPDATE transitions SET at = 1e9 - rowid")
        db.execute("UPDATE log SET at = 1e9 - rowid")
    assert [state for _, state in lab.history(run.id)] == ["queued", "running", "finished"]
    assert [text for _, text in lab.log(run.id)][-3:] == ["first", "second", "third"]
