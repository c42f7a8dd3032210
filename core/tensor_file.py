"""Serialize safetensors files, and read untrusted ones within limits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from core.errors import LabError, printable
from core.memory import is_out_of_memory

MAX_HEADER = 2**20
"""Maximum bytes of a header. The library allows a hundred times as many, enough for a million empty tensors."""

MAX_TENSORS = 4096
"""Maximum tensors per file: a transformer of a hundred layers, or its adapter by DoRA, has some two thousand."""


MAX_DIMENSIONS = 64
"""Maximum dimensions of a tensor, those of torch."""

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


FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Types of tensors that are weights. Others, such as tables of positions, are computed by the architecture."""

BYTES = {
    **{"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2},
    **{"F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1},
}
"""Bytes per value of every type that a file may have."""


@dataclass(frozen=True)
class TensorEntry:
    """One tensor as the header of a file declares it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int

    @property
    def is_weight(self) -> bool:
        """Whether its values are floating point numbers that training can start from."""
        return self.dtype in FLOATS


def header_entries(file: BinaryIO, size: int, what: str, error: type[LabError]) -> tuple[TensorEntry, ...]:
    """The tensors of a file, in the order of their bytes, once its header agrees with itself and with its size.

    Args:
        file: open at its beginning; left behind the header.
        size: bytes of the file.
        what: subject of error messages.
        error: class of the exceptions to raise.

    Raises:
        error: not a safetensors file, damaged, cut off, or with too many tensors or types that are not known.
    """
    damaged = error(f"{what} is not a safetensors file, or it is damaged.")
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        raise (
            damaged
            if length > size - 8
            else error(f"{what} has a header of more than {MAX_HEADER // 2**20} MiB: choose another file.")
        )
    try:
        return _entries(json.loads(file.read(length)), size - 8 - length, what, error)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as cause:
        raise cause if isinstance(cause, LabError) else damaged from cause


def _entries(header: Any, size: int, what: str, error: type[LabError]) -> tuple[TensorEntry, ...]:
    """The tensors of a header. Raises: error; or LookupError, TypeError, ValueError: it has other fields."""
    header.pop("__metadata__", None)
    if not 0 < len(header) <= MAX_TENSORS:
        raise error(f"{what} must have 1 to {MAX_TENSORS:,} tensors: choose another file.")
    end, entries = 0, []
    for name, found in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape, (start, stop) = found["dtype"], found["shape"], found["data_offsets"]
        if dtype not in BYTES:
            raise error(
                f"{what} has numbers of the type {str(dtype)[:20]!r}: import the network as 16-bit or 32-bit floats."
            )
        if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < 2**40 for n in (*shape, start, stop)):
            raise TypeError("a size is not a whole number")
        if len(shape) > MAX_DIMENSIONS or prod(size or 1 for size in shape) >= 2**63:
            raise ValueError("torch has no such tensors")
        if start != end or stop - start != prod(shape) * BYTES[dtype]:
            raise error(f"{what} is damaged: the place of {printable(name)} does not fit its shape.")
        entries.append(TensorEntry(name, dtype, tuple(shape), stop - start))
        end = stop
    if end != size:
        raise error(f"{what} is damaged or incomplete: it declares {end:,} bytes of weights, but has {max(size, 0):,}.")
    return tuple(entries)


def read_tensors(
    content: bytes, what: str, error: type[LabError], per_parameter: int = 1
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the metadata of a file.

    Args:
        content: the file.
        what: subject of error messages, such as ``The file``.
        error: class of the exceptions to raise.
        per_parameter: how many tensors the file may have for each parameter of a network.

    Raises:
        error: not a safetensors file, damaged, or too many tensors.
    """
    length = int.from_bytes(content[:8], "little")
    max_header, max_tensors = per_parameter * MAX_HEADER, per_parameter * MAX_TENSORS
    if len(content) >= 8 + length > 8 + max_header:
        raise error(f"{what} has a header of more than {max_header // 2**20} MiB: choose another file.")
    damaged = f"{what} is not a safetensors file, or it is damaged."
    try:
        header: Any = json.loads(content[8 : 8 + min(length, max_header)])
        metadata = header.get("__metadata__") or {}
        if len(header) > max_tensors + 1:
            raise error(f"{what} has more than {max_tensors:,} tensors: choose another file.")
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
