"""The home folder in ``home.tar.xz``: a transformer built like MiniLM, but far smaller, and its runs on texts.

It was made once, with the code of commit 165b471, and is not made again: later versions must read
its numbers as they are. Its store was opened once with commit 3fc5ed74, the oldest whose stores open.

    git worktree add /tmp/before 165b471
    cd /tmp/before && OMP_NUM_THREADS=1 PYTHONPATH=. python THIS_FILE FOLDER

Its network has the architecture of all-MiniLM-L6-v2, a BERT of 6 layers with 12 heads, at random weights: 24 units
instead of 384, and 48 words instead of 30,522. Networks other than adapters are there at the chosen learning rate
alone, since the lab deleted the others, as it does for anybody who keeps only chosen networks. The copies of its store
were left out.
"""

from __future__ import annotations

import io
import lzma
import shutil
import sqlite3
import sys
import tarfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from core.data.dataset import TextDataset
from core.data.task_spec import TaskSpec
from core.engine.configuration import preset_configuration
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.run_spec import OptimSpec
from core.settings import Settings
from tests.launching import compare, fine_tune
from tests.networks.tiny import save_tiny

NAME = "minilm-like"
CONFIG = {
    "hidden_size": 24,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 40,
    "initializer_range": 0.2,  # so few units learn nothing from weights as small as usual
    "max_position_embeddings": 32,
}
ABOUT = ("cat", "dog", "mat", "far")
OTHERS = ("a", "the", "red", "blue", "big", "small", "and", "not", "very")
MISLEADING = 0.1
"""Share of the texts that name what another class is about."""

SEEDS = range(4)
LEFT_OUT = ("run.json", ".lock")
FOLDERS = ("owners", "backups", "staging", "deleted", "tracking")


def texts_of(counts: tuple[int, ...], seed: int) -> tuple[tuple[str, ...], np.ndarray]:
    """Texts that name what they are about, most of them rightly, with their labels."""
    draw = np.random.RandomState(seed)
    labels = draw.permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int64)
    shift = np.where(draw.uniform(size=len(labels)) < MISLEADING, draw.randint(1, len(counts), len(labels)), 0)
    named = (labels + shift) % len(counts)
    return tuple(" ".join([*draw.choice(OTHERS, draw.randint(1, 5)), ABOUT[n], "sat"]) for n in named), labels


def own_dataset() -> TextDataset:
    """Four classes of texts, of which the test part has more of the first one."""
    train, train_labels = texts_of((60, 60, 60, 60), 0)
    test, test_labels = texts_of((60, 30, 30, 20), 1)
    return TextDataset("upload", train, train_labels, test, test_labels, ABOUT)


def settings_at(rates: tuple[float, float], method: object) -> list[tuple[OptimSpec, object]]:
    """A method at two learning rates."""
    return [(OptimSpec.of(learning_rate=rate, epochs=4, batch_size=16), method) for rate in rates]


def settle(lab: Lab, *ids: str) -> None:
    while any(lab.store.run(id).is_live for id in ids):
        time.sleep(0.02)
    assert {lab.store.run(id).state for id in ids} == {"finished"}, [lab.store.run(id).cause for id in ids]


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    home = folder / "home"
    lab = Lab(replace(Settings(home), threads=1))
    lab.start()
    lab.catalog.keep(own_dataset(), "pets")
    card = lab.networks.import_folder(save_tiny(folder / "network", "bert", **CONFIG), NAME)
    arms = [
        *settings_at((0.0003, 0.001), FullSpec()),
        *settings_at((0.001, 0.003), LoRASpec.of(rank=1)),
        *settings_at((0.001, 0.003), LoRASpec.of(rank=4)),
        *settings_at((0.01, 0.03), "head"),
    ]
    task = TaskSpec.of(dataset="pets", length=16)
    direct = fine_tune(lab, lab.networks.spec(card.digest, len(ABOUT)), task, arms, SEEDS, trim=True)
    after_source = compare(
        lab,
        preset_configuration(
            lab.catalog,
            "split",
            "pets",
            None,
            OptimSpec.of(learning_rate=0.001, epochs=6, batch_size=16),
            [arms[1], arms[3]],
            range(3),
            network=lab.networks.spec(card.digest),
            length=16,
            trim=True,
        ),
    )
    settle(lab, *direct.runs, after_source.base, *after_source.runs)
    time.sleep(3)  # until the networks that were not chosen are deleted
    lab.close()
    with closing(sqlite3.connect(home / "lab.sqlite3")) as db:
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for name in FOLDERS:
        shutil.rmtree(home / name, ignore_errors=True)
    pack(home, folder / "home.tar.xz")


def pack(home: Path, file: Path) -> None:
    """Write the folder as one file, without what is left out."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted(path for path in home.rglob("*") if path.is_file() and path.name not in LEFT_OUT):
            archive.add(path, path.relative_to(home.parent))
    file.write_bytes(lzma.compress(packed.getvalue(), preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
