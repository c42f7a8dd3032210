"""The estimated memory of a bank compared with the memory of a process that trains it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.forked import REPO
from tests.soak.sizes import keep

pytestmark = pytest.mark.minutes

MIB = 2**20

SHARE = 0.25
"""Maximum relative error of the estimate."""

SPARE = 16 * MIB
"""Additional error in bytes, since measurements of small banks are mostly noise."""

MNIST = {"train": 54_000, "held_out": 10_000}


def bank(hidden: int | tuple[int, int], batch: int, members: int, **more: object) -> dict[str, Any]:
    """A shape of ``tests.engine.bank_growth``. Args: hidden: the size of both hidden layers, or of each."""
    return {
        "hidden": (hidden, hidden) if isinstance(hidden, int) else hidden,
        "batch": batch,
        "members": members,
        **more,
    }


SHAPES = {
    "8 LoRA of two seeds, 512-512, batch 1024": bank(512, 1024, 8, rank=8, seeds=2, train=2500),
    "1 full, 1024-1024, batch 64, best kept": bank(1024, 64, 1, train=300, keep="best", epochs=2),
    "8 LoRA of two seeds, 512-512, batch 2048": bank(512, 2048, 8, rank=8, seeds=2, train=5000),
    "1 full, 2048-2048, batch 64, best kept": bank(2048, 64, 1, train=300, keep="best", epochs=2),
    "1 LoRA, 2048-2048, batch 64": bank(2048, 64, 1, rank=8, train=300),
    "3 full, 1024-1024, batch 4096": bank(1024, 4096, 3, train=4500),
    "32 LoRA of four seeds, 128-256, batch 64, MNIST": bank((128, 256), 64, 32, rank=4, seeds=4, **MNIST),
    "8 full, 128-256, batch 64, MNIST": bank((128, 256), 64, 8, **MNIST),
    "32 LoRA, 512-512, batch 8192, MNIST": bank(512, 8192, 32, rank=8, seeds=4, **MNIST),
    "32 LoRA, 512-512, batch 8192, MNIST, cut": bank(512, 8192, 32, rank=8, seeds=4, cut=True, **MNIST),
    "3 full, 4096-4096, batch 8192": bank(4096, 8192, 3, train=8200),
    "3 full, 4096-4096, batch 8192, cut": bank(4096, 8192, 3, train=8200, cut=True),
}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SHAPES)
def test_a_bank_uses_the_memory_that_is_planned_for_it(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.engine.bank_growth", str(tmp_path), json.dumps(SHAPES[name])]
    done = subprocess.run(command, cwd=REPO, env=os.environ, stdout=subprocess.PIPE, text=True, check=True)
    told = json.loads(done.stdout)
    planned, used = told["planned"], told["used"]
    keep(f"memory of {name}", runs=told["members"], planned_mib=planned // MIB, used_mib=used // MIB)
    assert abs(planned - used) <= SHARE * used + SPARE
