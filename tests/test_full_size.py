"""The seed's experiment on the real MNIST."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import pytest


@pytest.mark.full_size
def test_rank_4_comes_within_4_points_of_full_fine_tuning_on_mnist(tmp_path: Path) -> None:
    options = shlex.split(
        "--source mnist --preset rotation-45 --pretrain-epochs 3 --epochs 2 --seeds 2 --rank 4 --json"
    )
    command = [sys.executable, "-m", "core", "compare", *options, "--home", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    full, tuned = found["arms"]
    assert found["base"]["accuracy"] >= 96.5
    assert (full["trainable_parameters"], tuned["trainable_parameters"]) == (136_074, 6_248)
    assert fmean(full["accuracy"]) - fmean(tuned["accuracy"]) <= 4
