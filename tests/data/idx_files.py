"""Small files of published datasets, and what lies in a folder."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

from core.data.sources.published import PUBLISHED, IdxDataset

MNIST = PUBLISHED[0]
LETTERS = PUBLISHED[3]
Files = dict[str, bytes]


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


def idx_files(source: IdxDataset, seed: int = 0, count: int = 60) -> Files:
    """Small files with the names that ``source`` wants, unpacked; every class occurs."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % len(source.class_names) + source.first_label
    images = draw.integers(0, 256, (count, 28, 28))
    contents = (idx(images), idx(labels), idx(images[::-1]), idx(labels[::-1]))
    return dict(zip(source.stems, contents, strict=True))


def zipped(files: Files) -> Files:
    return {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in files.items()}


def put(folder: Path, files: Files) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}
