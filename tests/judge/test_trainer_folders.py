"""Folders of the Trainer, in the format of transformers' own classes, and MLflow files of others."""

from __future__ import annotations

import shutil
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from peft import LoraConfig
from transformers import TrainerState

from core.errors import JudgeError
from core.judge.reading import Reading
from core.judge.results import Gathered, gather
from core.judge.sources import Given, given
from tests.judge.samples import asked

RATES, SEEDS = (1e-4, 1e-3, 1e-2), (0, 1)
EPOCHS = 3


def reached(method: str, rate: float, seed: int, epoch: int) -> tuple[float, float]:
    """Validation and test accuracy."""
    value = (0.9 if method == "full" else 0.89) - 0.05 * (rate != 1e-3) + 0.01 * seed + 0.001 * epoch
    return value - 0.01, value


def saved(folder: Path, method: str, rate: float, seed: int, checkpoints: bool = False, decays: bool = True) -> None:
    """What the Trainer leaves of a run: its state, in the folder itself or in checkpoints, and the adapter's config."""
    state = TrainerState(num_train_epochs=EPOCHS, max_steps=30, global_step=30, epoch=float(EPOCHS))
    for epoch in range(1, EPOCHS + 1):
        step, logged = 10 * epoch, rate * (1 - epoch / EPOCHS) if decays else rate
        state.log_history.append({"loss": 1 / epoch, "learning_rate": logged, "epoch": float(epoch), "step": step})
        validation, test = reached(method, rate, seed, epoch)
        state.log_history.append(
            {"eval_accuracy": validation, "eval_runtime": 1.0, "epoch": float(epoch), "step": step}
        )
        if checkpoints:
            (place := folder / f"checkpoint-{step}").mkdir(parents=True)
            state.save_to_json(str(place / "trainer_state.json"))
    state.log_history.append({"test_accuracy": test, "test_runtime": 1.0, "epoch": float(EPOCHS), "step": 30})
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / f"checkpoint-{10 * EPOCHS}" if checkpoints else folder
    state.save_to_json(str(last / "trainer_state.json"))
    if method == "lora":
        LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"]).save_pretrained(str(last))
    (folder / "training_args.bin").write_bytes(b"\x80\x04 a pickle that nobody may read")


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for method in ("full", "lora"):
        for rate in RATES:
            for seed in SEEDS:
                saved(tmp_path / "runs" / f"{method}-lr{rate:g}-seed{seed}", method, rate, seed)
    return tmp_path / "runs"


def expected(found: Gathered) -> None:
    assert found.questions == []
    rows = {(row.method, row.learning_rate, row.seed): row for row in found.results.rows}
    assert rows.keys() == {(method, rate, seed) for method in ("full", "lora") for rate in RATES for seed in SEEDS}
    for (method, rate, seed), row in rows.items():
        validation, test = reached(method, float(rate or 0), seed, EPOCHS)
        assert (row.validation, row.value) == pytest.approx((100 * validation, 100 * test))
        assert (row.rank, row.alpha) == ((8, 16.0) if method == "lora" else (None, None))
        assert (row.epochs, row.steps) == (EPOCHS, 30)
        assert row.settings == ({"layers": "query value"} if method == "lora" else {})


ANSWERS = {"seed_pattern": "seed", "rate_pattern": "lr", "take": "last", "unit": "fraction"}


def test_measures_rank_and_alpha_are_read_and_seeds_come_from_names_that_somebody_confirms(
    folders: Path, read_here: None
) -> None:
    files = given([folders])
    assert asked(gather(files, Reading())) == ["in_names", "take"]
    assert asked(gather(files, Reading(in_names="ignore"))) == ["seed_pattern"]
    expected(gather(files, Reading(in_names="read", take="last", unit="fraction")))
    expected(gather(files, Reading.of(**ANSWERS)))
    expected(gather(given(sorted(folders.iterdir())), Reading.of(**ANSWERS)))
    without_rates = gather(files, Reading.of(**{**ANSWERS, "rate_pattern": "", "in_names": "ignore"}))
    assert asked(without_rates) == ["repeated"], "the rates of a method have one name, and differ"


def test_the_last_checkpoint_has_the_state_where_the_folder_has_none(tmp_path: Path, read_here: None) -> None:
    for method in ("full", "lora"):
        for seed in SEEDS:
            saved(tmp_path / "runs" / f"{method}-seed{seed}", method, 1e-3, seed, checkpoints=True, decays=False)
    found = gather(given([tmp_path / "runs"]), Reading(seed_pattern="seed", take="last", unit="fraction"))
    assert {row.learning_rate for row in found.results.rows} == {1e-3}, "a rate that never changes is in the log"
    assert {row.decay for row in found.results.rows} == {"constant"}
    assert [row.value for row in found.results.rows] == pytest.approx(
        [100 * reached(method, 1e-3, seed, EPOCHS)[1] for method in ("full", "lora") for seed in SEEDS]
    )


def test_a_zip_of_folders_is_read_as_the_folders_are(folders: Path, tmp_path: Path) -> None:
    name = shutil.make_archive(str(tmp_path / "runs"), "zip", folders)
    with zipfile.ZipFile(name) as archive:
        assert any(entry.endswith("training_args.bin") for entry in archive.namelist())
    expected(gather([Given("runs.zip", Path(name).read_bytes())], Reading.of(**ANSWERS)))
    assert b"pickle" not in given([folders])[0].content, "not even taken along"


def test_a_folder_without_a_run_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(JudgeError, match=r"has no trainer_state\.json"):
        given([tmp_path])
    with pytest.raises(JudgeError, match="cannot be read"):
        given([tmp_path / "nothing.csv"])


def test_an_mlflow_file_of_others_has_a_column_for_each_param_and_metric(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/others.db")
    experiment = client.create_experiment("Theirs", artifact_location=tmp_path.as_uri())
    for method, value in (("full", 0.5), ("lora", 0.6)):
        for seed in SEEDS:
            run = client.create_run(experiment, run_name=f"{method}-{seed}")
            client.log_param(run.info.run_id, "method", method)
            client.log_param(run.info.run_id, "seed", seed)
            for step in (1, 2):
                client.log_metric(run.info.run_id, "em", value + 0.01 * step, step=step)
            client.log_metric(run.info.run_id, "dev_em", value)
            client.set_terminated(run.info.run_id)
    files = given([tmp_path / "others.db"])
    assert "em (last)" in gather(files, Reading()).questions[0].options
    reading = {"measure": "em (last)", "validation": "dev_em", "unit": "fraction", "better": "higher", "within": 1}
    found = gather(files, Reading.of(**reading))
    assert found.questions == []
    assert [(row.method, row.seed, row.validation, row.value) for row in found.results.rows] == [
        (method, seed, pytest.approx(100 * value), pytest.approx(100 * (value + 0.02)))
        for method, value in (("full", 0.5), ("lora", 0.6))
        for seed in SEEDS
    ]
    assert found.results.scale.title == "em (last)"
    with closing(sqlite3.connect(tmp_path / "others.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
