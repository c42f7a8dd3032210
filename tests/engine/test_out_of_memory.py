"""What does not fit into memory: what is told before, and a bank that is split or fails alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.data.dataset import TextDataset
from core.data.sources.catalog import Catalog
from core.data.task_spec import TaskSpec
from core.forecast.memory import memory_of
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.networks.perceptron import PerceptronSpec
from core.numbers import bytes_text
from core.plan.configuration import Configuration
from core.reader import reading_here
from core.run_spec import RunSpec
from core.settings import Settings
from core.tasks.tasks import Tasks
from tests.conftest import DIGITS, short
from tests.forked import REPO
from tests.networks.tiny import save_tiny

WARM = RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001))
LARGE = WARM.but(
    network=PerceptronSpec.of(num_hidden_1=1024, num_hidden_2=2048), optim=short(rate=0.0001, batch_size=512)
)
HUGE = LARGE.but(network=PerceptronSpec.of(num_hidden_1=4096, num_hidden_2=4096))


SHARES = (75, 80, 70, 85)
"""Percents of the plan, one of which is too little for a bank and enough for its half. Which it is depends on the
machine: the plan allows for what libraries take, and that differs between processors. The most likely is the first."""


def told(home: Path, allowed: int, specs: Sequence[RunSpec]) -> list[dict[str, Any]]:
    """Results of runs in a process that may allocate this many more bytes."""
    texts = [spec.to_json() for spec in (WARM, *specs)]
    command = [sys.executable, "-m", "tests.engine.short_of_memory", str(home), str(allowed), *texts]
    # One malloc arena for all threads, since each further arena would reserve unused addresses; and every large block
    # goes back to the system when it is freed, since a heap with holes in it counts against the limit as a whole.
    malloc = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **malloc}
    done = subprocess.run(command, cwd=REPO, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.minutes  # test_results.py has a machine with too little memory
def test_a_bank_is_split_until_all_have_finished_and_a_run_that_does_not_fit_alone_fails_with_a_sentence(
    tmp_path: Path,
) -> None:
    specs = [LARGE.but(seed=seed) for seed in range(4)]
    planned = memory_of(specs, Tasks(Catalog(Settings(Path()))))
    for share in SHARES:
        each = [*specs, HUGE, WARM.but(seed=1)]
        *runs, huge, small = told(tmp_path / f"home-{share}", share * planned // 100, each)
        if all(run["bank"] not in (None, 4) and run["state"] == "finished" for run in runs):
            break
    assert [(run["state"], run["cause"]) for run in runs] == [("finished", None)] * 4
    for run in runs:
        assert run["bank"] < 4
        assert run["steps"]
        assert run["states"].count("running") >= 2
        assert run["log"][0].startswith("Forecast: ")
        assert run["log"][1].startswith("Out of memory with 4 runs trained together: the bank is split")
    assert huge["state"] == "failed"
    assert huge["cause"] == "Out of memory: choose a smaller batch or network, or another device."
    assert huge["traceback"]
    assert small["state"] == "finished"


TASK = TaskSpec.of(dataset="long", length=64)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """With a tiny network and texts of sixty words; it trains nothing."""
    folder = tmp_path_factory.mktemp("fit")
    lab = Lab(Settings(home=folder / "home"))
    texts, labels = ("cat " * 60, "dog " * 60) * 10, np.array([0, 1] * 10)
    lab.catalog.keep(TextDataset("upload", texts, labels, texts, labels, ("cat", "dog")), "long")
    with reading_here():
        lab.networks.import_folder(save_tiny(folder / "tiny", max_position_embeddings=128), "tiny")
        yield lab
    lab.store.close()


def runs(lab: Lab, *methods: MethodSpec) -> list[RunSpec]:
    network = lab.networks.spec(lab.networks.list()[0].digest)
    arms = [(short(), method) for method in methods]
    return list(lab.launcher.plan(Configuration.on(network, TASK, arms, range(2), device="cpu")).runs)


def test_what_fits_is_not_spoken_of_and_what_does_not_is_told_in_a_sentence(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = runs(lab, FullSpec(), LoRASpec.of(rank=2))
    needed = max(memory_of([spec], lab.tasks) for spec in specs)
    monkeypatch.setattr("core.forecast.estimates.free_bytes", lambda device: needed)
    assert lab.estimates.shortage(specs) is None
    monkeypatch.setattr("core.forecast.estimates.free_bytes", lambda device: needed - 1)
    amounts = f"it needs {bytes_text(needed)} of memory, and {bytes_text(needed - 1)} are free"
    assert lab.estimates.shortage(specs).startswith(f"Full will not fit: {amounts}; choose smaller settings, or ")
    assert lab.estimates.shortage([spec for spec in specs if spec.label != "Full"]) is None
