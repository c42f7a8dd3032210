"""The zip around an adapter: read within bounds and without trust, written the same every time."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import AdapterError
from core.zip_file import UntrustedZip, ZipLimits

TENSORS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
CERTIFICATE = "certificate.json"
CARD = "README.md"

MAX_ENTRIES = 16
MAX_BYTES = 48 * 2**20
"""Of a zip, and of all its entries unpacked; the largest adapter that a spec allows has 45 MiB. The server's own limit
(``maxUploadSize``) is the same."""
MAX_TEXT = 2**20
"""Bytes of a JSON or Markdown entry."""

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
"""Ends of names of files that run code when they are read, or may."""


def read_entries(source: Path | bytes) -> dict[str, bytes]:
    """Every file of an adapter zip, by its name beside ``adapter_config.json``.

    A folder around the adapter is allowed, as zipping PEFT's folder makes one.

    Raises:
        AdapterError: not a zip, damaged, too large, or with an entry that is unsafe.
    """
    content = source if isinstance(source, bytes) else _read(source)
    if len(content) > MAX_BYTES:
        raise AdapterError(f"The adapter file is larger than {MAX_BYTES // 2**20} MiB: choose another file.")
    archive = UntrustedZip(content, ZipLimits(MAX_ENTRIES, MAX_BYTES), "The adapter file", AdapterError)
    for info in archive.entries:
        _check(info.orig_filename, info.file_size)
    entries = {info.filename: archive.read(info) for info in archive.entries}
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


def word(text: str, most: int = 80) -> str:
    """A name from a file as it may stand in a sentence: bounded, on one line, nothing in it that cannot be seen."""
    return repr(text[:most])[1:-1]


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not a number")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise AdapterError(f"The adapter file {path.name:.80} cannot be read: {error.strerror}.") from error


def _check(name: str, size: int) -> None:
    """Refuse an entry that no adapter needs."""
    if name.lower().endswith(PICKLES):
        raise AdapterError(
            f"The adapter file holds {name[:80]!r}: files of that kind can run code when they are read, so only "
            "safetensors are taken; save the adapter with safe_serialization=True."
        )
    if size > (MAX_BYTES if name.endswith(".safetensors") else MAX_TEXT):
        raise AdapterError(f"The adapter file has an entry that is too large: {name[:80]!r}.")
