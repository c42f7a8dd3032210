"""The real MNIST, in memory for the engine and as files for the notebook's loop."""

from __future__ import annotations

import gzip
import os
import shutil
import sys
from pathlib import Path

import torch

from core.data.examples import ImageExamples, Task
from core.data.task_spec import TaskSpec


def mnist_folder() -> Path:
    """The folder with MNIST's four files; exits with a message if there is none."""
    root = os.environ.get("LORA_LAB_DATA")
    folder = Path(root or "") / "MNIST" / "raw"
    if not root or not folder.is_dir():
        sys.exit("The benchmarks need MNIST: set LORA_LAB_DATA to a folder that holds MNIST/raw with its four files.")
    return folder


def unpacked(folder: Path, root: Path) -> Path:
    """Write the files in ``folder`` to ``root``, unzipped, in torchvision's layout."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in folder.iterdir():
        if path.suffix == ".gz":
            with gzip.open(path) as packed, (raw / path.stem).open("wb") as plain:
                shutil.copyfileobj(packed, plain)
        elif path.is_file():
            shutil.copy(path, raw / path.name)
    return root


def whole_task(root: Path) -> Task:
    """All 60,000 training images, as in the notebook; the test part is also used for validation."""
    from torchvision.datasets import MNIST

    parts = {}
    for name, train in (("train", True), ("test", False)):
        data = MNIST(str(root), train=train)
        parts[name] = ImageExamples(data.data.flatten(1).float().div_(255), data.targets.to(torch.int64))
    return Task(
        TaskSpec.of(dataset="mnist"),
        tuple(range(10)),
        tuple(map(str, range(10))),
        train=parts["train"],
        validation=parts["test"],
        test=parts["test"],
    )
