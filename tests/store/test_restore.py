"""A store that is lost, truncated, outdated or damaged comes back, and deleted runs do not."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from core.engine.jobs.run_files import NETWORK
from core.errors import RunFileError, StoreDamagedError, StoreError, StoreGoneError
from core.lab import Lab
from core.methods.full import FullSpec
from core.run_spec import RunSpec
from core.settings import Settings
from core.store import recovery
from core.store.looks import Look
from core.store.record import stages_of
from core.store.recovery import KEPT_LATEST, Backups, backups_in, open_store
from core.store.run_file import NAME, put, read_run_file, write_run_file
from core.store.store import Store
from core.web.downloads import routes
from tests import forked
from tests.conftest import BOTH, DIGITS, TURNED, Opener, finish, short, wait_until
from tests.engine.child import lab_process
from tests.launching import fine_tune
from tests.store.harm import AS_NOBODY, cut, flip, halve, lose
from tests.store.test_old_home import said
from tests.web.asking import ask

SPEC = RunSpec.of(method="pretrain", task=DIGITS, optim=short())
LONG = SPEC.but(optim=short(epochs=200, batch_size=16, rate=0.001))

Harm = Callable[[Settings], None]
HARMS = [lose, cut, halve, flip]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, threads=1, checkpoint_seconds=0.05, settle_seconds=0.2)


def trained(lab: Lab, *seeds: int) -> list[str]:
    """Ids of bases that were trained with these seeds."""
    ids = [lab.launcher.launch(SPEC.but(seed=seed)).id for seed in seeds]
    finish(lab, *ids)
    return ids


def everything(lab: Lab) -> dict[str, Any]:
    """All that the store knows of runs and experiments, their launches, looks, and judged results."""
    experiments = lab.store.experiments()
    return said(lab) | {
        "stages": [[[run.id for run in stage] for stage in stages_of(lab.store.members(each))] for each in experiments],
        "looks": {each.id: lab.looks.of(each.id) for each in experiments},
        "trim": [each.trim for each in experiments],
        "judged": lab.judged.list(),
    }


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with runs of several kinds in two launches, with notes, tags, a look, and judged results."""
    with closing(Lab(Settings(tmp_path_factory.mktemp("filled") / "home", threads=1))) as lab:
        lab.start()
        base = finish(lab, lab.launcher.launch(SPEC).id)[0]
        experiment = fine_tune(lab, base, TURNED, [*BOTH, (short(), "head")], range(2), "x", trim=True)
        finish(lab, *experiment.runs, *lab.experiments.grow(experiment, BOTH, [2]))
        lab.experiments.rename(experiment.id, "*An* experiment")
        lab.notes.set_tags(experiment.runs[0], ["café", "b"])
        lab.notes.set_note(experiment.runs[1], "two\nlines")
        lab.notes.archive([experiment.runs[2]])
        lab.looks.record(experiment.id, [Look((("lora 4", 1),), 8, 0.03)])
        lab.judged.add("Theirs", "[]", [], {})
    return lab.settings.home


@pytest.mark.parametrize("harm", HARMS)
def test_a_store_that_is_lost_cut_or_damaged_comes_back_by_itself_with_everything(
    opened: Opener, settings: Settings, filled: Path, harm: Harm
) -> None:
    shutil.copytree(filled, settings.home)
    with closing(Lab(settings)) as lab:
        before = everything(lab)
        assert lab.notice == ""
    files = {path: path.read_bytes() for path in settings.runs.rglob("*") if path.is_file()}
    harm(settings)
    harmed = settings.store.read_bytes() if settings.store.exists() else b""
    with closing(Lab(settings)) as lab:
        assert everything(lab) == before
        assert "was restored from the backup lab-" in lab.notice
        # What was looked at since the backup is not known, so it counts as spent.
        assert not any(lab.looks.are_kept(each.id) for each in lab.store.experiments())
    assert {path: path.read_bytes() for path in settings.runs.rglob("*") if path.is_file()} == files
    kept = [path.read_bytes() for path in (settings.home / "damaged").glob("*/lab.sqlite3")]
    assert kept == ([] if harm is lose else [harmed])
    with closing(Lab(settings)) as lab:
        assert lab.notice == ""


def test_a_flipped_page_anywhere_is_noticed_or_without_meaning(settings: Settings, filled: Path) -> None:
    shutil.copytree(filled, settings.home)
    with closing(Lab(settings)) as lab:
        before, size = everything(lab), lab.store.rows("PRAGMA page_size")[0][0]
    content = settings.store.read_bytes()
    noticed = 0
    for start in range(0, len(content), size):
        page = bytes(255 - byte for byte in content[start : start + size])
        settings.store.write_bytes(content[:start] + page + content[start + size :])
        try:
            with closing(Store(settings.store)) as store:
                store.verify()
        except StoreDamagedError:
            noticed += 1
        else:
            with closing(Lab(settings)) as lab:
                assert everything(lab) == before
    assert noticed > len(content) / size / 2


def killed(settings: Settings, filled: Path, until: Callable[[Lab, str], bool], then: Callable[[], None]) -> str:
    """Have a process train a run on a copy of a home, do something there, and kill it. Returns: the id of the run."""
    shutil.copytree(filled, settings.home)
    with lab_process(settings.home, [LONG], threads=1, checkpoint_seconds=0.05) as (process, (id,)):
        with closing(Lab(settings)) as reader:
            wait_until(lambda: until(reader, id))
        then()
        process.send_signal(signal.SIGKILL)
        process.wait()
    return id


@pytest.mark.parametrize("harm", HARMS)
def test_what_a_killed_process_had_just_launched_looked_at_or_judged_comes_back(
    opened: Opener, settings: Settings, filled: Path, harm: Harm
) -> None:
    known: dict[str, Any] = {}

    def act() -> None:
        """Another process on the same home writes, as the command line beside a dashboard, and does not close."""
        lab = Lab(settings)
        (base,) = (run for run in lab.store.runs(methods=["pretrain"], states=["finished"]) if run.spec.seed == 0)
        launched = fine_tune(lab, base, TURNED, BOTH, [7], "just launched")
        lab.looks.record(launched.id, [Look((("lora 4", 1),), 9, 0.01)])
        lab.judged.add("Just judged", "[]", [], {})
        lab.experiments.rename(launched.id, "just renamed")
        launched = lab.store.experiment(launched.id)
        known.update(launched=launched, looks=lab.looks.of(launched.id), judged=lab.judged.list())
        known.update(experiments=lab.store.experiments(), said=said(lab))

    id = killed(settings, filled, lambda lab, id: (settings.runs / id / NAME).exists(), act)
    harm(settings)
    with closing(Lab(settings)) as lab:
        launched = known["launched"]
        assert lab.store.experiment(launched.id) == launched
        assert lab.looks.of(launched.id) == known["looks"]
        assert lab.judged.list() == known["judged"]
        assert lab.store.experiments() == known["experiments"]
        found = said(lab)
        for run, values in known["said"]["runs"].items():
            if run != id:
                assert found["runs"][run] == values
        assert lab.store.checkpoint(id) is not None
    assert opened().store.run(id).state == "interrupted"


@pytest.mark.parametrize("harm", HARMS)
def test_a_killed_run_whose_store_is_lost_goes_on_from_its_checkpoint_bit_for_bit(
    opened: Opener, settings: Settings, filled: Path, harm: Harm
) -> None:
    spec = LONG.but(optim=LONG.optim.but(epochs=12))
    with lab_process(settings.home, [spec], threads=1, checkpoint_seconds=0.05) as (process, (id,)):
        with closing(Lab(settings)) as reader:
            wait_until(lambda: (settings.runs / id / NAME).exists() and reader.store.run(id).step > 100)
        process.send_signal(signal.SIGKILL)
        process.wait()
    harm(settings)
    lab = opened()
    assert "came back from the folders in runs" in lab.notice
    assert lab.store.run(id).state == "interrupted"
    lab.launcher.finish([id])
    run, untouched = finish(lab, id, lab.launcher.launch(spec).id)
    assert run.resumed_step > 0
    assert lab.store.curve(id).loss.tolist() == lab.store.curve(untouched.id).loss.tolist()
    assert lab.artifacts.read(id, NETWORK) == lab.artifacts.read(untouched.id, NETWORK)


def test_a_run_that_ended_after_the_last_backup_comes_back_finished_from_its_folder(
    opened: Opener, settings: Settings
) -> None:
    lab = opened()
    ids = trained(lab, 0, 1)
    before = said(lab)
    lab.close()
    earlier = backups_in(settings.backups)
    for path in earlier[:-1]:  # the first is that of the start
        path.unlink()
    lose(settings)
    lab = opened()
    assert f"was restored from the backup {earlier[-1].name}" in lab.notice
    assert "2 runs" in lab.notice
    assert {run.state for run in lab.store.runs_of(ids)} == {"finished"}
    assert said(lab) == before


def test_a_run_is_not_finished_before_its_file_is_written(
    opened: Opener, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies between the two leaves a file that is ahead, from which the run comes back finished."""
    lab = opened()
    seen: list[tuple[str, str]] = []

    def die(db: sqlite3.Connection, folder: Path) -> None:
        write_run_file(db, folder)
        if read_run_file(folder)["runs"][0]["state"] == "finished":
            seen.append((lab.store.run(folder.name).state, folder.name))
            raise sqlite3.OperationalError("the process is gone")

    with monkeypatch.context() as patch:
        patch.setattr("core.store.transitions.write_run_file", die)
        id = lab.launcher.launch(SPEC).id
        wait_until(lambda: bool(seen))
        lab.workers.writes._waiting.clear()
        lab.close()
    assert seen[0] == ("running", id)
    lab = opened()
    assert lab.store.run(id).state == "finished"
    assert lab.artifacts.read(id, NETWORK)
    assert lab.notice.count("came back from the folders") == 1


def test_an_older_store_that_is_put_back_learns_from_the_folders_what_happened_since(
    opened: Opener, settings: Settings
) -> None:
    lab = opened()
    (early,) = trained(lab, 0)
    waiting = lab.launcher.launch(LONG).id
    wait_until(lambda: lab.store.checkpoint(waiting) is not None)
    older = settings.home.parent / "older.sqlite3"
    lab.store.copy_to(older)  # contains one run in training
    lab.stop(waiting)
    finish(lab, waiting)
    experiment = fine_tune(lab, lab.store.run(early), TURNED, BOTH[:1], [0], "later")
    finish(lab, *experiment.runs)
    late, gone = trained(lab, 1, 2)
    lab.notes.delete([gone])
    before = said(lab)
    lab.close()
    lose(settings)
    shutil.copy(older, settings.store)

    lab = opened()
    assert lab.store.run(waiting).state == "stopped"
    assert lab.store.run(late).state == "finished"
    assert said(lab) == before
    assert not lab.looks.are_kept(experiment.id)


def test_looks_that_an_older_store_may_lack_count_as_spent_though_it_has_all_runs(
    opened: Opener, settings: Settings
) -> None:
    lab = opened()
    (base,) = trained(lab, 0)
    experiment = fine_tune(lab, lab.store.run(base), TURNED, [(LONG.optim, FullSpec())], [0], "x")
    wait_until(lambda: lab.store.checkpoint(experiment.runs[0]) is not None)
    older = settings.home.parent / "older.sqlite3"
    lab.store.copy_to(older)
    assert lab.looks.are_kept(experiment.id)
    lab.stop(*experiment.runs)
    finish(lab, *experiment.runs)
    lab.looks.record(experiment.id, [Look((("lora 4", 1),), 8, 0.03)])
    lab.close()
    lose(settings)
    shutil.copy(older, settings.store)
    lab = opened()
    assert lab.store.run(experiment.runs[0]).state == "stopped"
    assert not lab.looks.are_kept(experiment.id)


@pytest.mark.parametrize("harm", HARMS)
def test_what_was_deleted_stays_deleted(opened: Opener, settings: Settings, harm: Harm) -> None:
    lab = opened()
    first, second = trained(lab, 0, 1)
    lab.close()
    (backup, *_) = backups_in(settings.backups)  # it contains the deleted run
    content = backup.read_bytes()
    lab = opened()
    folder = {path.name: path.read_bytes() for path in (settings.runs / first).iterdir()}
    lab.notes.delete([first])
    lab.close()
    for path in backups_in(settings.backups):
        path.write_bytes(content)
    (settings.runs / first).mkdir()
    for name, part in folder.items():  # as if a thread that hung had written it again
        (settings.runs / first / name).write_bytes(part)
    harm(settings)
    lab = opened()
    assert [run.id for run in lab.store.runs()] == [second]
    assert not (settings.runs / first).exists()
    lab.close()
    lose(settings)
    shutil.copy(backup, settings.store)
    assert [run.id for run in opened().store.runs()] == [second]


def test_a_damaged_backup_is_passed_over_and_a_damaged_run_file_stays_as_it_is(
    opened: Opener, settings: Settings
) -> None:
    lab = opened()
    first, second = trained(lab, 0, 1)
    lab.close()
    before = said(lab)
    kept = backups_in(settings.backups)[0]
    lab = opened()
    (third,) = trained(lab, 2)
    lab.close()
    lose(settings)
    content = bytearray((settings.runs / third / NAME).read_bytes())
    content[len(content) // 2] ^= 4
    (settings.runs / third / NAME).write_bytes(content)
    for path in backups_in(settings.backups):
        if path != kept:
            path.write_bytes(path.read_bytes()[:5000])
    network = (settings.runs / third / NETWORK).read_bytes()
    for _ in range(2):
        lab = opened()
        assert said(lab) == before
        lab.close()
    assert (settings.runs / third / NETWORK).read_bytes() == network
    assert {first, second} == {run.id for run in lab.store.runs()}


def test_without_any_backup_runs_and_their_experiments_come_back_from_the_folders(
    opened: Opener, settings: Settings, filled: Path
) -> None:
    shutil.copytree(filled, settings.home)
    with closing(Lab(settings)) as lab:
        runs = {run.id: (run.spec, run.state, run.result, run.experiment) for run in lab.store.runs()}
        curves = {id: lab.store.curve(id).loss.tolist() for id in runs}
        members = {each.id: set(each.runs) for each in lab.store.experiments()}
    shutil.rmtree(settings.backups)
    lose(settings)
    with closing(Lab(settings)) as lab:
        assert "there was no sound backup" in lab.notice
        assert {run.id: (run.spec, run.state, run.result, run.experiment) for run in lab.store.runs()} == runs
        assert {id: lab.store.curve(id).loss.tolist() for id in runs} == curves
        assert {each.id: set(each.runs) for each in lab.store.experiments()} == members


def test_a_store_that_goes_away_in_use_is_said_to_be_gone_and_nothing_is_lost(
    opened: Opener, settings: Settings
) -> None:
    lab = opened()
    id = lab.launcher.launch(LONG).id
    wait_until(lambda: (settings.runs / id / NAME).exists())
    lose(settings)
    with pytest.raises(StoreGoneError, match="put the file back if you can, and start again"):
        lab.check()
    with pytest.raises(StoreError, match="is running on it: stop LoRA Lab, then start it again"):
        Lab(settings)
    lab.close()
    lab = opened()
    assert lab.store.run(id).state == "interrupted"
    lab.launcher.finish([id])
    wait_until(lambda: lab.store.run(id).resumed_step > 0 and lab.store.run(id).step > lab.store.run(id).resumed_step)


def test_a_damaged_store_stays_where_it_is_while_a_process_uses_it(opened: Opener, settings: Settings) -> None:
    lab = opened()
    trained(lab, 0)
    flip(settings)
    harmed = settings.store.read_bytes()
    done = forked.run(["-m", "core", "list", "--home", str(settings.home)])
    assert done.returncode == 1
    assert "LoRA Lab is running on it" in done.stderr
    assert settings.store.read_bytes() == harmed


RESTORE = """
import sys
from pathlib import Path
from core.lab import Lab
from core.settings import Settings
print("ready", flush=True)
sys.stdin.readline()
lab = Lab(Settings(Path(sys.argv[1])))
print(len(lab.store.runs()), bool(lab.notice), flush=True)
"""


def test_several_processes_that_find_a_lost_store_restore_it_once(settings: Settings, filled: Path) -> None:
    shutil.copytree(filled, settings.home)
    count = len(list(settings.runs.iterdir()))
    flip(settings)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [forked.start(["-c", RESTORE, str(settings.home)], **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    with ThreadPoolExecutor(3) as pool:
        told = list(pool.map(lambda process: process.communicate("go\n", timeout=60)[0], processes))
    assert sorted(told) == [f"{count} False\n"] * 2 + [f"{count} True\n"]
    assert len(list((settings.home / "damaged").glob("*/lab.sqlite3"))) == 1


def with_a_flipped_page(settings: Settings, filled: Path) -> tuple[Any, bytes]:
    """Copy a home and harm its store. Returns: everything that was in it, and the harmed file."""
    shutil.copytree(filled, settings.home)
    with closing(Lab(settings)) as lab:
        before = everything(lab)
    flip(settings)
    return before, settings.store.read_bytes()


def test_a_restore_that_is_killed_leaves_what_was_there_and_is_done_by_the_next_start(
    settings: Settings, filled: Path
) -> None:
    before, harmed = with_a_flipped_page(settings, filled)
    die = "import os, core.store.recovery as r; r.adopt = lambda *_: os.kill(os.getpid(), 9)"
    done = forked.run(["-c", f"{die}\n{RESTORE.replace('sys.stdin.readline()', '')}", str(settings.home)])
    assert done.returncode == -signal.SIGKILL
    assert settings.store.read_bytes() == harmed
    with closing(Lab(settings)) as lab:
        assert everything(lab) == before
    assert not list(settings.home.glob(".lab*"))


def test_a_disk_too_full_for_the_backup_keeps_anything_less_from_taking_its_place(
    settings: Settings, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, harmed = with_a_flipped_page(settings, filled)
    with monkeypatch.context() as patch:
        patch.setattr("core.store.recovery.write_atomically", refuse)
        with pytest.raises(StoreError, match="No space left"):
            Lab(settings)
    assert settings.store.read_bytes() == harmed
    with closing(Lab(settings)) as lab:
        assert everything(lab) == before


def test_a_new_home_is_not_taken_for_a_lost_one(settings: Settings) -> None:
    with closing(Lab(settings)) as lab:
        assert lab.notice == ""
        assert lab.store.runs() == []


# Backups


def test_backups_keep_the_latest_and_one_of_each_of_the_last_days(tmp_path: Path) -> None:
    store, now = Store(tmp_path / "lab.sqlite3"), datetime.now()
    folder = tmp_path / "backups"
    folder.mkdir()
    for days in range(1, 20):
        for hour in (1, 2):
            (folder / f"lab-{now - timedelta(days):%Y%m%d}-{hour:02}0000.sqlite3").write_bytes(b"an old one")
    made = []
    for number in range(5):
        store.add([(f"r-{number}", SPEC)], "me", 10)
        made.append(Backups(store, folder).make())
    assert Backups(store, folder).make() is None  # nothing has changed since
    past = [folder / f"lab-{now - timedelta(days):%Y%m%d}-020000.sqlite3" for days in range(1, recovery.KEPT_DAYS + 1)]
    assert backups_in(folder) == [*reversed(made[-KEPT_LATEST:]), *past]
    with closing(sqlite3.connect(made[-1])) as db:
        assert len(db.execute("SELECT id FROM runs").fetchall()) == 5
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_the_latest_backup_has_the_last_name_also_where_the_clock_was_put_back(tmp_path: Path) -> None:
    store, folder = Store(tmp_path / "lab.sqlite3"), tmp_path / "backups"
    folder.mkdir()
    (folder / f"lab-{datetime.now() + timedelta(hours=1):%Y%m%d-%H%M%S}.sqlite3").write_bytes(b"before")
    store.add([("r-1", SPEC)], "me", 10)
    made = Backups(store, folder).make()
    assert made is not None
    assert backups_in(folder)[0] == made


def test_a_note_is_in_a_backup_after_a_while(
    opened: Opener, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(recovery, "SHARE", 1.0)
    lab = opened()
    (id,) = trained(lab, 0)
    lab.notes.set_note(id, "kept")

    def note() -> str:
        with closing(sqlite3.connect(backups_in(settings.backups)[0])) as db:
            return str(db.execute("SELECT note FROM runs WHERE id = ?", (id,)).fetchone()[0])

    wait_until(lambda: note() == "kept")


def test_processes_that_back_up_at_once_lose_nothing_of_each_other(tmp_path: Path) -> None:
    folder = tmp_path / "backups"

    def work(number: int) -> None:
        store = Store(tmp_path / "lab.sqlite3")
        store.back_up = Backups(store, folder).at_once
        for each in range(5):
            store.add([(f"r-{number}{each}", SPEC)], "me", 1000)
            with closing(sqlite3.connect(backups_in(folder)[0])) as db:
                assert db.execute("SELECT 1 FROM runs WHERE id = ?", (f"r-{number}{each}",)).fetchone()
        store.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    with closing(sqlite3.connect(backups_in(folder)[0])) as db:
        assert db.execute("SELECT count(*) FROM runs").fetchone() == (20,)


def test_a_damaged_store_is_no_backup_and_a_full_disk_keeps_nobody_from_launching(
    settings: Settings, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(filled, settings.home)
    with closing(Lab(settings)) as lab:
        known = backups_in(settings.backups)
        with monkeypatch.context() as patch:
            patch.setattr("os.replace", refuse)
            launched = lab.launcher.launch(SPEC)
        assert lab.store.run(launched.id).state == "queued"
        assert backups_in(settings.backups) == known
        assert not list(settings.backups.glob(".lab*"))
    flip(settings)
    with closing(Store(settings.store)) as store, pytest.raises((StoreDamagedError, sqlite3.DatabaseError)):
        Backups(store, settings.backups).make()
    assert backups_in(settings.backups) == known


def refuse(*_: object) -> None:
    raise OSError(28, "No space left on device")


# Run files


def test_a_run_file_is_the_run_and_one_flipped_bit_anywhere_is_noticed(settings: Settings, filled: Path) -> None:
    shutil.copytree(filled, settings.home)
    with closing(Lab(settings)) as lab:
        before = said(lab)
        for run in lab.store.runs():
            folder = settings.runs / run.id
            with lab.store.transaction() as db:
                write_run_file(db, folder)
                put(db, read_run_file(folder))
        assert said(lab) == before
    content = (folder / NAME).read_bytes()
    rows = read_run_file(folder)
    for place in range(0, len(content), 97):
        harmed = bytearray(content)
        harmed[place] ^= 1
        (folder / NAME).write_bytes(harmed)
        with suppress(RunFileError):
            assert read_run_file(folder) == rows
    (folder / NAME).unlink()
    with pytest.raises(RunFileError, match="has no readable file"):
        read_run_file(folder)
    other = folder.with_name("r-0000")
    other.mkdir()
    (other / NAME).write_bytes(content)
    with pytest.raises(RunFileError, match="of another run"):
        read_run_file(other)


def test_the_sentence_tells_a_locked_a_read_only_a_newer_and_a_damaged_store_apart(tmp_path: Path) -> None:
    path = tmp_path / "home" / "lab.sqlite3"
    Store(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match=r"is locked by another program: .*Nothing is wrong with the file"):
            Store(path, busy_seconds=0.1)
        other.execute("ROLLBACK")
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer LoRA Lab"):
        open_store(path, tmp_path / "home" / "backups", lambda: False)
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreDamagedError, match="is damaged"):
        Store(path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot be written"):
        Store(tmp_path / "file" / "lab.sqlite3")


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_read_only_store_is_said_to_be_read_only(what: str) -> None:
    # Not below pytest's folder, which only its owner may enter.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "lab.sqlite3"
        Store(path).close()
        os.chmod(path, 0o444)
        if what == "folder":
            os.chmod(folder, 0o555)
        done = forked.run(["-c", AS_NOBODY, "open", str(path)])
        assert "cannot be written" in done.stdout, done.stderr
        assert "not read-only" in done.stdout


def test_health_looks_at_the_store(current_lab: Lab) -> None:
    app = Starlette(routes=routes(str))
    assert ask(app, "/healthz")[0] == 200
    lose(current_lab.settings)
    status, body, _ = ask(app, "/healthz")
    assert status == 503
    assert "was removed or replaced" in body
