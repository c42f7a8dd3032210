"""Disk usage is measured correctly, and the limit on it is enforced."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import SpecError, StorageFullError
from core.forecast.forecast import plan
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.run_spec import OptimSpec, RunSpec
from core.settings import Settings
from tests.conftest import BOTH, DIGITS, TURNED, finish, short
from tests.launching import fine_tune
from tests.store.many import write_many

SPEC = RunSpec.of(method="pretrain", task=DIGITS, optim=short())


def test_usage_is_what_is_on_the_disk_and_follows_every_change(lab: Lab, settings: Settings) -> None:
    (run,) = finish(lab, lab.launcher.launch(SPEC).id)
    file = lab.artifacts.path(run.id, "network.safetensors")
    usage = lab.usage.measure()
    names = ("network.safetensors", "predictions.safetensors", "run.json")
    assert usage.runs == sum(file.with_name(name).stat().st_size for name in names) == lab.usage.of([run.id])
    assert usage.store >= 4096
    assert usage.total == usage.runs + usage.store + usage.datasets + usage.networks
    (settings.datasets / "some").mkdir(parents=True)
    (settings.datasets / "some" / "images").write_bytes(b"x" * 5000)
    (file.parent / "merged.safetensors").write_bytes(b"y" * 1234)
    (settings.networks / "partial" / "some").mkdir(parents=True)  # what has arrived counts, too
    (settings.networks / "partial" / "some" / "model.safetensors").write_bytes(b"z" * 700)
    again = lab.usage.measure()
    assert (again.runs - usage.runs, again.datasets, again.networks) == (1234, 5000, 700)
    lab.notes.delete([run.id])
    assert lab.usage.measure().runs == 0
    assert lab.usage.of([run.id, "r-none"]) == 0


def test_what_deleting_frees_in_the_store_counts_as_free(idle: Lab) -> None:
    ids = write_many(idle.store, 1000)
    before = idle.usage.measure().store
    with idle.store.transaction() as db:
        db.execute("INSERT INTO losses VALUES ('r-00000001', 1000, zeroblob(20000000), x'')")
    filled = idle.usage.measure().store
    assert filled > before + 20_000_000
    idle.notes.delete(ids)
    idle.store.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    assert idle.usage.measure().store < before


def test_no_run_is_queued_that_would_go_beyond_the_limit(settings: Settings) -> None:
    with closing(Lab(replace(settings, max_stored_bytes=3_300_000))) as lab:
        sentence = r"would bring it to 0\.0\d GB; the limit is 0\.0033 GB: delete runs under Experiments"
        queued: list[str] = []
        with pytest.raises(StorageFullError, match=sentence):
            queued.extend(lab.launcher.launch(SPEC.but(seed=seed)).id for seed in range(10))
        # Queued runs count with the files that they will write: half a megabyte of weights each.
        assert 2 <= len(queued) <= 3_300_000 // (4 * plan(SPEC.network, SPEC.method).parameters)
        assert len(lab.store.runs()) == len(queued)
        base = lab.store.run(queued[0])
        with pytest.raises(StorageFullError):
            fine_tune(lab, base, TURNED, [BOTH[0]], range(8), "x")
        assert lab.store.experiments() == []
        with pytest.raises(StorageFullError):
            lab.launcher.repeat(*queued, *queued)
        assert len(lab.store.runs()) == len(queued)
        fine_tune(lab, base, TURNED, [(short(), LoRASpec.of(rank=1))], [0], "small ones still fit")
        lab.notes.delete([queued[-1]])
        lab.launcher.launch(SPEC.but(seed=99))


def test_long_curves_count_before_they_are_there(settings: Settings) -> None:
    with closing(Lab(replace(settings, max_stored_bytes=3_000_000))) as lab:
        lab.launcher.launch(SPEC)
        with pytest.raises(StorageFullError):
            lab.launcher.launch(SPEC.but(optim=OptimSpec.of(epochs=200, batch_size=1)))  # 260,000 steps


def test_the_limit_can_be_set_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.from_environment(tmp_path).max_stored_bytes == 20 * 10**9
    monkeypatch.setenv("LORA_LAB_MAX_GB", "1.5")
    assert Settings.from_environment(tmp_path).max_stored_bytes == 1_500_000_000
    for wrong in ("much", "0", "-3", "nan", "inf"):
        monkeypatch.setenv("LORA_LAB_MAX_GB", wrong)
        with pytest.raises(SpecError, match="LORA_LAB_MAX_GB must be a number of gigabytes above 0"):
            Settings.from_environment(tmp_path)
