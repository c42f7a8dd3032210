"""Values between the reader and its caller, in MessagePack.

A value is decoded by its declared type, so that a process which a hostile file has taken over can return wrong data,
and nothing else. To the types of msgspec come NumPy arrays of numbers, paths, and classes of errors.
"""

from __future__ import annotations

import math
import os
import typing
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from core import errors


def encode(value: Any) -> bytes:
    """Encode a value. Raises: NotImplementedError: it cannot be passed to or from the reader."""
    return msgspec.msgpack.encode(value, enc_hook=_encoded)


def encode_parts(values: Collection[Any]) -> list[bytes]:
    """Encode a list of values in parts to be sent one after the other; a file among them is a part, not copied.

    Raises:
        NotImplementedError: one cannot be passed to or from the reader.
    """
    parts = [b"\xdc" + len(values).to_bytes(2, "big")]
    for value in values:
        if isinstance(value, bytes):
            parts += [b"\xc6" + len(value).to_bytes(4, "big"), value]
        else:
            parts.append(encode(value))
    return parts


def decode(kind: Any, content: bytes | bytearray | memoryview) -> Any:
    """Decode a value; its arrays are read-only views of ``content``.

    Raises:
        ValidationError: it is not of that type.
    """
    return msgspec.msgpack.decode(content, type=kind, dec_hook=_decoded, ext_hook=lambda code, data: data)


def _encoded(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        parts = [array.dtype.str, array.shape, array.reshape(-1).view(np.uint8).data]
        return msgspec.msgpack.Ext(1, msgspec.msgpack.encode(parts))
    if isinstance(value, Path):
        return os.fsencode(value)  # a name need not be UTF-8
    if isinstance(value, type) and issubclass(value, errors.LabError):
        return value.__name__
    raise NotImplementedError(f"A {type(value).__name__} cannot be passed to or from the reader.")


def _decoded(kind: Any, found: Any) -> Any:
    """A value that msgspec does not know, from what it was encoded as."""
    if kind is Path and isinstance(found, bytes):
        return Path(os.fsdecode(found))
    if typing.get_origin(kind) is np.ndarray and isinstance(found, memoryview):
        return _array(typing.get_args(typing.get_args(kind)[1])[0], found)
    error = getattr(errors, found, None) if isinstance(found, str) else None
    if isinstance(error, type) and issubclass(error, errors.LabError):
        return error
    raise ValueError(f"this is no {kind}")


def _array(kind: Any, content: memoryview) -> np.ndarray[Any, Any]:
    """An array whose values are of a kind. Raises: ValueError: it has others, or another size."""
    name, shape, data = msgspec.msgpack.decode(content, type=tuple[str, tuple[int, ...], memoryview])
    dtype = np.dtype(name)
    if dtype.kind not in "buif" or not issubclass(dtype.type, kind) or min(shape, default=0) < 0:
        raise ValueError(f"an array has values of the type {dtype}")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError("an array has another size than its bytes")
    array = np.frombuffer(data, dtype).reshape(shape)
    array.flags.writeable = False
    return array
