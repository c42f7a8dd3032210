"""Serialize safetensors files, and read untrusted ones within limits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from core.errors import LabError
from core.memory import is_out_of_memory

MAX_HEADER = 2**20
"""Maximum bytes of a header. The library allows a hundred times as many, enough for a million empty tensors."""

MAX_TENSORS = 4096
"""Maximum tensors per file: a transformer of a hundred layers, or its adapter by DoRA, has some two thousand."""


TYPES = {
    torch.uint64: "U64",
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.uint32: "U32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint16: "U16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""What the format calls the types of tensors, in the order in which they lie in a file."""


def tensors_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Serialize CPU tensors to a safetensors file: always the same bytes, and no copy of a tensor beside them.

    With one key of metadata these are the bytes that the library writes; more keys it writes in random order, and here
    the header is sorted.

    Raises:
        MemoryError: out of memory.
    """
    names, header = _header(tensors, metadata)
    return b"".join([header, *(_raw(tensors[name]) for name in names)])


def tensors_size(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> int:
    """Number of bytes that :func:`tensors_bytes` gives."""
    names, header = _header(tensors, metadata)
    return len(header) + sum(tensors[name].nbytes for name in names)


def _header(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> tuple[list[str], bytes]:
    """Names in the order in which the tensors lie in the file, and all that comes before them."""
    order = list(TYPES)
    names = sorted(tensors, key=lambda name: (order.index(tensors[name].dtype), name))
    place = 0
    about: dict[str, Any] = {"__metadata__": dict(metadata)}
    for name in names:
        tensor, end = tensors[name], place + tensors[name].nbytes
        about[name] = {"dtype": TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [place, end]}
        place = end
    is_sorted = len(metadata) > 1
    text = json.dumps(about, sort_keys=is_sorted, separators=(",", ":"), ensure_ascii=is_sorted).encode()
    text += b" " * (-len(text) % 8)
    return names, len(text).to_bytes(8, "little") + text


def _raw(tensor: Tensor) -> memoryview:
    """A tensor's own bytes."""
    return tensor.detach().reshape(-1).view(torch.uint8).numpy().data


def read_tensors(content: bytes, what: str, error: type[LabError]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the metadata of a file.

    Args:
        content: the file.
        what: subject of error messages, such as ``The file``.
        error: class of the exceptions to raise.

    Raises:
        error: not a safetensors file, damaged, or too many tensors.
    """
    length = int.from_bytes(content[:8], "little")
    if len(content) >= 8 + length > 8 + MAX_HEADER:
        raise error(f"{what} has a header of more than {MAX_HEADER // 2**20} MiB: choose another file.")
    damaged = f"{what} is not a safetensors file, or it is damaged."
    try:
        header: Any = json.loads(content[8 : 8 + min(length, MAX_HEADER)])
        metadata = header.get("__metadata__") or {}
        if len(header) > MAX_TENSORS + 1:
            raise error(f"{what} has more than {MAX_TENSORS:,} tensors: choose another file.")
        # The library validates the header completely.
        return safetensors.torch.load(content), dict(metadata)
    except LabError:
        raise
    except (
        safetensors.SafetensorError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RuntimeError,
        AssertionError,
    ) as cause:
        if is_out_of_memory(cause):
            raise
        raise error(damaged) from cause
