"""Malicious adapter files, made from a valid one: misleading names, numbers out of bounds."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy

from core.adapter.archive import CERTIFICATE, CONFIG, TENSORS, zip_bytes
from tests.data.uploaded import Make, entry, zipped
from tests.soak.nasty_uploads import declaring, dull, overlapping

Shapes = Mapping[str, tuple[str, list[int], int]]
"""Type, shape and number of bytes of each tensor."""


def header_file(shapes: Shapes, data: bytes = b"") -> bytes:
    """A safetensors file with this header and arbitrary data."""
    place, header = 0, {}
    for name, (kind, shape, size) in shapes.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


class Nasty:
    """Malicious variants of a valid adapter file."""

    def __init__(self, entries: Mapping[str, bytes]) -> None:
        self.entries = dict(entries)
        self.config: dict[str, Any] = json.loads(entries[CONFIG])
        self.certificate: dict[str, Any] = json.loads(entries[CERTIFICATE])
        self.tensors: dict[str, np.ndarray] = safetensors.numpy.load(entries[TENSORS])

    def peft(self, tensors: Mapping[str, np.ndarray] | bytes | None = None, **config: object) -> bytes:
        """A file as PEFT writes it, without a certificate, with other tensors or settings."""
        content = tensors if isinstance(tensors, bytes) else safetensors.numpy.save(dict(tensors or self.tensors))
        return zipped((CONFIG, json.dumps(self.config | config).encode()), (TENSORS, content))

    def certified(self, **claims: object) -> bytes:
        """The file with other values in its certificate."""
        return zip_bytes(self.entries | {CERTIFICATE: json.dumps(self.certificate | claims).encode()})

    def claiming(self, field: str, text: str) -> bytes:
        """The file with a number in its certificate that is valid in JSON but too large for Python."""
        content = json.dumps(self.certificate | {field: "here"}).replace('"here"', text)
        return zip_bytes(self.entries | {CERTIFICATE: content.encode()})

    def scaled(self, factor: float) -> dict[str, np.ndarray]:
        return {name: (value * factor).astype(np.float32) for name, value in self.tensors.items()}

    def with_value(self, value: float) -> dict[str, np.ndarray]:
        changed = {name: tensor.copy() for name, tensor in self.tensors.items()}
        next(iter(changed.values())).flat[3] = value
        return changed

    def renamed(self, old: str, new: str) -> dict[str, np.ndarray]:
        return {name.replace(old, new): value for name, value in self.tensors.items()}

    def of_rank(self, rank: int) -> bytes:
        """A consistent file with a rank far above what its layers can have."""
        tensors = {}
        for name, value in self.tensors.items():
            out, width = value.shape
            is_a = ".lora_A." in name
            tensors[name] = np.zeros((rank, width) if is_a else (out, rank), np.float32)
        return self.peft(tensors, r=rank, rank_pattern={}, alpha_pattern={})

    def all(self) -> dict[str, Make]:
        """All variants by name, each made on demand."""
        first = next(iter(self.tensors))
        path = first.removeprefix("base_model.model.").partition(".lora_")[0]
        return {
            "a value that is no number": lambda: self.peft(self.with_value(np.nan)),
            "an infinite value": lambda: self.peft(self.with_value(-np.inf)),
            "a value as large as can be": lambda: self.peft(self.with_value(3e38)),
            "weights that overflow": lambda: self.peft(self.scaled(1e30)),
            "an alpha as large as can be": lambda: self.peft(self.scaled(1e18), lora_alpha=1e9),
            "an infinite alpha": lambda: self.peft(lora_alpha=float("inf")),
            "an alpha beyond all numbers": lambda: self.peft(lora_alpha=10**400),
            "a rank of 4,000 digits": lambda: self.peft(r=10**4000),
            "a rank far above its layers'": lambda: self.of_rank(4096),
            "another shape": lambda: self.peft({name: value.T.copy() for name, value in self.tensors.items()}),
            "whole numbers": lambda: self.peft({name: value.astype(np.int32) for name, value in self.tensors.items()}),
            "a layer of another name": lambda: self.peft(self.renamed(path, "fc1")),
            "a layer with a line break": lambda: self.peft(self.renamed(path, "a\nb")),
            "a layer with control characters": lambda: self.peft(self.renamed(path, "a\r\x1b[31m\u2028\u202eb")),
            "a layer with a very long name": lambda: self.peft(self.renamed(path, "layers." + "x" * 100_000)),
            "a pattern that takes long": lambda: self.peft(
                self.renamed(path, "a." * 20_000 + "b"), target_modules="all-linear", rank_pattern={".*x": 3}
            ),
            "a million tensors of nothing": lambda: self.peft(_nothing(900_000)),
            "twenty thousand layers": lambda: self.peft(
                {f"base_model.model.l{i}.lora_{x}.weight": np.zeros((1, 1), "f4") for i in range(10_000) for x in "AB"},
                r=1,
                target_modules=[f"l{i}" for i in range(20_000)],
                rank_pattern={},
                alpha_pattern={},
            ),
            "fifty thousand patterns": lambda: self.peft(rank_pattern={f"layers.{i}x{i}": 3 for i in range(50_000)}),
            "a hundred thousand targets": lambda: self.peft(target_modules=[f"t{i}" for i in range(100_000)]),
            "a target with a line break": lambda: self.peft(target_modules=[*self.config["target_modules"], "a\nb"]),
            "a target with control characters": lambda: self.peft(target_modules=["\x1b[2J\r\u2029"]),
            "a setting with a line break": lambda: self.peft(**{"a\nb": "c\nd"}),
            "a kind with control characters": lambda: self.peft(peft_type="LORA\u2028\x07"),
            "settings nested ten thousand deep": lambda: zipped(
                (CONFIG, b'{"peft_type":' + b"[" * 10_000 + b"]" * 10_000 + b"}"), (TENSORS, self.entries[TENSORS])
            ),
            "settings of 60 MB": lambda: self.peft(unknown=[""] * 15_000_000),
            "10 GB declared by a tensor": lambda: self.peft(header_file({first: ("F32", [50_000, 50_000], 10**10)})),
            "a shape beyond all bytes": lambda: self.peft(header_file({first: ("F32", [2**62, 2**62], 16)}, bytes(16))),
            "a header of 2⁶³ bytes": lambda: self.peft(struct.pack("<Q", 2**63) + b"{}"),
            "a header of 100 MB": lambda: self.peft(struct.pack("<Q", 10**8) + b"{" + b" " * 1000),
            "a header of blanks": lambda: self.peft(struct.pack("<Q", 50_000_000) + b"{" + b" " * 49_999_998 + b"}"),
            "tensors that overlap": lambda: self.peft(_overlapping_tensors(self.tensors)),
            "tensors of 100 MB": lambda: zipped(
                (CONFIG, self.entries[CONFIG]),
                (TENSORS, header_file({"x": ("U8", [100_000_000], 100_000_000)}, dull(100_000_000))),
            ),
            "a readme of 120 MB": lambda: zipped(*self.entries.items(), ("README.txt", dull(120_000_000))),
            "tensors of 200 MB": lambda: zipped((CONFIG, self.entries[CONFIG]), (TENSORS, dull(200_000_000))),
            "a certificate with a number of 4,000 digits": lambda: self.claiming("largest_logit", "9" * 4000),
            "a certificate with an infinite logit": lambda: self.claiming("largest_logit", "1e999"),
            "a certificate with an infinite difference": lambda: self.claiming("reloaded_difference", "1e999"),
            "a certificate with a negative count": lambda: self.certified(probe_rows=-5),
            "a certificate that adds a line": lambda: self.certified(**{"a\nb\u2028": 1}),
            "a certificate of other layers": lambda: self.certified(layers={"a\nb": [1]}),
            "a certificate of another base": lambda: self.certified(base_fingerprint="\n" * 64),
            "half of it": lambda: zip_bytes(self.entries)[: len(zip_bytes(self.entries)) // 2],
            "its tensors alone": lambda: self.entries[TENSORS],
            "itself within itself": lambda: zipped(("adapter.zip", zip_bytes(self.entries))),
            "entries that overlap": lambda: overlapping(12, 2**20),
            "10 GB declared by an entry": lambda: declaring(10 * 2**30),
            "a link for its settings": lambda: zipped(
                (entry(CONFIG, 0o120777), b"/etc/passwd"), (TENSORS, self.entries[TENSORS])
            ),
            "an encrypted entry": lambda: _encrypted(zip_bytes(self.entries)),
            "a name with a terminal's commands": lambda: zipped(("../\x1b[2J\r\n", b"x"), *self.entries.items()),
            "a name as long as can be": lambda: zipped(("é" * 32_000 + ".bin", b"x"), *self.entries.items()),
            "a pickle under its tensors' name": lambda: zipped(
                (CONFIG, self.entries[CONFIG]), (TENSORS, b"\x80\x04cposix\nsystem\n(S'id'\ntR.")
            ),
            "a pickle beside it": lambda: zipped(*self.entries.items(), ("optimizer.pt", b"\x80\x04N.")),
            "an array of objects beside it": lambda: zipped(*self.entries.items(), ("x.npz", b"PK\x05\x06")),
        }


def _nothing(count: int) -> bytes:
    """A file with many empty tensors."""
    text = ",".join(f'"t{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for i in range(count))
    return struct.pack("<Q", len(text) + 2) + b"{" + text.encode() + b"}"


def _overlapping_tensors(tensors: Mapping[str, np.ndarray]) -> bytes:
    header = {
        name: {"dtype": "F32", "shape": list(value.shape), "data_offsets": [0, value.nbytes]}
        for name, value in tensors.items()
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(max(value.nbytes for value in tensors.values()))


def _encrypted(content: bytes) -> bytes:
    """The file with the encryption flag set in its directory."""
    at = content.index(b"PK\x01\x02") + 8
    return content[:at] + bytes([content[at] | 1]) + content[at + 1 :]
