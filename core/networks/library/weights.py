"""Weights in safetensors files of any size: headers checked before anything is allocated, tensors read one by one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.errors import NetworkFileError
from core.networks.library.files import printable
from core.tensor_file import MAX_HEADER, MAX_TENSORS

FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Types of tensors that are weights. Others, such as tables of positions, are computed by the architecture."""

BYTES = {
    **{"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2},
    **{"F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1},
}
"""Bytes per value of every type that a file may have."""

CHUNK = 2**22
"""Bytes to read at once."""


@dataclass(frozen=True)
class Entry:
    """One tensor as the header of a file declares it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int

    @property
    def is_weight(self) -> bool:
        """Whether its values are floating point numbers that training can start from."""
        return self.dtype in FLOATS


def read_header(path: Path) -> tuple[Entry, ...]:
    """The tensors of a file, in the order of their bytes, once the header agrees with itself and with the file's size.

    Raises:
        NetworkFileError: not a safetensors file, damaged, cut off, or of types that are not known.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_HEADER:
                raise NetworkFileError(f"{path.name:.80} is not a safetensors file, or it is damaged.")
            header: Any = json.loads(file.read(length))
        size = path.stat().st_size - 8 - length
        return _checked(header, size, path.name[:80])
    except OSError as error:
        raise NetworkFileError(f"{path.name:.80} cannot be read: {error.strerror}.") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, NetworkFileError):
            raise
        raise NetworkFileError(f"{path.name:.80} is not a safetensors file, or it is damaged.") from error


def read_weights(
    path: Path, sha256: str | None = None, check_stopped: Callable[[], None] = lambda: None
) -> dict[str, Tensor]:
    """The weights of a file by their names, as they are stored.

    Args:
        path: the file.
        sha256: expected SHA-256 of the whole file, in hex, if known.
        check_stopped: called between tensors; what it raises ends the reading.

    Raises:
        NetworkFileError: see :func:`read_header`; or the SHA-256 differs, or a value is not finite.
    """
    entries = read_header(path)
    digest = hashlib.sha256()
    weights: dict[str, Tensor] = {}
    try:
        # Not load_file, which maps the file: truncating a mapped file kills the process that uses it.
        with path.open("rb") as file:
            head = file.read(8)
            digest.update(head)
            digest.update(file.read(int.from_bytes(head, "little")))
            for entry in entries:
                check_stopped()
                content = torch.empty(entry.nbytes, dtype=torch.uint8)
                if file.readinto(content.numpy().data) != entry.nbytes:  # a file system reads whole, except at the end
                    raise NetworkFileError(f"{path.name:.80} became shorter while it was read: bring it again.")
                digest.update(content.numpy().data)
                if entry.is_weight:
                    tensor = content.view(FLOATS[entry.dtype]).reshape(entry.shape)
                    if not torch.isfinite(tensor).all():
                        raise NetworkFileError(
                            f"{path.name:.80} is damaged: {printable(entry.name)} has values that are not finite."
                        )
                    weights[entry.name] = tensor
    except OSError as error:
        raise NetworkFileError(f"{path.name:.80} cannot be read: {error.strerror}.") from error
    if sha256 is not None and digest.hexdigest() != sha256:
        raise NetworkFileError(f"{path.name:.80} is no longer what was brought: bring this network again.")
    return weights


def _checked(header: Any, size: int, file: str) -> tuple[Entry, ...]:
    """The tensors of a header. Raises: NetworkFileError; or LookupError, TypeError, ValueError: it has other fields."""
    header.pop("__metadata__", None)
    if not 0 < len(header) <= MAX_TENSORS:
        raise NetworkFileError(f"{file} must have 1 to {MAX_TENSORS:,} tensors: choose another file.")
    end, entries = 0, []
    for name, found in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape, (start, stop) = found["dtype"], found["shape"], found["data_offsets"]
        if dtype not in BYTES:
            raise NetworkFileError(
                f"{file} has numbers of the type {str(dtype)[:20]!r}: bring the network as 16-bit or 32-bit floats."
            )
        if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < 2**40 for n in (*shape, start, stop)):
            raise TypeError("a size is not a whole number")
        if start != end or stop - start != prod(shape) * BYTES[dtype]:
            raise NetworkFileError(f"{file} is damaged: the place of {printable(name)} does not fit its shape.")
        entries.append(Entry(name, dtype, tuple(shape), stop - start))
        end = stop
    if end != size:
        raise NetworkFileError(
            f"{file} is damaged or incomplete: it declares {end:,} bytes of weights, but has {max(size, 0):,}."
        )
    return tuple(entries)
