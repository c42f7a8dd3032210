"""The store is lost, truncated, damaged, replaced by an older one, locked or read-only: no training is lost."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.artifacts.artifacts import MERGED
from core.engine.jobs.run_files import ADAPTER
from core.errors import NetworkInUseError, StoreError
from core.files import sha256_of
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.run_file import NAME
from core.store.store import Store
from tests import forked
from tests.conftest import BOTH, DIGITS, TURNED, finish, short, training_lab, wait_until
from tests.engine.child import lab_process
from tests.launching import fine_tune
from tests.soak.sizes import keep
from tests.store.harm import AS_NOBODY, cut, flip, lose
from tests.store.test_old_home import said
from tests.text_home import FIRST, LAST, PETS, decoder_base, import_tiny

pytestmark = pytest.mark.minutes

SEEDS = 3
PRETRAIN = RunSpec.of(method="pretrain", task=DIGITS, optim=short())
LONG = PRETRAIN.but(optim=short(epochs=200, batch_size=4, rate=0.001))


TEXTS = short(epochs=2, batch_size=16, rate=0.01)
TEXT_ARMS = [(TEXTS, FullSpec()), (TEXTS, LoRASpec.of(rank=2)), (TEXTS, "head")]


def fill(settings: Settings, scratch: Path) -> str:
    """Make 38 runs of every method and state, some of a network that was imported, and some of a language model; the
    last ones are interrupted in training, one on images and one on texts. Returns: the digest of the network.
    """
    with training_lab(settings) as lab:
        network = import_tiny(lab, scratch)
        text_base = lab.launcher.launch(RunSpec.of(method="pretrain", network=network, task=FIRST, optim=TEXTS))
        on_texts = [text_base.id, *fine_tune(lab, text_base, LAST, TEXT_ARMS[:2], range(SEEDS)).runs]
        on_texts += fine_tune(lab, network, PETS, TEXT_ARMS[: 1 + SEEDS], [0]).runs
        decoder = lab.launcher.launch(decoder_base(TEXTS))
        finish(lab, *on_texts, decoder.id, *fine_tune(lab, decoder, LAST, TEXT_ARMS[:2], [0]).runs)
        long_texts = fine_tune(lab, network, PETS, [(TEXTS.but(epochs=200), LoRASpec.of())], [0]).runs[0]
        wait_until(lambda: lab.store.checkpoint(long_texts) is not None)
    with training_lab(settings) as lab:  # whose end interrupts what trains
        base = finish(lab, lab.launcher.launch(PRETRAIN).id)[0]
        arms = [*BOTH, (short(), LoRASpec.of(rank=1)), (short(), "head"), (short(), "biases"), (short(), "scratch")]
        group = fine_tune(lab, base, TURNED, arms, range(SEEDS), "every *method*").runs
        finish(lab, *group)
        gone = finish(lab, lab.launcher.launch(PRETRAIN.but(seed=5)).id)[0]
        lab.notes.delete([gone.id])
        failed = fine_tune(lab, gone, TURNED, BOTH[:1], [0], "its base is deleted, so it fails").runs
        stopped = lab.launcher.launch(LONG.but(seed=1)).id
        wait_until(lambda: lab.store.run(stopped).step > 0)
        lab.stop(stopped)
        finish(lab, stopped, *failed)
        lab.notes.set_tags(group[0], ["a", "b"])
        lab.notes.set_note(group[1], "note")
        lab.notes.archive([group[2]])
        lab.artifacts.path(group[1], MERGED)
        waiting = lab.launcher.launch(LONG.but(seed=3)).id
        wait_until(lambda: lab.store.checkpoint(waiting) is not None)
    with lab_process(settings.home, [LONG.but(seed=4)], threads=1, checkpoint_seconds=0.05) as (process, (id,)):
        reader = Lab(settings)
        wait_until(lambda: reader.store.checkpoint(id) is not None)
        process.send_signal(signal.SIGKILL)
        process.wait()
        reader.store.close()
    with training_lab(settings):  # which marks it as interrupted
        pass
    return network.weights


def files(settings: Settings) -> dict[str, str]:
    """SHA-256 of each file of each run, except the one with the store's rows."""
    found = (path for path in settings.runs.rglob("*") if path.is_file() and path.name != NAME)
    return {str(path.relative_to(settings.runs)): sha256_of(path) for path in found}


def told(settings: Settings) -> dict[str, Any]:
    """All runs and experiments in the store."""
    with closing(Lab(settings)) as lab:
        return said(lab)


def results(told: dict[str, Any]) -> dict[str, Any]:
    """What the folders of runs have of those that were trained, without what was written or merged later."""
    found = {}
    for id, run in told["runs"].items():
        if run["result"]:
            found[id] = {
                name: run[name] for name in ("spec", "state", "experiment", "step", "result", "losses", "epochs")
            }
            found[id]["files"] = {name: sha256 for name, sha256 in run["files"].items() if name != MERGED}
    return found


def goes_on(settings: Settings, network: str, runs: dict[str, Any]) -> None:
    """Assert that the network of restored runs is found for all that one does with it."""
    with training_lab(settings) as lab:  # whose end interrupts it again
        assert sorted(lab.networks.runs_from(network)) == sorted(runs)
        with pytest.raises(NetworkInUseError):
            lab.networks.remove(network)
        adapted = next(id for id, run in runs.items() if ADAPTER in run["files"] and not run["spec"]["base"])
        assert lab.artifacts.base_network(lab.store.run(adapted))
        (left,) = (id for id, run in runs.items() if run["state"] == "interrupted")
        lab.launcher.finish([left])
        wait_until(lambda: lab.store.run(left).step > lab.store.run(left).resumed_step > 0)


def put_an_older_one_back(settings: Settings, older: Path) -> None:
    lose(settings)
    shutil.copy(older, settings.store)


@pytest.mark.timeout(900)
def test_nothing_is_lost_whatever_befalls_the_store(tmp_path: Path) -> None:
    begin = time.monotonic()
    settings = replace(Settings(tmp_path / "home"), threads=1, checkpoint_seconds=0.05)
    older = tmp_path / "older.sqlite3"
    with training_lab(settings) as lab:
        finish(lab, lab.launcher.launch(PRETRAIN.but(seed=9)).id)
        lab.store.copy_to(older)
    network = fill(settings, tmp_path / "tiny")
    trained, known = files(settings), told(settings)
    assert {run["state"] for run in known["runs"].values()} == {"finished", "stopped", "failed", "interrupted"}
    faults = {"lost": lose, "truncated": cut, "flipped": flip}
    faults["older"] = lambda settings: put_an_older_one_back(settings, older)
    for name, harm in faults.items():
        harm(settings)
        with training_lab(settings) as opened:
            assert opened.notice, name
        if name == "older":  # which has only one of the runs, and no backup is asked
            assert results(told(settings)) == results(known)
        else:
            assert told(settings) == known, name
        assert files(settings) == trained, name
    texts = {id: run for id, run in known["runs"].items() if run["spec"]["network"].get("weights") == network}
    goes_on(settings, network, texts)
    trained, known = files(settings), told(settings)

    with closing(sqlite3.connect(settings.store, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="is locked by another program"):
            Store(settings.store, busy_seconds=0.2)
        other.execute("ROLLBACK")
    assert told(settings) == known
    with tempfile.TemporaryDirectory() as folder:  # not below pytest's folder, which only its owner may enter
        os.chmod(folder, 0o755)
        home = Path(shutil.copytree(settings.home, Path(folder) / "home"))
        for path in (home, *home.rglob("*")):
            os.chmod(path, 0o555 if path.is_dir() else 0o444)
        done = forked.run(["-c", AS_NOBODY, "start", str(home)])
        assert "cannot be written" in done.stdout, done.stderr
        assert done.stdout.count("\n") == 1
        assert files(Settings(home)) == trained
    keep(
        "store lost, truncated, flipped, older, locked, read-only",
        runs=len(known["runs"]),
        files=len(trained),
        lost=0,
        seconds=round(time.monotonic() - begin),
    )
