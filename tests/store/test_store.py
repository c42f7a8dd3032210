"""The store: a queue that workers claim runs and banks from, runs that come back equal, and a file that has it all."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.errors import LabError, QueueFullError, StoreError, UnknownRunError
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.run_spec import OptimSpec, RunSpec
from core.settings import Settings
from core.store import recovery
from core.store.database import store_error
from core.store.notes import RunNotes
from core.store.record import Experiment
from core.store.recovery import Backups
from core.store.store import Store
from tests.conftest import DIGITS, TURNED, wait_until
from tests.store.states import SPEC, claim, keep, put, train
from tests.study.samples import RESULT

TUNE = RunSpec.of(task=DIGITS, source=DIGITS, base="r-base", method=LoRASpec.of())


def test_runs_at_different_steps_never_come_into_one_bank(store: Store) -> None:
    put(store, "r-base", "finished")
    store.add([(f"r-{i}", TUNE.but(seed=i)) for i in range(5)], "me", 100)
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


def test_a_fine_tune_run_fails_with_its_base(store: Store) -> None:
    store.add([("r-base", SPEC)], "me", 10)
    store.add([("r-tune", TUNE)], "me", 10)
    (base,) = claim(store)
    store.fail(base, "because", None)
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
    queued = [
        ("r-1", TUNE),
        ("r-2", TUNE.but(method="full")),
        ("r-3", TUNE.but(seed=1)),
        ("r-4", TUNE.but(method=LoRASpec.of(rank=8, alpha=2))),
        ("r-5", TUNE.but(optim=OptimSpec.of(epochs=3))),
        ("r-6", TUNE.but(optim=OptimSpec.of(learning_rate=0.1))),
        ("r-7", TUNE.but(task=TURNED)),
        ("r-8", TUNE.but(seed=2)),
    ]
    store.add(queued, "me", 100)
    banks = [[run.id for run in claim(store, 4)] for _ in range(5)]
    assert banks == [["r-1", "r-3", "r-4", "r-6"], ["r-2"], ["r-5"], ["r-7"], ["r-8"]]


def test_two_workers_never_claim_the_same_run(store: Store) -> None:
    store.add([(f"r-{i}", SPEC) for i in range(30)], "me", 100)
    claimed: list[str] = []

    def work(_: int) -> None:
        while bank := claim(store, 3):
            claimed.extend(run.id for run in bank)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert sorted(claimed) == sorted(f"r-{i}" for i in range(30))


def test_a_run_comes_back_equal_from_another_process_view(store: Store) -> None:
    put(store, "r-1", "finished")
    store.close()
    again = Store(store.path).run("r-1")
    assert again.spec == SPEC
    assert again.result == RESULT


def test_unknown_ids_get_a_sentence(store: Store) -> None:
    for call in (store.run, store.experiment, lambda id: store.ask_stop(id, owner="me")):
        with pytest.raises(UnknownRunError):
            call("r-none")


@pytest.mark.parametrize("why", ["full", "locked"])
def test_an_open_store_that_takes_nothing_now_is_a_sentence_and_keeps_what_it_has(tmp_path: Path, why: str) -> None:
    """The error is both: a sentence for pages, and SQLite's for whoever tries a write again."""
    store = Store(tmp_path / "lab.sqlite3", busy_seconds=0.1)
    put(store, "r-1", "finished")
    before, notes = store.run("r-1"), RunNotes(store, tmp_path)
    other = sqlite3.connect(store.path, isolation_level=None)
    if why == "full":
        with store.connection() as db:  # the only one, which is used for each call below
            db.execute("PRAGMA max_page_count = 1")  # SQLite takes the pages that there are
    else:
        other.execute("BEGIN IMMEDIATE")
    said = {
        "full": "because the disk is full: free some space, and try again",
        "locked": "is locked by another program",
    }
    calls = [lambda: store.add([(f"r-{n}", SPEC) for n in range(2, 50)], "me", 100)]
    if why == "locked":
        calls += [lambda: notes.set_note("r-1", "a note"), lambda: notes.delete(["r-1"])]
    for call in calls:
        with pytest.raises(StoreError, match=said[why]) as caught:
            call()
        assert isinstance(caught.value, sqlite3.OperationalError)
        assert caught.value.sqlite_errorcode in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY)
    other.close()
    with store.connection() as db:
        db.execute("PRAGMA max_page_count = 100000")
    assert store.run("r-1") == before
    assert len(store.runs()) == 1
    store.add([("r-2", SPEC)], "me", 100)
    store.close()


def test_what_is_wrong_inside_a_query_stays_what_it_is(store: Store) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table") as caught:
        store.rows("SELECT * FROM nowhere")
    assert not isinstance(caught.value, LabError)


@pytest.mark.parametrize(("free", "said"), [(0, "the disk is full"), (10**9, "check the disk")])
def test_an_error_of_the_disk_is_that_of_a_full_one_where_nothing_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, said: str
) -> None:
    """SQLite reports the file that connections share, when it cannot grow, as an error of the disk."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    assert said in str(store_error(error, tmp_path / "lab.sqlite3"))


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
    monkeypatch.setattr(recovery, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(recovery, "SHARE", 1.0)


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

    def write_back() -> None:
        while not ended.is_set():
            store.write_back()

    with store.connection() as reader, store.transaction():
        reader.execute("BEGIN")
        reader.execute("SELECT id FROM runs").fetchall()
        store.write_back()
        reader.execute("ROLLBACK")
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write_back)
        try:
            for number in range(300):
                store.add([(f"r-{number}", SPEC)], "me", 1000)
        finally:
            ended.set()
    writing.result()
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
