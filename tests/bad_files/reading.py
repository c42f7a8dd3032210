"""A process that reads bad files, and what it answers: ``python -m tests.bad_files.reading FOLDER``.

For each line of JSON that it is given, a file, what else to take it for and up to how many bytes, and whether it reads
the file itself, it prints one with its answers: the sentence, or that the file was taken, or which other exception was
raised; and what that cost.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa

from core.artifacts.trial import evaluate_adapter, merged_with
from core.data.task_spec import TaskSpec
from core.data.uploads import read_passages, read_texts, read_upload
from core.data.uploads.image_draft import decode
from core.errors import LabError
from core.lab import Lab
from core.memory import Growth
from core.networks.file import network_bytes, read_network
from core.networks.tokenizer import Tokenizer
from core.networks.tokenizer_form import check_form
from core.reader import process, reading_here
from core.settings import Settings
from core.study.learn.counting import count_file
from tests.bad_files.adapters import BASE, SOUND
from tests.bad_files.catalog import MAX_GROWTH, catalog
from tests.bad_files.networks import CONFIG, TOKENIZER, changed, put, sound, stored
from tests.bad_files.tokenizers import form
from tests.data.passage_files import ROWS, written
from tests.data.text_files import GOOD as GOOD_TEXTS
from tests.data.uploaded import GOOD, noise, picture

UPLOAD_BYTES = 48 * 2**20
"""Upload limit of adapters; that of datasets is smaller. The server refuses larger ones, see ``tests/web``."""

HERE = 2**16
"""Bytes of a file that this process reads itself."""

WRITING = 0o3
"""Flag bits of ``open`` that are set when a file is opened for writing."""

opened: list[str] = []
"""Files that were opened for writing."""


def note(event: str, arguments: tuple[object, ...]) -> None:
    """Record every file that is opened for writing."""
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
        opened.append(str(arguments[0]))


def entry_points(root: Path) -> Mapping[str, Callable[[bytes], object]]:
    """Functions that read a file, by what they take it for. Args: root: of all that may be written."""
    lab = Lab(Settings(root / "home"))

    def adapter(content: bytes) -> object:
        trial = evaluate_adapter(content, BASE, lab.tasks, [TaskSpec.of(dataset="digits")])
        merged_with(content, BASE)
        return trial

    def in_folder(content: bytes, read: Callable[[Path], object]) -> object:
        with tempfile.TemporaryDirectory(dir=root) as folder, zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(folder)
            return read(Path(folder))

    def base(folder: Path) -> object:
        return read_network(folder / "base.safetensors")

    def tokenizer(content: bytes) -> object:
        return in_folder(changed(put(tokenizer_json=content)), lambda folder: Tokenizer("", folder))

    return {
        "images": read_upload,
        "texts": read_texts,
        "passages": read_passages,
        "adapter": adapter,
        "picture": lambda content: decode(content, "The picture"),
        "network": lambda content: lab.networks.import_zip(content, "a.zip"),
        "folder": lambda content: in_folder(content, lab.networks.import_folder),
        "base": lambda content: in_folder(stored(("base.safetensors", content)), base),
        "config": count_file,
        "form": lambda content: check_form(json.loads(content)),
        "tokenizer": tokenizer,
    }


def sound_files() -> list[tuple[str, bytes]]:
    """Files that are taken, each with what it is read as."""
    network = stored(*sound().items())
    return [
        *(("images", content) for content in GOOD.values()),
        *(("texts", content) for content in GOOD_TEXTS.values()),
        *(("passages", written(rows, "jsonl")) for rows in ROWS),
        *(("passages", written("messages", format_)) for format_ in ("parquet", "csv")),
        *(("adapter", SOUND), ("picture", picture(noise(1))), ("base", network_bytes(BASE))),
        *(
            ("folder", network),
            ("network", network),
            ("config", sound()[CONFIG]),
            ("tokenizer", sound()[TOKENIZER]),
            ("form", json.dumps(form()).encode()),
        ),
    ]


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and modification time of every file."""
    states = {str(path): path.stat() for path in folder.rglob("*") if path.is_file()}
    return {path: (state.st_size, state.st_mtime_ns) for path, state in states.items()}


def used() -> float:
    """Seconds of CPU time of this process and of those that read for it."""
    reader = process._process  # to search all processes of the machine for it takes as long as to read a small file
    return sum(sum(psutil.Process(pid).cpu_times()[:4]) for pid in (os.getpid(), *([reader.pid] if reader else [])))


def answer(read: Callable[[bytes], object], content: bytes, root: Path, is_traced: bool) -> dict[str, Any]:
    """What a function says of a file. Args: root: whose files must stay; is_traced: whether allocations are counted."""
    before, growth, how, said = snapshot(root), Growth(), "taken", ""
    opened.clear()
    seconds, cpu = used(), time.process_time()
    if is_traced:
        tracemalloc.start()
    try:
        read(content)
    except LabError as error:
        how, said = "sentence", str(error)
    except BaseException as error:  # noqa: BLE001 - any other error is a bug that the test looks for
        how, said = "raised", f"{type(error).__name__}: {error}"[:2000]
    allocated = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    growth.sample()
    return {
        "how": how,
        "said": said,
        "seconds": used() - seconds,
        "cpu": time.process_time() - cpu,
        "growth": growth.peak,
        "allocated": allocated,
        "size": len(content),
        "arrow": pa.total_allocated_bytes(),
        "opened": list(opened),
        "changed": sorted(map(str, before.items() ^ snapshot(root).items())),
    }


def main(root: Path) -> None:
    """Answer what is asked, line by line, after having read sound files. Args: root: an empty folder."""
    points, files = entry_points(root), catalog()
    sys.addaudithook(note)
    warm = [(kind, answer(points[kind], content, root, False)) for kind, content in sound_files()]
    print(json.dumps(warm), flush=True)
    for line in sys.stdin:
        name, others, limit, is_here = json.loads(line)
        file = files[name]
        content = file.make()[: UPLOAD_BYTES if file.kind != "folder" else None]
        is_traced = file.allocates < MAX_GROWTH
        kinds = [file.kind, *(others if len(content) <= limit else [])]
        with reading_here() if is_here and len(content) <= HERE else nullcontext():
            answers = {kind: answer(points[kind], content, root, is_traced) for kind in kinds}
        print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
