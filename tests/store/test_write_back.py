"""The store's file alone has nearly everything, while a process uses it and afterwards: people copy it."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from core.lab import Lab
from core.settings import Settings
from core.store import backups
from core.store.backups import Backups
from core.store.store import Store
from tests.conftest import wait_until
from tests.store.states import SPEC


def runs_in_copy(path: Path, folder: Path) -> list[str] | None:
    """Ids of the runs in a copy of the file without those beside it; None if it was copied while it was written."""
    copy = folder / "copy.sqlite3"
    for end in ("", "-wal", "-shm"):
        copy.with_name(copy.name + end).unlink(missing_ok=True)
    shutil.copy(path, copy)
    try:
        with closing(sqlite3.connect(copy)) as db:
            return [id for (id,) in db.execute("SELECT id FROM runs ORDER BY id")]
    except sqlite3.DatabaseError:
        return None


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backups, "WRITE_BACK_SECONDS", 0.05)


@pytest.mark.usefixtures("often")
def test_the_file_alone_has_what_was_written_while_a_lab_is_open(settings: Settings, tmp_path: Path) -> None:
    lab = Lab(settings)
    lab.start()
    try:
        for number in range(3):
            lab.store.add([(f"r-{number}", SPEC)], "nobody", 10)
            known = [f"r-{each}" for each in range(number + 1)]
            wait_until(lambda known=known: runs_in_copy(settings.store, tmp_path) == known)
    finally:
        lab.close()


@pytest.mark.usefixtures("often")
def test_the_file_alone_has_what_was_written_while_others_read_and_nothing_waits(tmp_path: Path) -> None:
    path = tmp_path / "lab.sqlite3"
    store = Store(path, busy_seconds=0.0)  # what would wait fails
    store.add([("r-0", SPEC)], "me", 10)
    thread = Backups(store, tmp_path / "backups")
    thread.start()
    try:
        with store.connection() as reader:
            reader.execute("BEGIN")
            assert len(reader.execute("SELECT id FROM runs").fetchall()) == 1
            for number in range(1, 200):
                store.add([(f"r-{number}", SPEC)], "me", 1000)
            assert len(reader.execute("SELECT id FROM runs").fetchall()) == 1
            reader.execute("ROLLBACK")
        wait_until(lambda: len(runs_in_copy(path, tmp_path) or ()) == 200)
    finally:
        thread.close(10)
    store.close()


def test_writing_back_waits_for_nobody_and_nobody_waits_for_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "lab.sqlite3", busy_seconds=0.0)
    ended = threading.Event()
    errors: list[sqlite3.Error] = []

    def write_back() -> None:
        while not ended.is_set():
            try:
                store.write_back()
            except sqlite3.Error as error:
                errors.append(error)
                return

    with store.connection() as reader, store.transaction():
        reader.execute("BEGIN")
        reader.execute("SELECT id FROM runs").fetchall()
        store.write_back()
        reader.execute("ROLLBACK")
    thread = threading.Thread(target=write_back)
    thread.start()
    try:
        for number in range(300):
            store.add([(f"r-{number}", SPEC)], "me", 1000)
    finally:
        ended.set()
        thread.join()
    assert errors == []
    assert len(store.runs()) == 300
    store.close()


def test_a_lab_that_closes_leaves_all_in_the_file_also_while_another_has_it_open(
    settings: Settings, tmp_path: Path
) -> None:
    lab = Lab(settings)
    with closing(sqlite3.connect(settings.store)) as other:
        assert other.execute("SELECT count(*) FROM runs").fetchone() == (0,)
        lab.store.add([("r-1", SPEC)], "nobody", 10)
        lab.close()
        assert runs_in_copy(settings.store, tmp_path) == ["r-1"]
