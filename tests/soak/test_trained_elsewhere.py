"""MiniLM trained by the Trainer with PEFT, and judged from its folders; numbers are computed again from the files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from scipy.stats import t

from benchmarks.transformers import packaged
from core.__main__ import main
from core.data.sources.built_in import Definitions
from core.settings import Settings
from tests.forked import REPO
from tests.soak.sizes import keep

pytestmark = [pytest.mark.minutes, pytest.mark.timeout(3600)]

RATES = (1e-4, 3e-4, 1e-3)
"""Of full fine-tuning; those of LoRA are ten times as high."""

SEEDS, EPOCHS = 6, 3
TRAIN, VALIDATION, TEST = 192, 120, 240


def parts(folder: Path) -> Path:
    """Write the texts that are trained on, chosen by and tested with."""
    data = Definitions(Settings(folder)).load("definitions")
    order = np.random.default_rng(0).permutation(len(data.train_texts))

    def part(rows: list[int], test: bool = False) -> dict[str, object]:
        texts, labels = (data.test_texts, data.test_labels) if test else (data.train_texts, data.train_labels)
        return {"texts": [texts[row] for row in rows], "labels": [int(labels[row]) for row in rows]}

    test = np.random.default_rng(1).permutation(len(data.test_texts))[:TEST].tolist()
    content = {
        "classes": len(data.class_names),
        "train": part(order[:TRAIN].tolist()),
        "validation": part(order[TRAIN : TRAIN + VALIDATION].tolist()),
        "test": part(test, test=True),
    }
    (folder / "parts.json").write_text(json.dumps(content))
    return folder / "parts.json"


def measured(folder: Path) -> tuple[str, float, int, float, float]:
    """Method, rate, seed, and both accuracies of a run in percent, read as anybody would."""
    method, rate, seed = folder.name.split("-lr")[0], *folder.name.split("-lr")[1].split("-seed")
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    validation = [entry["eval_accuracy"] for entry in history if "eval_accuracy" in entry][-1]
    (test,) = [entry["test_accuracy"] for entry in history if "test_accuracy" in entry]
    return method, float(rate), int(seed), 100 * validation, 100 * test


def test_runs_of_the_trainer_are_judged_from_their_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "runs"
    rates = [f"{rate:g}" for rate in RATES]
    sizes = ["--rates", *rates, "--seeds", str(SEEDS), "--epochs", str(EPOCHS)]
    command = [sys.executable, "-m", "tests.soak.trained_elsewhere", str(packaged()), str(parts(tmp_path)), str(out)]
    subprocess.run([*command, *sizes], cwd=REPO, check=True, capture_output=True)
    folders = sorted(out.iterdir())
    assert len(folders) == 2 * len(RATES) * SEEDS

    home = ["--home", str(tmp_path / "home")]
    assert main(["judge", *map(str, folders), *home]) == 1
    assert "--measure" in capsys.readouterr().err, "loss and accuracy were both measured"
    measure = ["--measure", "test_accuracy"]
    assert main(["judge", *map(str, folders), *measure, *home]) == 1
    assert "--in-names" in capsys.readouterr().err, "the seed is in no file, and so is confirmed"
    answers = [*measure, "--in-names", "read", "--take", "last", "--unit", "fraction"]
    assert main(["judge", *map(str, folders), *answers, *home, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)

    # By hand: the rate with the best mean on the validation part, and the paired t interval on the test part.
    by_rate: dict[tuple[str, float], dict[int, tuple[float, float]]] = defaultdict(dict)
    for method, rate, seed, validation, test in map(measured, folders):
        by_rate[method, rate][seed] = validation, test
    chosen: dict[str, tuple[float, list[float]]] = {}
    for method in ("full", "lora"):
        means = {
            rate: fmean(validation for validation, _ in runs.values())
            for (kind, rate), runs in by_rate.items()
            if kind == method
        }
        best = min(means, key=lambda rate: (-round(means[rate], 9), rate))
        chosen[method] = best, [by_rate[method, best][seed][1] for seed in range(SEEDS)]
    arms = {(arm["method"], arm["learning_rate"]): arm for arm in found["arms"]}
    kept = {arm["method"]: arm["learning_rate"] for arm in found["arms"] if arm["chosen"]}
    assert kept == pytest.approx({method: rate for method, (rate, _) in chosen.items()})
    for (method, rate), runs in by_rate.items():
        (arm,) = [a for (kind, own), a in arms.items() if kind == method and own == pytest.approx(rate)]
        assert arm["accuracy"] == pytest.approx([test for _, test in (runs[seed] for seed in range(SEEDS))])
        assert arm["rank"] == (8 if method == "lora" else None)
    differences = np.array(chosen["lora"][1]) - np.array(chosen["full"][1])
    half = t.ppf(0.975, SEEDS - 1) * differences.std(ddof=1) / np.sqrt(SEEDS)
    (candidate,) = found["verdict"]["settings"]
    assert candidate["difference"] == pytest.approx(differences.mean())
    assert candidate["interval"] == pytest.approx([differences.mean() - half, differences.mean() + half])
    assert candidate["claims"] == [], "six seeds can claim nothing"
    assert any("which takes at least 7 seeds" in sentence for sentence in found["reported"]["carries"])
    keep(
        "judged folders of the Trainer",
        runs=len(folders),
        full=round(fmean(chosen["full"][1]), 1),
        lora=round(fmean(chosen["lora"][1]), 1),
        difference=round(float(differences.mean()), 2),
    )
