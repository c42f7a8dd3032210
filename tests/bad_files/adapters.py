"""Bad adapters: changed tensors and settings, other certificates, and files that cost much to read."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from core.adapter.archive import CERTIFICATE, CONFIG, TENSORS, json_bytes, zip_bytes
from core.networks.perceptron import PerceptronSpec
from tests.adapter.samples import A0, B0, LORA, packed, probe, trained
from tests.bad_files.catalog import BadFile, Make, Table, marked, of_kind
from tests.bad_files.networks import with_header
from tests.bad_files.zips import DEFLATED, dull, lying, many, unsafe
from tests.data.uploaded import entries_of, entry, zipped

NETWORK = PerceptronSpec(num_features=784, num_hidden_1=11, num_hidden_2=9, num_classes=10)
BASE, _model = trained(LORA, NETWORK)
SOUND = packed(BASE, _model, LORA, probe(NETWORK))
"""An adapter for a network that reads images, of rank 3."""

ENTRIES = entries_of(SOUND)
SETTINGS, CLAIMS = json.loads(ENTRIES[CONFIG]), json.loads(ENTRIES[CERTIFICATE])
STATE = safetensors.torch.load(ENTRIES[TENSORS])

beside = partial(zipped, *ENTRIES.items())
"""The adapter with more entries."""


def changed(name: str, content: bytes) -> bytes:
    """The adapter with one entry in another's place."""
    return zip_bytes(ENTRIES | {name: content})


def peft(tensors: Mapping[str, Tensor | None] | bytes | None = None, **config: object) -> bytes:
    """A file as PEFT writes it, without certificate, with some tensors or settings changed; None takes a tensor out."""
    if not isinstance(tensors, bytes):
        kept = {name: tensor for name, tensor in (STATE | dict(tensors or {})).items() if tensor is not None}
        tensors = safetensors.torch.save(kept)
    entries = {TENSORS: tensors, CONFIG: json.dumps(SETTINGS | config).encode()}
    is_large = sum(map(len, entries.values())) > 2**24  # packed, it can be uploaded
    return zipped(*entries.items()) if is_large else zip_bytes(entries)


def only(tensors: Mapping[str, Tensor], **config: object) -> bytes:
    """The same with no other tensors."""
    return peft(dict.fromkeys(STATE) | dict(tensors), **config)


def claiming(**claims: object) -> bytes:
    return changed(CERTIFICATE, json.dumps(CLAIMS | claims).encode())


def claiming_text(field: str, text: str) -> bytes:
    """The adapter with a number in its certificate that is valid in JSON but too large for Python."""
    return changed(CERTIFICATE, json.dumps(CLAIMS | {field: "here"}).replace('"here"', text).encode())


def renamed(name: str) -> dict[str, Tensor]:
    """Its tensors with another name for the first layer."""
    return {old.replace("layers.0", name): tensor.contiguous() for old, tensor in STATE.items()}


def times(factor: float) -> dict[str, Tensor]:
    return {name: tensor * factor for name, tensor in STATE.items()}


def with_value(value: float) -> dict[str, Tensor]:
    tensor = STATE[A0].clone()
    tensor.view(-1)[3] = value
    return {A0: tensor}


def of_rank(rank: int) -> bytes:
    """A consistent file with a rank far above what its layers can have."""
    shapes = {
        name: (rank, tensor.shape[1]) if ".lora_A." in name else (tensor.shape[0], rank)
        for name, tensor in STATE.items()
    }
    return peft({name: torch.zeros(shape) for name, shape in shapes.items()}, r=rank, rank_pattern={}, alpha_pattern={})


def header_file(shapes: Mapping[str, tuple[str, list[int], int]], data: bytes = b"", same_place: bool = False) -> bytes:
    """A safetensors file with arbitrary data. Args: shapes: kind, shape and bytes of each tensor."""
    place, header = 0, {}
    for name, (kind, shape, size) in shapes.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [place, place + size]}
        place += 0 if same_place else size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def overlapping() -> bytes:
    shapes = {name: ("F32", list(tensor.shape), tensor.nbytes) for name, tensor in STATE.items()}
    return header_file(shapes, bytes(max(tensor.nbytes for tensor in STATE.values())), same_place=True)


def empty_tensors(count: int) -> bytes:
    text = ",".join(f'"t{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for i in range(count))
    return struct.pack("<Q", len(text) + 2) + b"{" + text.encode() + b"}"


def about(metadata: str) -> bytes:
    """The adapter whose tensors have other metadata."""
    metadata_of = {"__metadata__": json.loads(metadata)}
    return changed(TENSORS, with_header(ENTRIES[TENSORS], lambda header: header.update(metadata_of)))


def twice(name: str) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return beside((name, ENTRIES[name]))


def saved_by_torch() -> bytes:
    target = io.BytesIO()
    torch.save(torch.zeros(3), target)
    return target.getvalue()


RANK, FLOATS, NO_PART = "which is not of rank 3", "not finite floats", "not part of a LoRA adapter"

TENSORS_CHANGED: list[tuple[dict[str, Tensor | None], str]] = [
    ({A0: None}, "lacks matrix A of layer layers.0"),
    ({B0: None}, "lacks matrix B of layer layers.0"),
    ({A0: torch.zeros(2, 784)}, rf"shape \(2, 784\), {RANK}"),
    ({A0: torch.zeros(784, 3)}, RANK),
    ({B0: torch.zeros(3, 11)}, RANK),
    ({B0: torch.zeros(3)}, RANK),
    ({A0: torch.zeros(3, 0)}, RANK),
    ({A0: torch.zeros(3, 784, 1)}, RANK),
    ({A0: torch.full((3, 784), torch.nan)}, FLOATS),
    ({B0: torch.full((11, 3), torch.inf)}, FLOATS),
    *(({A0: torch.zeros(3, 784, dtype=kind)}, FLOATS) for kind in (torch.int64, torch.float64, torch.float8_e4m3fn)),
    ({"extra": torch.zeros(1)}, f"'extra', which is {NO_PART}"),
    *(
        ({f"base_model.model.layers.0.{name}": torch.zeros(1)}, NO_PART)
        for name in ("lora_A.bias", "base_layer.weight", "lora_magnitude_vector", "lora_embedding_A")
    ),
    ({"base_model.model.layers.1.lora_A.weight": torch.zeros(3, 4)}, "layers.1, which .* does not name"),
    (dict.fromkeys(STATE), "has no adapter for any layer"),
    ({A0: None, B0: None}, r"layer layers\.0 is in only one of the two"),
]


NOT_SUPPORTED = {
    "bias": ["all", "lora_only"],
    "lora_bias": [True],
    "layers_to_transform": [[0], 0],
    "layers_pattern": ["layers"],
    "exclude_modules": [["layers.4"]],
    "target_parameters": [["layers.0.weight"]],
    "trainable_token_indices": [[1]],
    "use_qalora": [True],
    "alora_invocation_tokens": [[1]],
    "layer_replication": [[[0, 2]]],
    "loftq_config": [{"loftq_bits": 4}],
    "megatron_config": [{"a": 1}],
    "use_bdlora": [{"nblocks": 2}],
    "velora_config": [{"a": 1}],
    "of_2031": [1],
}
"""Values of settings that mean another adapter than LoRA Lab can read."""

UNUSABLE, OF_256 = "selection of layers in .* cannot be used", "pattern of more than 256 characters"
SETTINGS_CHANGED: list[tuple[str, str, list[Any]]] = [
    ("peft_type", "only LORA", ["IA3", None, ["LORA"]]),
    *[(name, f"uses {name}=.*, which is not supported", values) for name, values in NOT_SUPPORTED.items()],
    ("init_lora_weights", "changes the base", ["pissa", "olora", "corda", "loftq", "mica", ["x"]]),
    ("r", "A rank", [0, -1, 1.5, "3", True, None, 10**9, [3]]),
    ("r", "which is not of rank 4", [4]),
    ("rank_pattern", "A rank", [{"layers.0": rank} for rank in (0, "3", None)]),
    ("rank_pattern", "rank_pattern", [["layers.0"]]),
    ("rank_pattern", "which is not of rank 2", [{"layers.2": 2}]),
    ("rank_pattern", OF_256, [{"x" * 255 + ".*": 3}]),
    ("rank_pattern", "rank_pattern in .* has 101 patterns", [{f"a{i}.*": 3 for i in range(101)}]),
    ("rank_pattern", "rank_pattern in .* has 4,097 names", [{f"a{i}": 3 for i in range(4097)}]),
    ("lora_alpha", "A lora_alpha", [0, -1, "8", True, None, 10**400, [8]]),
    ("alpha_pattern", "A lora_alpha", [{"layers.0": alpha} for alpha in (0, "3", None)]),
    ("alpha_pattern", UNUSABLE, [{"(": 3}]),
    ("target_modules", "target_modules", [None, [], [3], {"layers.0": 1}, 3]),
    ("target_modules", UNUSABLE, ["[", "layers.[a", "(", r"\1", r"layers\.\N"]),
    ("target_modules", OF_256, ["x" * 999]),
    ("target_modules", "a name of more than 256 characters", [["layers.0", "a." * 200_000 + "a"]]),
    (
        "target_modules",
        "does not name",
        [
            *("(a+)+$", "(.*)*x", "(?=a)", "(?i:a)", "(a)(?(1)b|c)", "a++", "(a|b){2}", "a#b", "a?" * 22),
            ["layers.0", "layers.2"],
        ],
    ),
    (
        "modules_to_save",
        "modules_to_save in .* must name",
        ["layers.4", {"layers.4": 1}, [3], ["(a+)+$"], [""], 3, True, ["a." * 200_000 + "a"]],
    ),
    ("modules_to_save", "modules_to_save in .* has 65 names", [[f"a{i}" for i in range(65)]]),
    ("modules_to_save", "an adapter for layer layers.4, which .* has trained whole", [["layers.4"]]),
    ("use_rslora", "use_rslora", ["yes", 1]),
]
"""Settings, a part of the sentence, and values that have it."""

CLAIMED: list[tuple[str, str, list[Any]]] = [
    ("parameters", "parameters differs", [1]),
    ("rank", "rank differs", [4]),
    ("layers", "layers differs", [{"layers.0": 3}]),
    *[(name, f"{name} differs", ["0" * 64]) for name in ("tensors_sha256", "config_sha256", "base_fingerprint")],
    ("parameters", "unusable parameters", ["97"]),
    ("rank", "unusable rank", [True]),
    ("layers", "unusable layers", [None]),
    ("merged_difference", "unusable merged_difference", ["0"]),
    ("signed_by", "lacks or adds fields: signed_by", ["me"]),
]
"""The same of claims of the certificate."""

SLOW_SELECTIONS: list[dict[str, Any]] = [
    {"target_modules": "(.|.|.|.)" * 6 + "(.*)*x"},
    {"rank_pattern": {f"(a+)+{number}": 3 for number in range(100)}},
    {"alpha_pattern": {"(?:a|a|a)*b": 3}, "target_modules": ".*"},
]
"""Settings whose expressions would take minutes for a long name: a file has one budget for all."""

JUNK = [b"", b"{", b"[]", b"3", b"\xff\xfe", b"[" * 100_000, b'{"r": NaN}', b'{"r": ' + b"9" * 9_999 + b"}"]


def of_values(cases: list[tuple[str, str, list[Any]]], make: Callable[..., bytes]) -> Table:
    """Files with each of the values. Args: make: makes one with a setting."""
    return {
        f"{name} = {value!r:.60} ({number})": (partial(make, **{name: value}), says)
        for number, (name, says, values) in enumerate(cases)
        for value in values
    }


MISSING, CODE, NO_TENSORS = "is missing", "run code", "has no adapter_model"

ZIPS: Table = {
    "empty": (lambda: b"", "not a zip file"),
    "text": (lambda: b"hello" * 99, "not a zip file"),
    "pickle": (lambda: pickle.dumps({"a": [1]}), "not a zip file"),
    "its tensors alone": (lambda: ENTRIES[TENSORS], "is a safetensors file: an adapter is a zip .* in the Library"),
    "a network": (
        lambda: zipped(("config.json", b"{}"), ("model.safetensors", ENTRIES[TENSORS]), ("tokenizer.json", b"{}")),
        "is a whole network, not an adapter: import it in the Library",
    ),
    "a network in a folder, with a large tokenizer": (
        lambda: zipped(("m/config.json", b"{}"), ("m/tokenizer.json", random.Random(0).randbytes(2**21))),
        "is a whole network, not an adapter",
    ),
    "itself within itself": lambda: zipped(("adapter.zip", SOUND)),
    "no entries": (lambda: zip_bytes({}), "exactly once, not 0 times"),
    "no tensors": (lambda: zip_bytes({CONFIG: ENTRIES[CONFIG]}), f"{NO_TENSORS}.safetensors"),
    "tensors elsewhere": (lambda: zip_bytes({CONFIG: ENTRIES[CONFIG], f"a/{TENSORS}": ENTRIES[TENSORS]}), NO_TENSORS),
    "two configs": (lambda: beside((f"a/{CONFIG}", ENTRIES[CONFIG])), "exactly once, not 2 times"),
    "one config twice": (lambda: twice(CONFIG), "two entries with the same name"),
    "a link for its settings": (lambda: zipped((entry(CONFIG, 0o120777), b"/etc/passwd")), "link or a device"),
    "more entries than fit": (lambda: beside(*((f"f{i}", b"") for i in range(70))), "more than 64 entries"),
    "a little zip of much": (
        lambda: beside((entry("b", how=DEFLATED), (random.Random(0).randbytes(2**11) + bytes(2**16)) * 800)),
        "unpacks to more than 48 MiB",
    ),
    "a readme of 120 MB": lambda: beside(("README.txt", dull(120_000_000))),
    "a name as long as can be": lambda: beside(("é" * 32_000 + ".bin", b"x")),
    "large text": (lambda: beside(("LICENSE", random.Random(0).randbytes(2**21))), "too large"),
    **{
        f"pickle {end}": (lambda e=end: beside((f"a{e}", b"\x80\x04.")), CODE)
        for end in (".bin", ".pt", ".PKL", ".pth")
    },
    "an array of objects beside it": (lambda: beside(("x.npz", b"PK\x05\x06")), CODE),
    "saved by torch": (saved_by_torch, CODE),
    "no certificate": (lambda: zip_bytes({name: ENTRIES[name] for name in (CONFIG, TENSORS)}), MISSING),
    "a certificate of another file": (lambda: changed(TENSORS, safetensors.torch.save(STATE)), MISSING),
    "settings that are not certified": (
        lambda: changed(CONFIG, json_bytes(SETTINGS | {"lora_alpha": 50})),
        "config_sha256 differs",
    ),
    **{
        f"{junk[:12]!r} as {name}": (partial(changed, name, junk), name)
        for name in (CONFIG, CERTIFICATE)
        for junk in JUNK
    },
    **{
        f"{content!r} as tensors": (partial(changed, TENSORS, content), "not a safetensors file")
        for content in (b"", b"\x80\x04cposix\nsystem\n(S'id'\ntR.", bytes(8), b"\xff" * 16, pickle.dumps({"a": 1}))
    },
    **{
        f"metadata {text}": (partial(about, text), "")
        for text in ("null", "{}", '{"base_fingerprint": 3}', '{"base_fingerprint": null}', "[]")
    },
}

LONG_NAME = "a." * 20_000 + "b"
LAYERS = [f"l{number}" for number in range(10_000)]

COSTLY: dict[str, Make] = {
    "a value that is no number": lambda: peft(with_value(torch.nan)),
    "an infinite value": lambda: peft(with_value(-torch.inf)),
    "a value as large as can be": lambda: peft(with_value(3e38)),
    "weights that overflow": lambda: peft(times(1e30)),
    "an alpha as large as can be": lambda: peft(times(1e18), lora_alpha=1e9),
    "an infinite alpha": lambda: peft(lora_alpha=float("inf")),
    "a rank of 4,000 digits": lambda: peft(r=10**4000),
    "a rank far above its layers'": lambda: of_rank(8192),
    "another shape": lambda: peft({name: tensor.T.contiguous() for name, tensor in STATE.items()}),
    "whole numbers": lambda: peft({name: tensor.int() for name, tensor in STATE.items()}),
    "a layer of another name": lambda: only(renamed("fc1")),
    "a layer with a line break": lambda: only(renamed("a\nb")),
    "a layer with control characters": lambda: only(renamed("a\r\x1b[31m\u2028\u202eb")),
    "a layer with a very long name": lambda: only(renamed("layers." + "x" * 100_000)),
    "a pattern that takes long": lambda: only(renamed(LONG_NAME), target_modules="all-linear", rank_pattern={".*x": 3}),
    "layers chosen by alternatives": lambda: chosen(target_modules="(.|.|.|.)" * 20 + "(.*)*x"),
    "layers chosen by repetitions": lambda: chosen(target_modules="(a*)*" * 20 + "(.*)*(.*)*x"),
    "ranks chosen by repetitions": lambda: chosen(rank_pattern={"(.*)*(.*)*x" * 3: 3}),
    "a million tensors of nothing": lambda: peft(empty_tensors(900_000)),
    "twenty thousand layers": lambda: only(
        {f"base_model.model.{layer}.lora_{x}.weight": torch.zeros(1, 1) for layer in LAYERS for x in "AB"},
        **{"r": 1, "target_modules": [*LAYERS, *map(str, LAYERS)], "rank_pattern": {}, "alpha_pattern": {}},
    ),
    "fifty thousand patterns": lambda: peft(rank_pattern={f"layers.{i}x{i}": 3 for i in range(50_000)}),
    "a hundred thousand targets": lambda: peft(target_modules=[f"t{i}" for i in range(100_000)]),
    "a target with a line break": lambda: peft(target_modules=[*SETTINGS["target_modules"], "a\nb"]),
    "a target with control characters": lambda: peft(target_modules=["\x1b[2J\r\u2029"]),
    "a setting with a line break": lambda: peft(**{"a\nb": "c\nd"}),
    "a kind with control characters": lambda: peft(peft_type="LORA\u2028\x07"),
    "settings nested ten thousand deep": lambda: changed(
        CONFIG, b'{"peft_type":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    ),
    "settings of lists": lambda: peft(unknown=[[]] * 5_000_000),
    "settings of 60 MB": lambda: peft(unknown=[""] * 15_000_000),
    "10 GB declared by a tensor": lambda: peft(header_file({A0: ("F32", [50_000, 50_000], 10**10)})),
    "a shape beyond all bytes": lambda: peft(header_file({A0: ("F32", [2**62, 2**62], 16)}, bytes(16))),
    "a header of 2⁶³ bytes": lambda: peft(struct.pack("<Q", 2**63) + b"{}"),
    "a header of 100 MB": lambda: peft(struct.pack("<Q", 10**8) + b"{" + b" " * 1000),
    "a header of blanks": lambda: peft(struct.pack("<Q", 50_000_000) + b"{" + b" " * 49_999_998 + b"}"),
    "tensors that overlap": lambda: peft(overlapping()),
    "tensors of 100 MB": lambda: peft(header_file({"x": ("U8", [100_000_000], 100_000_000)}, dull(100_000_000))),
    "tensors of 200 MB": lambda: peft(dull(200_000_000)),
    "a certificate with a number of 4,000 digits": lambda: claiming_text("largest_logit", "9" * 4000),
    "a certificate with an infinite logit": lambda: claiming_text("largest_logit", "1e999"),
    "a certificate with an infinite difference": lambda: claiming_text("reloaded_difference", "1e999"),
    "a certificate with a negative count": lambda: claiming(probe_rows=-5),
    "a certificate that adds a line": lambda: claiming(**{"a\nb\u2028": 1}),
    "a certificate of other layers": lambda: claiming(layers={"a\nb": [1]}),
    "a certificate of another base": lambda: claiming(base_fingerprint="\n" * 64),
}


def chosen(**config: object) -> bytes:
    return only(renamed("a." * 105 + "b"), **config)


LONG = (
    *("a readme of 120 MB", "tensors of 200 MB", "settings of 60 MB", "layers chosen by alternatives"),
    *("layers chosen by repetitions", "ranks chosen by repetitions", "tensors of 100 MB", "twenty thousand layers"),
    *("a million tensors of nothing", "fifty thousand patterns"),
)
VALID = (
    "a value as large as can be",  # finite, and it may change no output where its unit is inactive
    "a target with a line break",  # a name of no layer, which PEFT allows beside others
)
SLOW = "The selection of layers in .* takes more than 2 seconds"


def bad_files() -> list[BadFile]:
    tensors: Table = {f"tensors {n}": (partial(peft, each), says) for n, (each, says) in enumerate(TENSORS_CHANGED)}
    changes = {**tensors, **of_values(SETTINGS_CHANGED, peft), **of_values(CLAIMED, claiming)}
    found = (
        of_kind("adapter", changes, is_alike=True)
        + of_kind("adapter", ZIPS)
        + of_kind("adapter", unsafe(beside, 12) | COSTLY, is_hostile=True)
    )
    size, name = 2**27 + 0x30201, A0.replace("layers.0", "a" * 200)
    bomb = (entry("b.safetensors", how=DEFLATED), bytes(size))
    slow: Table = {
        f"a slow selection, {n}": (partial(peft, {name: torch.zeros(3, 784)}, **each), SLOW)
        for n, each in enumerate(SLOW_SELECTIONS)
    }
    return [
        *marked(marked(found, LONG, is_long=True), VALID, is_valid=True),
        *(replace(file, cpu=1.0, is_long=number > 0) for number, file in enumerate(of_kind("adapter", slow))),
        BadFile("adapter", "lying bomb", lambda: lying(beside(bomb), size), allocates=2**24, is_long=True),
        BadFile("adapter", "very many entries", lambda: many(10_000), "more than 64 entries", allocates=2**20),
    ]
