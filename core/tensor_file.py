"""Safetensors files in memory: made, and read with a header within bounds before anything is built of them."""

from __future__ import annotations

import json
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from core.errors import LabError
from core.memory import is_out_of_memory

MAX_HEADER = 2**20
"""Bytes of a header. The library takes a hundred times as many, which is a million tensors of nothing."""

MAX_TENSORS = 1024
"""Tensors of a file; a network or adapter of LoRA Lab has six."""


def tensors_bytes(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """The safetensors file of contiguous tensors on the CPU.

    Raises:
        MemoryError: there is no memory for it.
    """
    try:
        return safetensors.torch.save(tensors, metadata=metadata)
    except BaseException as error:
        # The library's own code panics where Python has no memory for the file, and no `except Exception` sees a panic.
        if type(error).__name__ == "PanicException":
            raise MemoryError from error
        raise


def read_tensors(content: bytes, what: str, error: type[LabError]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a file.

    Args:
        content: the file.
        what: begins the sentences of errors, as in ``The file``.
        error: what is raised; its text is one sentence.

    Raises:
        error: not a safetensors file, damaged, or with more tensors than anything here has.
    """
    length = int.from_bytes(content[:8], "little")
    if len(content) >= 8 + length > 8 + MAX_HEADER:
        raise error(f"{what} has a header of more than {MAX_HEADER // 2**20} MiB: choose another file.")
    damaged = f"{what} is no safetensors file, or it is damaged."
    try:
        header: Any = json.loads(content[8 : 8 + min(length, MAX_HEADER)])
        metadata = header.get("__metadata__") or {}
        if len(header) > MAX_TENSORS + 1:
            raise error(f"{what} has more than {MAX_TENSORS:,} tensors: choose another file.")
        # The library checks the header once more, in full.
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
