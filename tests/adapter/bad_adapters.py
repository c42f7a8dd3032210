"""Everything that could be wrong with an adapter file: what is changed, and a word of the sentence."""

from __future__ import annotations

import pickle
import random
import stat
import zipfile
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from core.adapter.archive import CONFIG, TENSORS, zip_bytes
from tests.adapter.samples import ENTRIES, _named, _nameless, zipped
from tests.data.uploaded import Make, entry

A0, B0 = ("base_model.model.layers.0.lora_A.weight", "base_model.model.layers.0.lora_B.weight")
BAD_TENSORS: list[tuple[dict[str, Tensor | None], str]] = [
    ({A0: None}, "lacks matrix A of layer layers.0"),
    ({B0: None}, "lacks matrix B of layer layers.0"),
    ({A0: torch.zeros(2, 12)}, r"shape \(2, 12\), which is not of rank 3"),
    ({A0: torch.zeros(12, 3)}, "which is not of rank 3"),
    ({B0: torch.zeros(3, 11)}, "which is not of rank 3"),
    ({B0: torch.zeros(3)}, "which is not of rank 3"),
    ({A0: torch.zeros(3, 0)}, "which is not of rank 3"),
    ({A0: torch.zeros(3, 12, 1)}, "which is not of rank 3"),
    ({A0: torch.full((3, 12), torch.nan)}, "not finite floats"),
    ({B0: torch.full((11, 3), torch.inf)}, "not finite floats"),
    ({A0: torch.zeros(3, 12, dtype=torch.int64)}, "not finite floats"),
    ({A0: torch.zeros(3, 12, dtype=torch.float64)}, "not finite floats"),
    ({A0: torch.zeros(3, 12, dtype=torch.float8_e4m3fn)}, "not finite floats"),
    ({"extra": torch.zeros(1)}, "'extra', which is not part of a LoRA adapter"),
    ({"base_model.model.layers.0.lora_A.bias": torch.zeros(1)}, "not part of a LoRA adapter"),
    ({"base_model.model.layers.0.base_layer.weight": torch.zeros(1)}, "not part of a LoRA adapter"),
    ({"base_model.model.layers.0.lora_magnitude_vector": torch.zeros(1)}, "not part of a LoRA adapter"),
    ({"base_model.model.layers.0.lora_embedding_A": torch.zeros(1)}, "not part of a LoRA adapter"),
    ({"base_model.model.layers.1.lora_A.weight": torch.zeros(3, 4)}, "layers.1, which .* does not name"),
    (dict.fromkeys(safetensors.torch.load(ENTRIES[TENSORS])), "has no adapter for any layer"),
]


BAD_CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"peft_type": "IA3"}, "only LORA"),
    ({"peft_type": None}, "only LORA"),
    ({"peft_type": ["LORA"]}, "only LORA"),
    *[
        ({name: value}, f"uses {name}=.* which is not supported")
        for name, value in {
            "bias": "all",
            "lora_bias": True,
            "layers_to_transform": [0],
            "layers_pattern": "layers",
            "exclude_modules": ["layers.4"],
            "target_parameters": ["layers.0.weight"],
            "trainable_token_indices": [1],
            "use_qalora": True,
            "alora_invocation_tokens": [1],
            "layer_replication": [[0, 2]],
            "loftq_config": {"loftq_bits": 4},
            "megatron_config": {"a": 1},
            "use_bdlora": {"nblocks": 2},
            "velora_config": {"a": 1},
            "of_2031": 1,
        }.items()
    ],
    ({"layers_to_transform": 0}, "uses layers_to_transform=0, which is not supported"),
    ({"bias": "lora_only"}, "uses bias='lora_only', which is not supported"),
    *[({"init_lora_weights": how}, "changes the base") for how in ("pissa", "olora", "corda", "loftq", "mica", ["x"])],
    *[({"r": rank}, "A rank") for rank in (0, -1, 1.5, "3", True, None, 10**9, [3])],
    *[({"rank_pattern": {"layers.0": rank}}, "A rank") for rank in (0, "3", None)],
    *[({"lora_alpha": alpha}, "A lora_alpha") for alpha in (0, -1, "8", True, None, 10**400, [8])],
    *[({"alpha_pattern": {"layers.0": alpha}}, "A lora_alpha") for alpha in (0, "3", None)],
    *[({"target_modules": value}, "target_modules") for value in (None, [], [3], {"layers.0": 1}, 3)],
    *[
        ({"target_modules": value}, "selection of layers in .* cannot be used")
        for value in ("[", "layers.[a", "(", r"\1", r"layers\.\N")
    ],
    *[
        ({"target_modules": value}, "does not name")
        for value in ("(a+)+$", "(.*)*x", "(?=a)", "(?i:a)", "(a)(?(1)b|c)", "a++", "(a|b){2}", "a#b", "a?" * 22)
    ],
    ({"target_modules": "x" * 999}, "pattern of more than 256 characters"),
    *[
        ({"modules_to_save": value}, "modules_to_save in .* must name")
        for value in ("layers.4", {"layers.4": 1}, [3], ["(a+)+$"], [""], 3, True)
    ],
    ({"modules_to_save": [f"a{i}" for i in range(65)]}, "modules_to_save in .* has 65 names"),
    ({"modules_to_save": ["layers.4"]}, "an adapter for layer layers.4, which .* has trained whole"),
    ({"target_modules": ["layers.0", "a." * 200_000 + "a"]}, "a name of more than 256 characters"),
    ({"modules_to_save": ["a." * 200_000 + "a"]}, "modules_to_save in .* must name"),
    ({"rank_pattern": {"x" * 255 + ".*": 3}}, "pattern of more than 256 characters"),
    ({"rank_pattern": {f"a{i}.*": 3 for i in range(101)}}, "rank_pattern in .* has 101 patterns"),
    ({"rank_pattern": {f"a{i}": 3 for i in range(4097)}}, "rank_pattern in .* has 4,097 names"),
    ({"alpha_pattern": {"(": 3}}, "selection of layers in .* cannot be used"),
    ({"rank_pattern": ["layers.0"]}, "rank_pattern"),
    ({"use_rslora": "yes"}, "use_rslora"),
    ({"use_rslora": 1}, "use_rslora"),
    ({"rank_pattern": {"layers.2": 2}}, "which is not of rank 2"),
    ({"r": 4}, "which is not of rank 4"),
    ({"target_modules": ["layers.0", "layers.2"]}, "does not name"),
]


JUNK = [b"", b"{", b"[]", b"3", b"\xff\xfe", b"[" * 100_000, b'{"r": NaN}', b'{"r": ' + b"9" * 9_999 + b"}"]


BAD_ZIPS: dict[str, tuple[Make, str]] = {
    "empty": (lambda: b"", "not a zip file"),
    "text": (lambda: b"hello" * 99, "not a zip file"),
    "pickle": (lambda: pickle.dumps({"a": [1]}), "not a zip file"),
    "no entries": (lambda: zip_bytes({}), "exactly once, not 0 times"),
    "no tensors": (lambda: zip_bytes({CONFIG: ENTRIES[CONFIG]}), "has no adapter_model.safetensors"),
    "tensors elsewhere": (
        lambda: zip_bytes({CONFIG: ENTRIES[CONFIG], f"a/{TENSORS}": ENTRIES[TENSORS]}),
        "has no adapter_model",
    ),
    "two configs": (lambda: zipped((f"a/{CONFIG}", ENTRIES[CONFIG])), "exactly once, not 2 times"),
    "many entries": (lambda: zipped(*((f"f{i}", b"") for i in range(20))), "more than 16 entries"),
    "very many entries": (lambda: zipped(*((f"f{i}", b"") for i in range(2000))), "more than 16 entries"),
    "parent folder": (lambda: zipped(("../evil", b"1")), "unsafe name"),
    "inner parent": (lambda: zipped(("a/../../evil", b"1")), "unsafe name"),
    "absolute": (lambda: _named("/etc/passwd"), "unsafe name"),
    "backslash": (lambda: _named("..\\evil"), "unsafe name"),
    "drive": (lambda: zipped(("c:evil", b"1")), "unsafe name"),
    "no name": (lambda: _nameless(), "unsafe name"),
    "null": (lambda: _named("note\0.bin"), "unsafe name"),
    "symbolic link": (lambda: zipped((entry("link", stat.S_IFLNK | 0o777), b"/etc/passwd")), "a link or a device"),
    "device": (lambda: zipped((entry("null", stat.S_IFCHR | 0o666), b"")), "a link or a device"),
    "bzip2": (lambda: zipped((entry("note.txt", how=zipfile.ZIP_BZIP2), b"1")), "uses an unusual compression"),
    "lzma": (lambda: zipped((entry("note.txt", how=zipfile.ZIP_LZMA), b"1")), "uses an unusual compression"),
    "bomb": (
        lambda: zipped((entry("b.safetensors", how=zipfile.ZIP_DEFLATED), bytes(2**25))),
        "implausible compression ratio",
    ),
    "a little zip of much": (
        lambda: zipped(
            (entry("b.safetensors", how=zipfile.ZIP_DEFLATED), (random.Random(0).randbytes(2**11) + bytes(2**16)) * 800)
        ),
        "unpacks to more than 48 MiB",
    ),
    "large text": (lambda: zipped(("LICENSE", random.Random(0).randbytes(2**21))), "too large"),
    **{
        f"pickle {end}": (lambda end=end: zipped((f"a{end}", b"\x80\x04.")), "run code")
        for end in (".bin", ".pt", ".PKL", ".pth")
    },
}
