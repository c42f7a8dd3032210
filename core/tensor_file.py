"""Serialize safetensors files, and read untrusted ones within limits."""

from __future__ import annotations

import json
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from core.errors import LabError
from core.memory import is_out_of_memory

MAX_HEADER = 2**20
"""Maximum bytes of a header. The library allows a hundred times as many, enough for a million empty tensors."""

MAX_TENSORS = 4096
"""Maximum tensors per file: a transformer of a hundred layers, or its adapter by DoRA, has some two thousand."""


def tensors_bytes(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """Serialize contiguous CPU tensors to a safetensors file.

    Raises:
        MemoryError: out of memory.
    """
    try:
        return safetensors.torch.save(tensors, metadata=metadata)
    except BaseException as error:
        # The library's Rust code panics if Python is out of memory, and `except Exception` does not catch a panic.
        if type(error).__name__ == "PanicException":
            raise MemoryError from error
        raise


def with_sorted_header(content: bytes) -> bytes:
    """A file with its header sorted, so that the same tensors and metadata give the same bytes.

    The library writes metadata of more than one key in random order.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]


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
