"""Values between the reader and its caller: JSON, with the bytes of arrays behind it.

A value is decoded by its declared type and refused if it has another shape, so that a process which a hostile file has
taken over can return wrong data, and nothing else. Types are None, truth values, numbers, strings, bytes, paths, NumPy
arrays of numbers, tuples, lists, mappings from strings, optional values, classes of errors, dataclasses of these, and
``Any`` for plain JSON.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core import errors

NUMBERS = "buif"
"""Kinds of NumPy types that an array may have."""

SIZES = struct.Struct("<QQ")
"""Before each message: bytes of the JSON, and of all that follows it."""


class ShapeError(ValueError):
    """A value is not of the type that was declared."""


def encode(value: Any, parts: list[memoryview]) -> Any:
    """Turn a value into what JSON can hold; bytes and arrays are appended to ``parts``."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case bytes():
            parts.append(memoryview(value))
            return len(parts) - 1
        case Path():
            return str(value)
        case type():
            return value.__name__
        case np.ndarray():
            array = np.ascontiguousarray(value)
            parts.append(array.reshape(-1).view(np.uint8).data)
            return [len(parts) - 1, array.dtype.str, list(array.shape)]
        case Mapping():
            return {str(key): encode(each, parts) for key, each in value.items()}
        case _ if dataclasses.is_dataclass(value):
            return [encode(getattr(value, field.name), parts) for field in dataclasses.fields(value)]
        case Sequence():
            return [encode(each, parts) for each in value]
    raise TypeError(f"A {type(value).__name__} cannot be passed to or from the reader.")


def decode(kind: Any, found: Any, parts: Sequence[memoryview]) -> Any:
    """The value of a declared type.

    Args:
        kind: the type.
        found: what :func:`encode` made of the value.
        parts: the bytes of its arrays.

    Raises:
        ShapeError: it is not of that type.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return found
    if kind is float and type(found) is int:
        return float(found)
    if kind in (None, types.NoneType, bool, int, float, str):
        if type(found) is not (types.NoneType if kind is None else kind):
            raise ShapeError(f"{found!r:.80} is no {kind}")
        return found
    if origin in (types.UnionType, typing.Union):
        return _of_union(arguments, found, parts)
    if origin is np.ndarray:
        return _array(arguments[1], found, parts)
    if kind is bytes:
        return bytes(_part(found, parts))
    if kind is Path:
        return Path(decode(str, found, parts))
    if origin is type:
        return _error(arguments[0], found)
    if origin in (dict, Mapping) and isinstance(found, dict):
        return {decode(arguments[0], key, parts): decode(arguments[1], each, parts) for key, each in found.items()}
    if not isinstance(found, list):
        raise ShapeError(f"{found!r:.80} is no {kind}")
    if origin in (list, Sequence):
        return [decode(arguments[0], each, parts) for each in found]
    if origin is tuple:
        kinds = [arguments[0]] * len(found) if arguments[1:] == (...,) else list(arguments)
    else:
        hints = typing.get_type_hints(kind)
        kinds = [hints[field.name] for field in dataclasses.fields(kind)]
    if len(found) != len(kinds):
        raise ShapeError(f"{kind} has {len(kinds)} parts, not {len(found)}")
    values = (decode(own, each, parts) for own, each in zip(kinds, found, strict=True))
    return tuple(values) if origin is tuple else kind(*values)


def _of_union(kinds: Sequence[Any], found: Any, parts: Sequence[memoryview]) -> Any:
    for kind in kinds:
        try:
            return decode(kind, found, parts)
        except ShapeError:
            continue
    raise ShapeError(f"{found!r:.80} is none of {kinds}")


def _part(number: Any, parts: Sequence[memoryview]) -> memoryview:
    if type(number) is not int or not 0 <= number < len(parts):
        raise ShapeError(f"there is no part {number!r:.20}")
    return parts[number]


def _array(kind: Any, found: Any, parts: Sequence[memoryview]) -> np.ndarray[Any, Any]:
    """A read-only array. Args: kind: ``np.dtype`` of its values, as an annotation."""
    try:
        number, name, shape = found
        dtype = np.dtype(name)
    except (TypeError, ValueError) as error:
        raise ShapeError("an array is not described") from error
    (wanted,) = typing.get_args(kind) or (Any,)
    is_wanted = wanted in (Any, np.generic) or (isinstance(wanted, type) and issubclass(dtype.type, wanted))
    if dtype.kind not in NUMBERS or not is_wanted:
        raise ShapeError(f"an array has values of the type {dtype}")
    part = _part(number, parts)
    if not all(type(size) is int and size >= 0 for size in shape) or math.prod(shape) * dtype.itemsize != len(part):
        raise ShapeError("an array has another size than its bytes")
    array = np.frombuffer(part, dtype).reshape(shape)
    array.flags.writeable = False
    return array


def _error(base: Any, name: Any) -> Any:
    """A class of errors by its name."""
    found = getattr(errors, name, None) if isinstance(name, str) else None
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ShapeError(f"{name!r:.80} is no error")
    return found


def message(value: Any, parts: Sequence[memoryview]) -> list[bytes | memoryview]:
    """A message in pieces, to be sent one after the other. Args: value: JSON; parts: the bytes of its arrays."""
    head = json.dumps([value, [len(part) for part in parts]]).encode()
    return [SIZES.pack(len(head), sum(map(len, parts))), head, *parts]


def parsed(head: bytes | memoryview, body: memoryview) -> tuple[Any, list[memoryview]]:
    """Value and parts of a message. Raises: ShapeError: it is none."""
    try:
        value, sizes = json.loads(bytes(head))
        if sum(sizes) != len(body) or min(sizes, default=0) < 0:
            raise ShapeError("the parts of a message have another size")
    except (ValueError, TypeError, RecursionError) as error:
        raise ShapeError("a message is damaged") from error
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    return value, [body[end - size : end] for end, size in zip(ends, sizes, strict=True)]
