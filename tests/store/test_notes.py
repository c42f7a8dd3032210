"""Notes, tags, the archive and deletion: all or nothing, at any time, from any process, also twice."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from core.engine.jobs.run_files import NETWORK
from core.errors import NoteError, RunInUseError, StoreError, UnknownRunError
from core.files import sha256_of
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.plan.configuration import Configuration
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.deletions import Deletions
from core.store.looks import Look, Looks, Shown
from core.store.notes import MAX_NOTE, MAX_TAG, MAX_TAGS, RunNotes
from core.store.record import Experiment
from core.store.search import Query, Search
from core.store.store import Store
from core.web.downloads import download
from tests import forked
from tests.conftest import BOTH, DIGITS, TURNED, finish, short, wait_until
from tests.forked import Process
from tests.launching import fine_tune
from tests.store.many import PER_EXPERIMENT, write_many
from tests.store.states import SPEC, claim
from tests.study.samples import RESULT
from tests.web.asking import complete

TUNE = RunSpec.of(method="full", task=TURNED, source=DIGITS, base="r-0000ba5e")


def put(store: Store, folder: Path, *ids: str, spec: RunSpec = SPEC) -> None:
    """Finished runs with one file each."""
    store.add([(id, spec) for id in ids], "me", 100)
    with store.transaction() as db:
        db.execute("UPDATE runs SET state = 'finished' WHERE state = 'queued'")
    for id in ids:
        (folder / id).mkdir(parents=True)
        (folder / id / NETWORK).write_bytes(b"weights")


# Notes and tags


def note_of(store: Store, id: str = "r-1") -> tuple[str, tuple[str, ...]]:
    (entry,) = Search(store).entries([id])
    return entry.note, entry.tags


def test_a_note_and_tags_come_back_as_they_were_given(store: Store, notes: RunNotes) -> None:
    store.add([("r-1", SPEC)], "me", 10)
    notes.set_note("r-1", "  **two**\r\nlines <b> \\ %  ")
    notes.set_tags("r-1", ["b  c", "a", "a", " ä€😀 "])
    assert note_of(store) == ("**two**\nlines <b> \\ %", ("a", "b c", "ä€😀"))
    notes.add_tag(["r-1", "r-none"], "new")
    assert "new" in note_of(store)[1]
    notes.set_note("r-1", "")
    notes.set_tags("r-1", [])
    assert note_of(store) == ("", ())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s.set_note("r-1", "x" * (MAX_NOTE + 1)), "at most 2,000 characters, and this one has 2,001"),
        (lambda s: s.set_note("r-1", "a\0b"), r"not text \('\\x00'\)"),
        (lambda s: s.set_note("r-1", "half \ud800"), "not text"),
        (lambda s: s.set_tags("r-1", ["kept", "y" * (MAX_TAG + 1)]), "at most 40 characters, and this one has 41"),
        (lambda s: s.set_tags("r-1", ["  "]), "at least one character"),
        (lambda s: s.set_tags("r-1", ["a\x1bb"]), "not text"),
        (lambda s: s.set_tags("r-1", [str(i) for i in range(MAX_TAGS + 1)]), "at most 20 tags"),
        (lambda s: [s.add_tag(["r-1"], str(i)) for i in range(MAX_TAGS + 1)], "at most 20 tags"),
    ],
)
def test_what_is_too_long_or_no_text_is_refused_and_changes_nothing(
    store: Store, notes: RunNotes, change: Callable[[RunNotes], object], sentence: str
) -> None:
    store.add([("r-1", SPEC)], "me", 10)
    notes.set_note("r-1", "before")
    notes.set_tags("r-1", ["0"])
    with pytest.raises(NoteError, match=sentence):
        change(notes)
    note, tags = note_of(store)
    assert note == "before"
    assert len(tags) <= MAX_TAGS
    assert "0" in tags


def test_a_run_that_is_gone_takes_no_note_and_leaves_no_tag(store: Store, notes: RunNotes) -> None:
    for change in (lambda: notes.set_note("r-1", "x"), lambda: notes.set_tags("r-1", ["x"])):
        with pytest.raises(UnknownRunError):
            change()
    notes.add_tag(["r-1"], "x")
    assert Search(store).tags() == []


def test_the_archive_keeps_runs_out_of_sight_and_gives_them_back(store: Store, notes: RunNotes) -> None:
    store.add([("r-1", SPEC), ("r-2", SPEC)], "me", 10)
    notes.archive(["r-1", "r-none"])
    search = Search(store)
    assert [e.run.id for e in search.find(Query()).entries] == ["r-2"]
    assert [e.run.id for e in search.find(Query(archived=True)).entries] == ["r-1"]
    assert store.run("r-1").state == "queued"
    notes.archive(["r-1"], False)
    assert search.count(Query()) == 2


# Deleting


def rows_of(store: Store, ids: list[str]) -> int:
    """Number of rows in all tables that belong to these runs."""
    tables = [row["name"] for row in store.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    total = 0
    for table in tables:
        columns = {row["name"] for row in store.rows(f"PRAGMA table_info({table})")}
        column = next(name for name in ("run", "id", "experiment", "judged") if name in columns)
        total += sum(store.rows(f"SELECT count(*) FROM {table} WHERE {column} = ?", id)[0][0] for id in ids)
    return total


def test_deleting_leaves_nothing_of_a_run_and_all_of_the_others(store: Store, notes: RunNotes, tmp_path: Path) -> None:
    ids = write_many(store, 3 * PER_EXPERIMENT)
    for id in ids:
        (tmp_path / "runs" / id).mkdir(parents=True)
        (tmp_path / "runs" / id / NETWORK).write_bytes(b"weights")
    group, others = ids[PER_EXPERIMENT : 2 * PER_EXPERIMENT], [*ids[:PER_EXPERIMENT], *ids[2 * PER_EXPERIMENT :]]
    before = rows_of(store, others)
    assert sorted(notes.delete(group)) == group
    assert rows_of(store, group) == 0
    assert rows_of(store, others) == before
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == sorted(others)
    assert {experiment.name for experiment in store.experiments()} == {"digits, rotated 0", "fashion-mnist, rotated 2"}
    assert notes.delete(group) == []


def test_an_experiment_goes_with_its_last_run_only(store: Store, notes: RunNotes) -> None:
    store.add([("r-0000ba5e", SPEC)], "me", 10)
    store.add([("r-1", TUNE), ("r-2", TUNE)], "me", 10, Experiment("e-1", "Turned", 0.0, "r-0000ba5e", ("r-1", "r-2")))
    assert notes.effects_of_deleting(["r-1"]).experiments == ()
    assert notes.effects_of_deleting(["r-1", "r-2"]).experiments == ("Turned",)
    notes.delete(["r-1"])
    assert store.experiment("e-1").runs == ("r-2",)
    assert notes.effects_of_deleting(["r-2"]).experiments == ("Turned",)
    notes.delete(["r-2"])
    assert store.experiments() == []


def test_a_look_is_kept_once_as_it_was_and_goes_with_its_experiment(
    store: Store, notes: RunNotes, tmp_path: Path
) -> None:
    for id in ("1", "2"):
        store.add([(f"r-{id}", TUNE)], "me", 10, Experiment(f"e-{id}", "Turned", 0.0, "r-0000ba5e", (f"r-{id}",)))
        assert Looks(store).are_kept(f"e-{id}")
    shown = Shown("lower", ("f0", "a0", "f1", "a1"), methods=True)
    look = Look((("lora 4", 2), ("lora 8", 2)), 8, 0.03125, (shown,))
    Looks(store).record("e-1", [look])
    first = Looks(store).of("e-1")
    Looks(store).record("e-1", [replace(look, level=0.05, claims=())])
    others = [replace(look, account=account) for account in ((("lora 4", 6), ("lora 8", 6)), (("lora 4", 2),))]
    Looks(store).record("e-1", [replace(look, seeds=16), *others])
    Looks(store).record("e-2", [look])
    reopened = Looks(Store(tmp_path / "lab.sqlite3")).of("e-1")
    assert reopened[:1] == first == [replace(look, at=first[0].at)]
    assert first[0].at > 0
    assert len(reopened) == 4
    assert not Looks(store).are_kept("e-3")
    for methods in (None, False, True):  # what was not tested is tested once
        Looks(store).record("e-1", [replace(look, seeds=32, claims=(replace(shown, methods=methods),))])
    assert Looks(store).of("e-1")[-1].claims == (replace(shown, methods=False),)
    notes.delete(["r-1"])
    assert [len(Looks(store).of(id)) for id in ("e-1", "e-2")] == [0, 1]


def test_a_run_that_trains_is_refused_and_one_that_waits_is_taken_off_the_queue(store: Store, notes: RunNotes) -> None:
    store.add([("r-1", SPEC)], "me", 10)
    (claimed,) = claim(store)
    store.add([("r-2", SPEC)], "me", 10)
    assert notes.effects_of_deleting(["r-1", "r-2"]).running == ("r-1",)
    with pytest.raises(RunInUseError, match="Run r-1 is being trained: stop first, then delete"):
        notes.delete(["r-1", "r-2"])
    assert len(store.runs()) == 2
    assert notes.delete(["r-2"]) == ["r-2"]
    assert claim(store) == []
    store.finish(claimed, "finished", RESULT, {})
    assert notes.delete(["r-1"]) == ["r-1"]


def test_a_base_goes_only_with_the_runs_that_start_from_it(store: Store, notes: RunNotes, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    put(store, folder, "r-0000ba5e")
    put(store, folder, "r-1", "r-2", "r-3", "r-4", "r-5", spec=TUNE)
    assert notes.effects_of_deleting(["r-0000ba5e", "r-1"]).dependents == ("r-2", "r-3", "r-4", "r-5")
    sentence = "Runs r-2, r-3, r-4 and 1 more start from r-0000ba5e: delete them too, or keep their base"
    with pytest.raises(RunInUseError, match=sentence):
        notes.delete(["r-0000ba5e", "r-1"])
    assert len(store.runs()) == 6
    assert (folder / "r-1" / NETWORK).exists()
    everything = ["r-0000ba5e", *notes.effects_of_deleting(["r-0000ba5e"]).dependents]
    assert len(notes.delete(everything)) == 6
    assert list(folder.iterdir()) == []


CHILD = """
import os, signal, sys
from pathlib import Path
from core.store.deletions import Deletions
from core.store.notes import RunNotes
from core.store.store import Store
home, mode, *ids = sys.argv[1:]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def record_and_die(self, ids, record=Deletions.record):
    record(self, ids)
    die()

moments = {
    "die before it is recorded": ("record", die),
    "die before the store answers": ("record", record_and_die),
    "die before the files go": ("purge", die),
}
if mode in moments:
    setattr(Deletions, *moments[mode])
print("ready", flush=True)
sys.stdin.readline()
print(len(RunNotes(Store(Path(home) / "lab.sqlite3"), Path(home)).delete(ids)), flush=True)
"""


def child(home: Path, mode: str, ids: list[str]) -> Process:
    """A process that deletes these runs on command."""
    arguments = ["-c", CHILD, str(home), mode, *ids]
    process = forked.start(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_and_four_threads_that_delete_the_same_delete_each_run_once(tmp_path: Path) -> None:
    store, folder = Store(tmp_path / "lab.sqlite3"), tmp_path / "runs"
    ids = [f"r-{number:08x}" for number in range(40)]
    put(store, folder, *ids)
    process = child(tmp_path, "delete", ids)
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()
    with ThreadPoolExecutor(4) as pool:
        gone = sum(pool.map(lambda _: len(RunNotes(store, tmp_path).delete(ids)), range(4)))
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert gone + int(printed) == len(ids)
    assert store.runs() == []
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("moment", "deleted"),
    [("die before it is recorded", False), ("die before the store answers", True), ("die before the files go", True)],
)
def test_a_process_killed_while_it_deletes_has_deleted_all_or_nothing_at_the_next_start(
    settings: Settings, moment: str, deleted: bool
) -> None:
    store = Store(settings.store)
    ids = ["r-00000001", "r-00000002"]
    put(store, settings.runs, *ids, "r-00000003")
    (settings.runs / "not-a-run").mkdir()
    process = child(settings.home, moment, ids)
    process.communicate("go\n", timeout=60)
    assert process.returncode == -signal.SIGKILL
    lab = Lab(settings)
    lab.start()
    assert {run.id for run in lab.store.runs()} == {"r-00000003", *([] if deleted else ids)}
    lab.close()
    left = {"not-a-run", "r-00000003", *([] if deleted else ids)}
    assert {path.name for path in settings.runs.iterdir()} == left
    assert Deletions(settings.home).names() == (set(ids) if deleted else set())


def test_a_deletion_that_cannot_be_recorded_deletes_nothing_and_the_next_one_is_recorded_whole(
    store: Store, notes: RunNotes, tmp_path: Path
) -> None:
    put(store, tmp_path / "runs", "r-00000001", "r-00000002")
    (tmp_path / "deleted").mkdir()
    record = tmp_path / "deleted" / "runs.txt"
    record.mkdir()
    with pytest.raises(StoreError, match="cannot be recorded"):
        notes.delete(["r-00000001"])
    assert {run.id for run in store.runs()} == {path.name for path in (tmp_path / "runs").iterdir()}
    assert len(store.runs()) == 2
    record.rmdir()
    record.write_text("r-00000009\nr-0000")  # a full disk has cut the last line
    notes.delete(["r-00000001"])
    assert {"r-00000001", "r-00000009"} < Deletions(tmp_path).names()


def test_stop_and_delete_at_any_moment_from_many_threads_leave_every_run_whole_or_gone(lab: Lab) -> None:
    (base,) = finish(lab, lab.launcher.launch(SPEC.but(optim=short(rate=0.001))).id)
    arms = [(short(epochs=60, batch_size=16), LoRASpec.of(rank=rank)) for rank in (1, 2, 4)]
    ids = list(fine_tune(lab, base, TURNED, arms, range(4), "x").runs)
    wait_until(lambda: any(lab.store.run(id).step for id in ids))

    def do_away(mine: list[str]) -> None:
        for id in mine:
            while id in {run.id for run in lab.store.runs_of([id])}:
                try:
                    lab.stop(id)
                    lab.notes.delete([id])
                except (RunInUseError, UnknownRunError):
                    wait_until(lambda id=id: not any(run.state == "running" for run in lab.store.runs_of([id])))

    # Two threads delete every run while the rest of its bank goes on training.
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda place: do_away(ids[place % 2 :: 2]), range(4)))
    assert [run.id for run in lab.store.runs()] == [base.id]
    assert [path.name for path in lab.settings.runs.iterdir()] == [base.id]
    assert (
        finish(lab, lab.launcher.launch(SPEC.but(seed=5, optim=short())).id)[0].state == "finished"
    )  # the worker lives


def test_a_run_of_a_bank_is_stopped_and_deleted_while_the_others_train(lab: Lab) -> None:
    (base,) = finish(lab, lab.launcher.launch(SPEC.but(optim=short(rate=0.001))).id)
    arms = [(short(epochs=150, batch_size=16), LoRASpec.of(rank=rank)) for rank in (1, 2, 4)]
    first, *others = fine_tune(lab, base, TURNED, arms, [0], "x").runs
    wait_until(lambda: all(lab.store.run(id).step for id in (first, *others)))
    lab.stop(first)
    wait_until(lambda: lab.store.run(first).state == "stopped")
    assert [lab.store.run(id).state for id in others] == ["running"] * 2
    stopped = lab.store.run(first)
    assert stopped.result is not None
    assert stopped.result.steps == stopped.step
    lab.notes.delete([first])
    with pytest.raises(RunInUseError):
        lab.notes.delete([base.id, *others])
    for id in others:
        lab.stop(id)
    ended = finish(lab, *others)
    assert [(run.state, run.result and run.result.steps) for run in ended] == [("stopped", run.step) for run in ended]


def test_a_download_that_has_begun_ends_whole_when_its_run_is_deleted(current_lab: Lab) -> None:
    (run,) = finish(current_lab, current_lab.launcher.launch(SPEC.but(optim=short())).id)
    digest = sha256_of(current_lab.artifacts.path(run.id, NETWORK))
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": []}
    scope["path_params"] = {"run_id": run.id, "kind": NETWORK}
    body: list[bytes] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            if not body:
                current_lab.notes.delete([run.id])
            body.append(message.get("body", b""))

    complete(download(Request(scope))(scope, receive, send))
    assert len(body) > 1
    assert hashlib.sha256(b"".join(body)).hexdigest() == digest
    assert download(Request(scope)).status_code == 404
    assert current_lab.store.runs() == []


def test_runs_that_are_deleted_are_no_base_for_new_ones(lab: Lab) -> None:
    (base,) = finish(lab, lab.launcher.launch(SPEC.but(optim=short())).id)
    lab.notes.delete([base.id])
    (run,) = finish(lab, *fine_tune(lab, base, TURNED, [BOTH[0]], [0], "x").runs)
    assert run.state == "failed"
    assert run.cause == f"Its base {base.id} does not exist any more."
    assert lab.launcher.plan(Configuration.on(base.spec, TURNED, BOTH, [0])).bases
