"""A store that is lost, truncated, outdated or damaged can be restored; deleted runs stay deleted."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from starlette.applications import Starlette

from core.engine.jobs.run_files import NETWORK
from core.errors import RunFileError, StoreDamagedError, StoreError, StoreGoneError
from core.lab import Lab
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.backups import KEPT_LATEST, Backups
from core.store.checkpoints import PREFIX
from core.store.run_file import NAME, changes_in, read_run_file
from core.store.stages import stages_of
from core.store.store import Store
from core.web.downloads import routes
from tests import forked
from tests.conftest import BOTH, DIGITS, TURNED, Opener, copied, finish, short, wait_until
from tests.engine.child import lab_process
from tests.launching import fine_tune
from tests.store.harm import AS_NOBODY, cut, lose, restore, scribble
from tests.store.test_old_home import said
from tests.web.asking import ask

SPEC = RunSpec.of(method="pretrain", task=DIGITS, optim=short())
LONG = SPEC.but(optim=short(epochs=200, batch_size=16, rate=0.001))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, threads=1, checkpoint_seconds=0.05, settle_seconds=0.2)


def fill(lab: Lab) -> None:
    """Train runs of several kinds in two launches, with notes and tags, until all are copied to their folders."""
    base = finish(lab, lab.launcher.launch(SPEC).id)[0]
    experiment = fine_tune(lab, base, TURNED, [*BOTH, (short(), "head")], range(2), "x", trim=True)
    finish(lab, *experiment.runs, *lab.experiments.grow(experiment, BOTH, [2]))
    lab.experiments.rename(experiment.id, "*An* experiment")
    lab.notes.set_tags(experiment.runs[0], ["café", "b"])
    lab.notes.set_note(experiment.runs[1], "two\nlines")
    lab.notes.archive([experiment.runs[2]])
    wait_until(lambda: all(copied(lab, run.id) for run in lab.store.runs()))


def trained(lab: Lab, *seeds: int) -> list[str]:
    """Ids of bases that were trained with these seeds, once all runs are copied to their folders."""
    ids = [lab.launcher.launch(SPEC.but(seed=seed)).id for seed in seeds]
    finish(lab, *ids)
    wait_until(lambda: all(copied(lab, run.id) for run in lab.store.runs()))
    return ids


def stage_ids(lab: Lab) -> list[list[str]]:
    """Ids of the runs of each launch of its experiment."""
    return [[run.id for run in stage] for stage in stages_of(lab.store.members(lab.store.experiments()[0]))]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with these runs."""
    lab = Lab(Settings(tmp_path_factory.mktemp("filled") / "home", threads=1))
    lab.start()
    fill(lab)
    lab.close()
    return lab.settings.home


@pytest.mark.parametrize("harm", [lose, cut, scribble])
def test_a_store_that_is_lost_cut_or_damaged_is_made_anew_from_the_folders(
    opened: Opener, settings: Settings, filled: Path, harm: Callable[[Settings], None]
) -> None:
    shutil.copytree(filled, settings.home)
    lab = Lab(settings)
    before, ids, stages = said(lab), [run.id for run in lab.store.runs()], stage_ids(lab)
    lab.close()
    assert [len(stage) for stage in stages] == [6, 2]
    harm(settings)
    found = sorted(path.name for path in settings.runs.iterdir())
    if harm is scribble:
        with pytest.raises(StoreDamagedError, match="python -m core restore"):
            opened()
    else:
        lab = opened()
        assert sorted(lab.unlisted()) == sorted(ids)
        assert lab.store.runs() == []
        lab.close()
    assert sorted(path.name for path in settings.runs.iterdir()) == found
    done = restore(settings)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert f"{len(ids)} runs were restored" in done.stdout
    if harm is scribble:
        (kept,) = (settings.home / "damaged").glob("*/lab.sqlite3")
        assert str(kept) in done.stdout
    lab = opened()
    assert said(lab) == before
    (experiment,) = lab.store.experiments()
    assert (experiment.name, experiment.trim) == ("*An* experiment", True)
    assert stage_ids(lab) == stages
    assert lab.unlisted() == []
    assert restore(settings).stdout == "There was nothing to restore.\n"


def test_an_older_store_that_is_put_back_learns_from_the_folders_what_happened_since(
    opened: Opener, settings: Settings
) -> None:
    lab = opened()
    (early,) = trained(lab, 0)
    experiment = fine_tune(lab, lab.store.run(early), TURNED, BOTH[:1], [0], "early")
    finish(lab, *experiment.runs)
    waiting = lab.launcher.launch(LONG).id
    wait_until(lambda: lab.store.checkpoint(waiting) is not None)
    older = settings.home.parent / "older.sqlite3"
    lab.store.copy_to(older)  # contains an experiment and one run in training
    lab.stop(waiting)
    finish(lab, waiting)
    lab.notes.set_note(early, "written later")
    lab.experiments.rename(experiment.id, "later")
    late, gone = trained(lab, 1, 2)
    lab.notes.delete([gone])
    before = said(lab)
    lab.close()
    lose(settings)
    shutil.copy(older, settings.store)

    lab = opened()
    assert lab.store.run(waiting).state == "stopped"  # updated by the start, so that it does not become interrupted
    assert lab.unlisted() == [late]
    lab.restore()
    assert lab.store.experiment(experiment.id).name == "later"
    assert said(lab) == before


def test_what_was_deleted_stays_deleted(opened: Opener, settings: Settings) -> None:
    lab = opened()
    first, second = trained(lab, 0, 1)
    older = settings.home.parent / "older.sqlite3"
    lab.store.copy_to(older)
    lab.notes.delete([first])
    lab.close()
    lose(settings)
    lab = opened()
    assert lab.restore().runs == (second,)
    lab.close()
    lose(settings)
    shutil.copy(older, settings.store)  # it contains the deleted run
    lab = opened()
    lab.restore()
    assert [run.id for run in lab.store.runs()] == [second]


def test_a_folder_that_says_nothing_goes_to_the_strays_and_a_damaged_copy_is_found_in_a_backup(
    opened: Opener, settings: Settings
) -> None:
    lab = opened()
    first, second = trained(lab, 0, 1)
    before = said(lab)
    backups = Backups(lab.store, settings.backups)
    made = backups.make()
    assert made is not None
    assert backups.make() is None  # nothing has changed since
    (third,) = trained(lab, 2)
    lab.close()
    lose(settings)
    for id in (second, third):
        content = bytearray((settings.runs / id / NAME).read_bytes())
        content[-5] ^= 4  # one bit of the curve
        (settings.runs / id / NAME).write_bytes(content)
    for path in backups.list():  # those made on closing and opening contain the third run too
        if path != made:
            path.unlink()
    network = (settings.runs / third / NETWORK).read_bytes()
    lab = opened()
    found = lab.restore()
    assert found.runs == tuple(sorted([first, second]))
    assert found.strays == (settings.home / "strays" / third,)
    assert (found.strays[0] / NETWORK).read_bytes() == network
    assert said(lab) == before


def names_a_checkpoint(folder: Path) -> bool:
    """Whether the copy in a run's folder, which comes after a while, knows that the run has a checkpoint."""
    return changes_in(folder) > 0 and any(name.startswith(PREFIX) for name in read_run_file(folder).files)


def test_a_killed_run_whose_store_is_lost_goes_on_from_its_checkpoint_bit_for_bit(
    opened: Opener, settings: Settings
) -> None:
    spec = LONG.but(optim=LONG.optim.but(epochs=12))
    with lab_process(settings.home, [spec], threads=1, checkpoint_seconds=0.05) as (process, (id,)):
        reader = Lab(settings)
        wait_until(lambda: names_a_checkpoint(settings.runs / id) and reader.store.run(id).step > 100)
        process.send_signal(signal.SIGKILL)
        process.wait()
        reader.close()
    lose(settings)
    lab = opened()
    assert lab.restore().runs == (id,)
    assert lab.store.run(id).state == "interrupted"
    lab.launcher.finish([id])
    run, untouched = finish(lab, id, lab.launcher.launch(spec).id)
    assert run.resumed_step > 0
    assert lab.store.curve(id).loss.tolist() == lab.store.curve(untouched.id).loss.tolist()
    assert lab.artifacts.read(id, NETWORK) == lab.artifacts.read(untouched.id, NETWORK)


def test_a_store_that_goes_away_in_use_is_said_to_be_gone_and_nothing_is_lost(
    opened: Opener, settings: Settings
) -> None:
    lab = opened()
    id = lab.launcher.launch(LONG).id
    wait_until(lambda: names_a_checkpoint(settings.runs / id))
    lose(settings)
    with pytest.raises(StoreGoneError, match="put the file back or run `python -m core restore`"):
        lab.check()
    lab.close()
    lab = opened()
    assert lab.restore().runs == (id,)
    assert lab.store.run(id).state == "interrupted"
    lab.launcher.finish([id])
    wait_until(lambda: lab.store.run(id).resumed_step > 0 and lab.store.run(id).step > lab.store.run(id).resumed_step)


def test_restore_refuses_while_a_process_uses_a_damaged_store(opened: Opener, settings: Settings) -> None:
    lab = opened()
    trained(lab, 0)
    lab.store.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    scribble(settings)
    done = restore(settings)
    assert done.returncode == 1
    assert done.stderr.startswith("error: LoRA Lab is running on ")
    assert done.stderr.count("\n") == 1
    assert settings.store.exists()


def test_backups_keep_the_latest_and_one_of_each_of_the_last_days(tmp_path: Path) -> None:
    store = Store(tmp_path / "lab.sqlite3")
    store.add([("r-1", SPEC)], "me", 10)
    backups = Backups(store, tmp_path / "backups")
    backups.folder.mkdir()
    days = [f"lab-202001{day:02}-{hour:02}0000.sqlite3" for day in range(1, 11) for hour in (1, 2)]
    for name in days:
        (backups.folder / name).write_bytes(b"an old one")
    made = backups.make()
    assert made is not None
    assert backups.list() == [made, *(backups.folder / name for name in days[-1:-KEPT_LATEST:-1])]
    with closing(sqlite3.connect(made)) as db:
        assert db.execute("SELECT id FROM runs").fetchall() == [("r-1",)]


def test_a_copy_is_the_run_and_one_flipped_bit_anywhere_is_noticed(settings: Settings, filled: Path) -> None:
    shutil.copytree(filled, settings.home)
    lab = Lab(settings)
    (id,) = (run.id for run in lab.store.runs(methods=["pretrain"]))
    folder = settings.runs / id
    file = read_run_file(folder)
    assert file.row["state"] == "finished"
    assert asdict(file)["files"] == lab.store.files(id)
    lab.close()
    assert changes_in(folder) == file.changes
    content = (folder / NAME).read_bytes()
    in_a_name = content.index(b"epochs.validation_accuracy") + 12  # tensors have the names of measures
    for place in (in_a_name, *range(8, len(content), 97)):
        harmed = bytearray(content)
        harmed[place] ^= 1
        (folder / NAME).write_bytes(harmed)
        with suppress(RunFileError):  # unless the bit has no meaning, as in the padding of the header
            assert read_run_file(folder).to_bytes() == content


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
        Store(path)
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
