"""Files that have stopped, filled or ended a process that opened them, from the catalog of bad files and for the ways
in which only a dashboard or a command reads them, and others made of these."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from core.networks.library.files import README
from core.plan.configuration_file import FORMAT, MAX_FILE, VERSION
from tests.bad_files.catalog import BadFile, Make, catalog, of_kind
from tests.bad_files.damage import Change, changes, damaged
from tests.bad_files.images import LONELY, jpeg_of, png
from tests.bad_files.networks import CONFIG, stored
from tests.data.text_files import CSV, PARQUET, lines
from tests.serving.bodies import ATTACKS

MEBIBYTE = 2**20


def networks(files: Mapping[str, bytes]) -> list[BadFile]:
    """Networks that cost much. Args: files: of a sound one."""

    def changed(name: str, content: bytes) -> Make:
        return lambda: stored(*({**files} | {name: content}).items())

    valid = {
        "a license behind 60,000 spaces": changed(README, b"---\nlicense:%s!\n---\n" % (b" " * 60_000)),
        "a README of dashes": changed(README, b"---\n" + b"-- -\n" * MEBIBYTE),
    }
    bad = {
        "a config of brackets": changed(CONFIG, b"[" * MEBIBYTE),
        "a config of objects": changed(CONFIG, b'{"a":[' + b"{}," * 300_000 + b"{}]}"),
    }
    return of_kind("network", valid, is_valid=True) + of_kind("network", bad)


def _flipped() -> bytes:
    """A table in Parquet with one flipped bit in its footer, which ends Arrow's process."""
    content = bytearray(PARQUET)
    content[-9] ^= 1
    return bytes(content)


TEXTS: dict[str, Make] = {
    "very many columns": lambda: gzip.compress(b"a," * 2**24 + b"\n" + CSV, 1),
    "very many short lines": lambda: gzip.compress(b"text,label\n" + b"a,b\n" * 2**23, 1),
    "a quote without an end": lambda: lines(*(["a,b"] * 20), '"' + "x\n" * 2**22),
    "a damaged footer": _flipped,
}


def _experiment(**values: object) -> bytes:
    return json.dumps({"format": FORMAT, "version": VERSION, "task": {"dataset": "of-nobody"}} | values).encode()


EXPERIMENTS: dict[str, Make] = {
    "brackets": lambda: b"[" * MAX_FILE,
    "objects in objects": lambda: b'{"a":' * (MAX_FILE // 5),
    "a byte order mark": lambda: b"\xef\xbb\xbf" * 100 + _experiment(),
    "another encoding": lambda: _experiment().decode().encode("utf-16") * 100,
    "true as its version": lambda: _experiment(version=True),
    "a number of many digits": lambda: _experiment(seeds=0).replace(b": 0", b": " + b"9" * 900_000),
    "very many seeds": lambda: _experiment(seeds=[0] * 250_000),
}

HUBS: dict[str, Make] = {
    "a description of brackets": lambda: b"[" * 2**24,
    "a description of files": lambda: b'{"sha":"%s","siblings":[' % (b"a" * 40) + b"{}," * 5_000_000 + b"{}]}",
}

PICTURES: dict[str, Make] = {
    "20,000 × 20,000 pixels": lambda: png(20_000, 20_000, 1, 0),
    "a JPEG of a size that is not true": lambda: jpeg_of(65_500, 65_500),
}
LARGE: dict[str, Make] = LONELY | {"pixels beyond the size of the picture": lambda: png(100, 100, 8, 0, rows=200_000)}


def hostile(files: Mapping[str, bytes]) -> list[BadFile]:
    """Every kind. Args: files: of a sound network."""
    return [
        *(file for file in catalog().values() if file.is_hostile and not file.is_valid),
        *networks(files),
        *of_kind("texts", TEXTS),
        *of_kind("request", {name: body.content for name, body in ATTACKS.items()}),
        *of_kind("hub", HUBS),
        *of_kind("experiment", EXPERIMENTS),
        *of_kind("picture", PICTURES),
        *of_kind("picture", LARGE, is_valid=True),
    ]


@dataclass(frozen=True)
class Mutant:
    """A file, alone or followed by another one of its kind, and damaged."""

    file: BadFile
    other: BadFile | None
    changes: Sequence[Change]

    def content(self) -> bytes:
        """The bytes of the file."""
        return damaged(self.file.make() + (self.other.make() if self.other else b""), self.changes)


def mutants(files: Sequence[BadFile]) -> st.SearchStrategy[Mutant]:
    """Files made of these."""

    def of(file: BadFile) -> st.SearchStrategy[Mutant]:
        alike = [other for other in files if other.kind == file.kind]
        return st.builds(Mutant, st.just(file), st.none() | st.sampled_from(alike), changes)

    return st.sampled_from(files).flatmap(of)
