"""Files that have stopped, filled or ended a process that opened them, at any scale, and others made from these."""

from __future__ import annotations

import base64
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from PIL import Image

from core.engine.jobs.hashed_zip import indexed
from core.engine.jobs.job_file import FORMAT as JOBS_FORMAT
from core.engine.jobs.job_file import JOBS
from core.engine.jobs.result_file import FORMAT as RESULTS_FORMAT
from core.engine.jobs.result_file import RESULTS
from core.networks.library.files import CONFIG, README
from core.plan.configuration_file import FORMAT, MAX_FILE, VERSION
from core.serving.request import MAX_BYTES
from tests.data.text_files import CSV, PARQUET, lines
from tests.data.uploaded import Entry, noise, zipped
from tests.serving.bodies import ATTACKS, Body
from tests.soak.nasty_adapters import Nasty
from tests.soak.nasty_uploads import NASTY_UPLOADS, SIDE, alone, declaring, jpeg_of, large, overlapping, png
from tests.two_names import with_second_name

TOKENIZER = "tokenizer.json"

MEBIBYTE = 2**20

Make = Callable[[float], bytes]
"""Makes a file at a scale: at 1 it is as large, deep or slow as the one that did harm."""


@dataclass(frozen=True)
class Hostile:
    """One kind of hostile file."""

    kind: str
    """What reads it: a key of ``DOORS`` in ``hostile_doors.py``."""
    name: str
    make: Make
    is_valid: bool = False
    """Whether it costs much but nothing is wrong with it."""


def of_kind(kind: str, made: Mapping[str, Make], valid: tuple[str, ...] = ()) -> list[Hostile]:
    return [Hostile(kind, name, make, name in valid) for name, make in made.items()]


def _at_any_scale(make: Callable[[], bytes]) -> Make:
    return lambda scale: make()


def _as_class(make: Make) -> Make:
    """A zip of class folders, one of which has this picture alone."""
    return lambda scale: alone(make(scale))


ZIPS: dict[str, Make] = {
    "an entry with two names": lambda scale: with_second_name("a/1.png", "../" * int(20 * scale) + ".bashrc"),
    "entries that overlap": lambda scale: overlapping(1 + int(1500 * scale), 2**16),
    "very many entries": lambda scale: zipped(*((f"{place}", b"") for place in range(int(70_000 * scale)))),
    "a bomb": lambda scale: zipped(("a/1.png", bytes(int(2**26 * scale)))),
    "sizes that are not true": lambda scale: declaring(int(2**63 * scale)),
}
"""Zips that are hostile whatever they are taken for."""


def stored(*entries: tuple[Entry, bytes]) -> bytes:
    """A zip that is not compressed, so that no entry is refused for its compression ratio."""
    return zipped(*entries, how=zipfile.ZIP_STORED)


def index_of(name: str, form: str) -> dict[str, Make]:
    """Files of jobs or of results whose index is hostile. Args: name: of the index; form: the format in it."""

    def listing(values: str) -> Make:
        text = '{"format": "%s", "jobs": [%s], "runs": [%s]}'
        return lambda scale: stored((name, (text % (form, *2 * (values * int(MEBIBYTE * scale) + "0",))).encode()))

    return {
        "an index of brackets": lambda scale: stored((name, b"[" * int(2**23 * scale))),
        "an index of lists": listing("[],"),
        "an index of objects": listing("{},"),
        "an entry that is to be written elsewhere": lambda scale: zipped(
            *indexed([("../" * int(20 * scale) + "bases/x.safetensors", b"0")], name, lambda: {"format": form})
        ),
    }


def network(files: Mapping[str, bytes], **changed: Make) -> Make:
    """A network as a zip. Args: files: of a sound one; changed: other contents of some of them."""
    return lambda scale: stored(*({**files} | {name: make(scale) for name, make in changed.items()}).items())


def tokenizers(files: Mapping[str, bytes]) -> dict[str, Make]:
    """Networks whose tokenizer is hostile. Args: files: of a sound network."""

    def changed(change: Callable[[dict[str, Any], float], object]) -> Make:
        def make(scale: float) -> bytes:
            form = json.loads(files[TOKENIZER])
            change(form, scale)
            return json.dumps(form).encode()

        return network(files, **{TOKENIZER: make})

    def replaced(form: dict[str, Any], *pairs: tuple[str, str]) -> None:
        parts = [{"type": "Replace", "pattern": {"String": old}, "content": new} for old, new in pairs]
        form["normalizer"] = {"type": "Sequence", "normalizers": parts}

    def template(form: dict[str, Any], scale: float) -> None:
        size = int(500_000 * scale)
        form["post_processor"]["special_tokens"]["[CLS]"] |= {"ids": [1] * size, "tokens": ["[CLS]"] * size}

    def split(form: dict[str, Any], scale: float) -> None:
        pattern = {"Regex": "(a+)+" * max(1, int(4 * scale)) + "$"}
        form["pre_tokenizer"] = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}

    def charsmap(form: dict[str, Any], scale: float) -> None:
        table = int(2**31 * scale).to_bytes(4, "little") + noise(1, (int(100_000 * scale),)).tobytes()
        form["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table).decode()}

    def nested(scale: float) -> bytes:
        form, depth = json.loads(files[TOKENIZER]), int(10_000 * scale)
        text = '{"type": "Sequence", "normalizers": [' * depth + "]}" * depth
        return json.dumps(form | {"normalizer": "here"}).replace('"here"', text or "null").encode()

    return {
        "two replacements by a megabyte": changed(
            lambda form, scale: replaced(form, *2 * [("l", "l" * int(MEBIBYTE * scale))])
        ),
        "45 doublings": changed(lambda form, scale: replaced(form, *int(45 * scale) * [("a", "aa")])),
        "half a million tokens around each text": changed(template),
        "sequences 10,000 deep": network(files, **{TOKENIZER: nested}),
        "repetitions of repetitions": changed(split),
        "a token of a megabyte": changed(
            lambda form, scale: form["model"]["vocab"].update({"a" * int(MEBIBYTE * scale): 40})
        ),
        "a damaged table of characters": changed(charsmap),
    }


def networks(files: Mapping[str, bytes]) -> dict[str, Make]:
    """Hostile networks. Args: files: of a sound one."""
    front = b"---\nlicense:%s!\n---\n"
    return {
        **tokenizers(files),
        README_OF_SPACES: network(files, **{README: lambda scale: front % (b" " * int(60_000 * scale))}),
        README_OF_DASHES: network(files, **{README: lambda scale: b"---\n" + b"-- -\n" * int(MEBIBYTE * scale)}),
        "a config of brackets": network(files, **{CONFIG: lambda scale: b"[" * int(MEBIBYTE * scale)}),
        "a config of objects": network(
            files, **{CONFIG: lambda scale: b'{"a":[' + b"{}," * int(300_000 * scale) + b"{}]}"}
        ),
    }


README_OF_SPACES, README_OF_DASHES = "a license behind 60,000 spaces", "a README of dashes"


def _of_lines(line: bytes, times: int) -> Make:
    return lambda scale: gzip.compress((line + b"\n") * max(1, int(times * scale)), 1)


def _flipped(scale: float) -> bytes:
    """A table in Parquet with one flipped bit in its footer, which ends Arrow's process at some places."""
    footer = len(PARQUET) - 8 - int.from_bytes(PARQUET[-8:-4], "little")
    damaged = bytearray(PARQUET)
    damaged[footer + int((len(PARQUET) - 9 - footer) * scale)] ^= 1
    return bytes(damaged)


NESTED = b'{"text":%s,"label":"a"}' % (b"[" + b"[]," * 20_000 + b"[]]")

TEXTS: dict[str, Make] = {
    "lines of nested values": _of_lines(NESTED, 1000),
    "two million keys in one line": lambda scale: gzip.compress(
        b"{" + b",".join(b'"%d":0' % place for place in range(int(2_000_000 * scale))) + b',"a":0}', 1
    ),
    "brackets in one line": lambda scale: gzip.compress(b'{"text":' + b"[" * int(2**25 * scale), 1),
    "very many columns": lambda scale: gzip.compress(b"a," * int(2**24 * scale) + b"\n" + CSV, 1),
    "very many short lines": lambda scale: gzip.compress(b"text,label\n" + b"a,b\n" * int(2**23 * scale), 1),
    "a quote without an end": lambda scale: lines(*(["a,b"] * 20), '"' + "x\n" * int(2**22 * scale)),
    "a damaged footer": _flipped,
    "a bomb in gzip": lambda scale: gzip.compress(bytes(int(2**28 * scale))),
}


def _raster(bits: int, color: int) -> Make:
    return lambda scale: png(max(1, int(SIDE * scale)), SIDE, bits, color)


PICTURES: dict[str, Make] = {
    "a progressive JPEG": lambda scale: large("JPEG", "CMYK", progressive=True),
    "a picture of 16 bits": _raster(16, 0),
    "a picture of 16 bits in color": _raster(16, 6),
    "an animation": lambda scale: _frames(int(600 * scale)),
    "pixels beyond the size of the picture": lambda scale: png(100, 100, 8, 0, rows=100 + int(200_000 * scale)),
    "20,000 × 20,000 pixels": lambda scale: png(20_000, int(20_000 * scale) or 1, 1, 0),
    "a JPEG of a size that is not true": lambda scale: jpeg_of(65_500, int(65_500 * scale)),
}
VALID_PICTURES = tuple(list(PICTURES)[:5])


def _frames(count: int) -> bytes:
    target = io.BytesIO()
    frames = [Image.fromarray(noise(place, (32, 32))) for place in range(max(1, count))]
    frames[0].save(target, "GIF", save_all=True, append_images=frames[1:])
    return target.getvalue()


def adapters(entries: Mapping[str, bytes]) -> dict[str, Make]:
    """Hostile adapters. Args: entries: of a sound one."""
    nasty = Nasty(entries)
    path = next(iter(nasty.tensors)).removeprefix("base_model.model.").partition(".lora_")[0]

    def matched(expression: str) -> Make:
        return lambda scale: nasty.peft(nasty.renamed(path, "a." * int(105 * scale) + "b"), target_modules=expression)

    made = nasty.all()
    return {
        "layers chosen by alternatives": matched("(.|.|.|.)" * 20 + "(.*)*x"),
        "layers chosen by repetitions": matched("(a*)*" * 20 + "(.*)*(.*)*x"),
        "ranks chosen by repetitions": lambda scale: nasty.peft(
            nasty.renamed(path, "a." * int(105 * scale) + "b"), rank_pattern={"(.*)*(.*)*x" * 3: 3}
        ),
        "settings of lists": lambda scale: nasty.peft(unknown=[[]] * int(5_000_000 * scale)),
        **{name: _at_any_scale(made[name]) for name in NASTY_ADAPTERS},
    }


NASTY_ADAPTERS = ("a million tensors of nothing", "settings nested ten thousand deep", "a header of 100 MB")


def _experiment(**values: object) -> bytes:
    return json.dumps({"format": FORMAT, "version": VERSION, "task": {"dataset": "of-nobody"}} | values).encode()


EXPERIMENTS: dict[str, Make] = {
    "brackets": lambda scale: b"[" * int(MAX_FILE * scale),
    "objects in objects": lambda scale: b'{"a":' * int(MAX_FILE / 5 * scale),
    "a byte order mark": lambda scale: b"\xef\xbb\xbf" * int(1 + 99 * scale) + _experiment(),
    "another encoding": lambda scale: _experiment().decode().encode("utf-16") * int(1 + 99 * scale),
    "true as its version": lambda scale: _experiment(version=True),
    "a number of many digits": lambda scale: _experiment(seeds=0).replace(b": 0", b": " + b"9" * int(900_000 * scale)),
    "very many seeds": lambda scale: _experiment(seeds=[0] * int(250_000 * scale)),
}


def _request(body: Body) -> Make:
    room = MAX_BYTES - len(body.start) - len(body.end)
    return lambda scale: body.start + body.part * int(room // len(body.part) * scale) + body.end


REQUESTS: dict[str, Make] = {name: _request(body) for name, body in ATTACKS.items()}

HUBS: dict[str, Make] = {
    "a description of brackets": lambda scale: b"[" * int(2**24 * scale),
    "a description of files": lambda scale: (
        b'{"sha":"%s","siblings":[' % (b"a" * 40) + b"{}," * int(5_000_000 * scale) + b"{}]}"
    ),
}


VALID_NETWORKS = (README_OF_SPACES, README_OF_DASHES)
TAKEN = ("pixels beyond the size of the picture", "a zip in the middle of a zip")
"""Names of uploads that look bad but are valid; see ``test_bad_inputs.py``."""

SCALES = (1.0, 0.5, 0.1, 0.01)


def hostile(entries: Mapping[str, bytes], files: Mapping[str, bytes]) -> list[Hostile]:
    """Every kind. Args: entries: of a sound adapter; files: of a sound network."""
    return [
        *(found for kind in ("images", "adapter", "network", "jobs", "results") for found in of_kind(kind, ZIPS)),
        *of_kind("jobs", index_of(JOBS, JOBS_FORMAT)),
        *of_kind("results", index_of(RESULTS, RESULTS_FORMAT)),
        *of_kind("network", networks(files), VALID_NETWORKS),
        *of_kind("texts", TEXTS),
        *of_kind("request", REQUESTS),
        *of_kind("adapter", adapters(entries)),
        *of_kind("hub", HUBS),
        *of_kind("experiment", EXPERIMENTS),
        *of_kind("picture", PICTURES, VALID_PICTURES),
        *of_kind("images", {name: _as_class(make) for name, make in PICTURES.items()}),
        *of_kind("images", {name: _at_any_scale(make) for name, make in NASTY_UPLOADS.items() if name not in TAKEN}),
    ]


Change = tuple[str, float, bytes]
"""How a file is changed, at which of its bytes as a share of its length, and what with."""


@dataclass(frozen=True)
class Mutant:
    """A file at some scale, flipped, cut, repeated or put together with others of its kind."""

    file: Hostile
    scale: float
    changes: Sequence[Change]
    others: Sequence[Hostile]
    """Files of all kinds."""

    def content(self) -> bytes:
        """The bytes of the file."""
        content = bytearray(self.file.make(self.scale))
        alike = [one for one in self.others if one.kind == self.file.kind]
        for how, share, given in self.changes:
            place = int(len(content) * share)
            match how:
                case "flip" if content:
                    content[place] ^= 1 << len(given) % 8
                case "cut":
                    del content[place:]
                case "repeat":
                    content[place:place] = content[place : place + 2 ** len(given)]
                case "insert":
                    content[place:place] = given
                case "join":
                    content += alike[int(len(alike) * share)].make(SCALES[-1])
        return bytes(content)


def mutants(files: Sequence[Hostile]) -> st.SearchStrategy[Mutant]:
    """Files made of these."""
    how, share = st.sampled_from(["flip", "cut", "repeat", "insert", "join"]), st.floats(0, 1, exclude_max=True)
    changes = st.lists(st.tuples(how, share, st.binary(max_size=16)), max_size=4)
    return st.builds(Mutant, st.sampled_from(files), st.sampled_from(SCALES), changes, st.just(files))
