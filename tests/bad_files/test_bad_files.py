"""Every bad file is one sentence wherever it comes in: nothing is written, memory is bounded, the process lives."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import forked
from tests.bad_files.catalog import MAX_GROWTH, MAX_SECONDS, BadFile, catalog
from tests.bad_files.sentences import faults_of
from tests.soak.sizes import FULL, full_or_short, keep

UPLOADS = ("images", "texts", "adapter")
"""Kinds of files that people choose in a dialog: any file may come in as each of them, and none of them is written."""

SMALL = full_or_short(2**40, 2**20)
"""Bytes of a file that comes in as another kind, too."""

CATALOG = [file for file in catalog().values() if FULL or not file.is_long]

IN_READER = 8
"""At full size the reader reads each file; else one of so many, and those that cost much. A fork for a file takes ten
times as long as the file."""


class Reading:
    """The process that reads bad files; it is started again where one has ended it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._process = folder, None
        self.answers: dict[tuple[str, str], dict[str, Any]] = {}
        """By the file and what it was taken for."""
        self._count = 0

    def ask(self, file: BadFile, others: list[str], is_here: bool) -> dict[str, dict[str, Any]]:
        """What it says of a file, by what it is taken for.

        Args:
            file: of the catalog.
            others: what else to take it for.
            is_here: whether it reads the file itself, without the reader.
        """
        if self._process is None:
            self._start()
        found: dict[str, dict[str, Any]] = self._said(json.dumps([str(file), others, SMALL, is_here]))
        self.answers |= {(str(file), kind): answer for kind, answer in found.items()}
        return found

    def _start(self) -> None:
        self._count += 1
        root = self._folder / str(self._count)
        root.mkdir()
        environment = {**forked.BEFORE, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(forked.REPO)}
        self._process = forked.start(
            ["-m", "tests.bad_files.reading", str(root)],
            cwd=root,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        warm = self._said("")
        assert [kind for kind, answer in warm if answer["how"] != "taken"] == [], warm

    def _said(self, line: str) -> Any:
        process = self._process
        assert process
        assert process.stdin
        assert process.stdout
        if line:
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
        said = process.stdout.readline()
        if not said:
            self.close()
            pytest.fail("the process that reads has ended")
        return json.loads(said)

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process and process.stdin and process.stdout:
            process.stdin.close()
            assert process.wait(timeout=MAX_SECONDS) == 0
            process.stdout.close()


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    reading = Reading(tmp_path_factory.mktemp("reading"))
    yield reading
    reading.close()
    if not reading.answers:
        return
    found = reading.answers
    counts = Counter(answer["how"] for answer in found.values())
    slowest, largest = (max(found, key=lambda each: found[each][of]) for of in ("seconds", "growth"))
    keep(
        "bad inputs by hand",
        inputs=len({file for file, _ in found}),
        sentences=counts["sentence"],
        taken=counts["taken"],
        most_growth_mib=found[largest]["growth"] >> 20,
        most_growth=largest[0],
        slowest_seconds=round(found[slowest]["seconds"], 1),
        slowest=slowest[0],
    )


def max_growth(file: BadFile, kind: str, size: int) -> int:
    """Bytes by which memory may grow with a file."""
    if kind == file.kind == "images":
        # A zip of very many small files costs what the zip module takes for each; 200,000 lines are 50 MB of arrays.
        return (96 if size > 2**20 else 24) * 2**20
    return 256 * 2**20 if kind == file.kind in ("texts", "passages") else MAX_GROWTH - size


def is_read_here(file: BadFile) -> bool:
    """Whether a file is read without the reader, if it is small.

    Never so are those whose cost is limited or has been too much, and tables, since Arrow ends the process that reads
    some.
    """
    is_costly = file.is_hostile or file.cpu < MAX_SECONDS or file.allocates < MAX_GROWTH
    return not FULL and not is_costly and CATALOG.index(file) % IN_READER > 0 and file.kind not in ("texts", "passages")


@pytest.mark.parametrize("file", CATALOG, ids=str)
def test_a_bad_file_is_one_sentence_and_leaves_nothing(reading: Reading, file: BadFile) -> None:
    others = [kind for kind in UPLOADS if kind != file.kind and file.kind in UPLOADS]
    if not FULL:  # one of the two by turns; none where any other reader sees what it has seen in many
        others = [] if file.is_alike else others[CATALOG.index(file) % 2 :][:1]
    for kind, answer in reading.ask(file, others, is_read_here(file)).items():
        said, how = answer["said"], answer["how"]
        assert how == "sentence" or (how == "taken" and file.is_valid), (kind, how, said)
        assert how == "taken" or faults_of(said) == [], (kind, said)
        assert how == "taken" or kind != file.kind or re.search(file.says, said), said
        assert answer["changed"] == [], kind
        assert answer["opened"] == [] or kind not in UPLOADS, kind
        assert answer["growth"] < max_growth(file, kind, answer["size"]), kind
        assert answer["allocated"] < file.allocates or kind != file.kind, kind
        assert answer["arrow"] < 2**20, kind
        assert answer["seconds"] < MAX_SECONDS, kind
        assert answer["cpu"] < file.cpu, kind


def test_there_are_enough_bad_files() -> None:
    assert len(catalog()) > 500
