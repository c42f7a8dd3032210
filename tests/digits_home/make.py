"""The home folder in ``home.tar.xz``: small perceptrons, and their runs on digits.

It was made once, with the code of commit 5a9927c, and is not made again: later versions must read its numbers as they
are. Its store was opened once with commit 3fc5ed74, the oldest whose stores open, whose code also wrote its specs anew.

    git worktree add /tmp/version-1 5a9927c
    cd /tmp/version-1 && PYTHONPATH=. python THIS_FILE FOLDER
"""

from __future__ import annotations

import sqlite3
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.data.dataset import ImageDataset
from core.lab import Lab
from core.settings import Settings
from core.spec import LoRASpec, ModelSpec, OptimSpec, RunSpec, TaskSpec

SMALL = ModelSpec.of(num_hidden_1=12, num_hidden_2=10, num_classes=10)
TURNED = TaskSpec.of(dataset="digits", rotation=45.0)


def settle(lab: Lab, *ids: str) -> None:
    while any(lab.run(id).is_live for id in ids):
        time.sleep(0.02)


def training(rate: float, epochs: int = 2) -> OptimSpec:
    return OptimSpec.of(learning_rate=rate, epochs=epochs, batch_size=64)


def own_dataset() -> ImageDataset:
    """Three classes of stripes: rows, columns and both."""
    random = np.random.default_rng(0)
    labels = np.tile(np.arange(3), 40)
    images = random.integers(0, 60, (120, 28, 28))
    images[labels != 1, ::4] += 150
    images[labels != 0, :, ::4] += 40
    images = images.clip(0, 255).astype(np.uint8)
    return ImageDataset("stripes", images[:90], labels[:90], images[90:], labels[90:], ("rows", "columns", "both"))


def main(folder: Path) -> None:
    lab = Lab(replace(Settings(folder / "home"), checkpoint_seconds=0.2))
    lost = lab.launch(RunSpec.of(method="pretrain", model=SMALL, task=TaskSpec.of(), optim=training(0.003, 5)))
    failing = lab.launch(
        RunSpec.of(method="full", model=SMALL, task=TURNED, source=TaskSpec.of(), base=lost.id, optim=training(0.01))
    )
    lab.stop(lost.id)
    lab.start()
    settle(lab, failing.id)
    lab.catalog.keep(own_dataset(), "stripes")
    base = lab.launch(RunSpec.of(method="pretrain", model=SMALL, task=TaskSpec.of(), optim=training(0.003, 6)))
    settle(lab, base.id)
    arms = [
        (training(0.001), None),
        (training(0.005), LoRASpec.of(rank=1)),
        (training(0.005), LoRASpec.of(rank=4, scaling="alpha/sqrt(r)", target_modules=("layers.2", "layers.4"))),
        (training(0.01), "head"),
        (training(0.01), "biases"),
        (training(0.003), "scratch"),
    ]
    first = lab.fine_tune(base, TURNED, arms, range(3), "Digits, rotated 45°")
    sweep = lab.fine_tune(
        base,
        TaskSpec.of(dataset="digits", invert=True),
        [(training(rate), lora) for rate in (0.001, 0.003, 0.01) for lora in (None, LoRASpec.of(rank=2))],
        range(2),
        "digits sweep",
    )
    own = lab.launch(
        RunSpec.of(method="pretrain", model=SMALL, task=TaskSpec.of(dataset="stripes"), optim=training(0.003))
    )
    varied = lab.fine_tune(base, TURNED, arms[:2], range(2), "a base for each seed", own_bases=True)
    settle(lab, own.id, *first.runs, *sweep.runs, *varied.runs)
    stopped = lab.launch(
        RunSpec.of(
            method="lora",
            model=SMALL,
            task=TURNED,
            source=TaskSpec.of(),
            base=base.id,
            lora=LoRASpec.of(),
            optim=OptimSpec.of(epochs=200, batch_size=1),
        )
    )
    while lab.run(stopped.id).step < 200:
        time.sleep(0.01)
    lab.stop(stopped.id)
    settle(lab, stopped.id)
    left = lab.launch(
        RunSpec.of(
            method="full",
            model=SMALL,
            task=TURNED,
            source=TaskSpec.of(),
            base=base.id,
            optim=OptimSpec.of(epochs=200, batch_size=1),
        )
    )
    while lab.store.checkpoint(left.id) is None:
        time.sleep(0.01)
    lab.shelf.set_tags(first.runs[0], ["reference", "café"])
    lab.shelf.add_tag(first.runs[1::6], "rank 1")
    lab.shelf.set_note(first.runs[0], "Full fine-tuning,\nthe first seed; see *the report*.")
    lab.shelf.archive([sweep.runs[-1]])
    lab.file(first.runs[1], "merged.safetensors")
    lab.close()
    with sqlite3.connect(folder / "home" / "lab.sqlite3") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
