"""The zip around an adapter: read within bounds and without trust, written the same every time.

Nothing is ever unpacked to disk, so no name inside a zip decides where a file goes.
"""

from __future__ import annotations

import io
import json
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import AdapterError

TENSORS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
CERTIFICATE = "certificate.json"
CARD = "README.md"

MAX_ENTRIES = 16
MAX_BYTES = 128 * 2**20
"""Of a zip, and of all its entries unpacked; the largest adapter that a spec allows has 45 MiB."""
MAX_TEXT = 2**20
"""Bytes of a JSON or Markdown entry."""
MAX_RATIO = 100
"""Times that an entry may grow when unpacked, once it is larger than ``MAX_TEXT``."""

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
"""Ends of names of files that run code when they are read, or may."""

_CENTRAL_HEADER = b"PK\x01\x02"
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError, ArithmeticError,
           LookupError)  # fmt: skip
"""What the zip module raises on one damage or another."""


def read_entries(source: Path | bytes) -> dict[str, bytes]:
    """Every file of an adapter zip, by its name beside ``adapter_config.json``.

    A folder around the adapter is allowed, as zipping PEFT's folder makes one.

    Raises:
        AdapterError: not a zip, damaged, too large, or with an entry that is unsafe.
    """
    content = source if isinstance(source, bytes) else _read(source)
    if len(content) > MAX_BYTES:
        raise AdapterError(f"The adapter file is larger than {MAX_BYTES // 2**20} MiB: choose another file.")
    # Counted before the zip module builds an object for each.
    if content.count(_CENTRAL_HEADER) > 10 * MAX_ENTRIES:
        raise AdapterError(f"The adapter file has more than {MAX_ENTRIES} entries: choose another file.")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            _check(infos)
            entries = {info.filename: _unpack(archive, info) for info in infos if not info.is_dir()}
    except AdapterError:
        raise
    except _DAMAGE as error:
        raise AdapterError("The adapter file is not a zip file, or it is damaged.") from error
    folders = [name.removesuffix(CONFIG) for name in entries if name.rpartition("/")[2] == CONFIG]
    if len(folders) != 1:
        raise AdapterError(f"The adapter file must hold {CONFIG} exactly once, not {len(folders)} times.")
    return {name.removeprefix(folders[0]): data for name, data in entries.items() if name.startswith(folders[0])}


def zip_bytes(entries: Mapping[str, bytes]) -> bytes:
    """The zip of ``entries``, which depends on nothing else: no time of day, no compressor's version."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(entries.items()):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # Unix, whatever the machine
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)
    return target.getvalue()


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Stable JSON for people: sorted and indented."""
    return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def json_object(content: bytes, name: str) -> dict[str, Any]:
    """The JSON object of one entry.

    Raises:
        AdapterError: not a JSON object, or one with NaN or infinity.
    """
    try:
        value = json.loads(content.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{name} of the adapter file is not readable JSON.") from error
    if not isinstance(value, dict):
        raise AdapterError(f"{name} of the adapter file is not a JSON object.")
    return value


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not a number")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise AdapterError(f"The adapter file {path.name:.80} cannot be read: {error.strerror}.") from error


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """One entry, its checksum compared; stops at the size that was declared and checked."""
    with archive.open(info) as file:
        # A read without a limit would unpack up to 1 GiB before it looks at the declared size.
        data = file.read(info.file_size + 1)
    if len(data) != info.file_size:
        raise zipfile.BadZipFile(f"{info.filename!r} is shorter than it says")
    return data


def _check(infos: list[zipfile.ZipInfo]) -> None:
    """Refuse what must not even be unpacked."""
    if len(infos) > MAX_ENTRIES:
        raise AdapterError(f"The adapter file has more than {MAX_ENTRIES} entries: choose another file.")
    if len({info.filename for info in infos}) < len(infos):
        raise AdapterError("The adapter file holds two entries of one name.")
    if sum(info.file_size for info in infos) > MAX_BYTES:
        raise AdapterError(f"The adapter file unpacks to more than {MAX_BYTES // 2**20} MiB.")
    for info in infos:
        name = info.orig_filename
        if not name or name.startswith("/") or ".." in name.split("/") or any(c in name for c in "\\:\0"):
            raise AdapterError(f"The adapter file has an entry with an unsafe name: {name[:80]!r}.")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise AdapterError(f"The adapter file has an entry that is a link or a device: {name[:80]!r}.")
        if name.lower().endswith(PICKLES):
            raise AdapterError(
                f"The adapter file holds {name[:80]!r}: files of that kind can run code when they are read, so only "
                "safetensors are taken; save the adapter with safe_serialization=True."
            )
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
            raise AdapterError("The adapter file is encrypted or packed in an unusual way: zip it plainly.")
        limit = MAX_BYTES if name.endswith(".safetensors") else MAX_TEXT
        if info.file_size > limit:
            raise AdapterError(f"The adapter file has an entry that is too large: {name[:80]!r}.")
        if info.file_size > MAX_TEXT and info.file_size > MAX_RATIO * info.compress_size:
            raise AdapterError(f"The adapter file has an entry that unpacks to far more than it is: {name[:80]!r}.")
