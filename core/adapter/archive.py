"""The zip of an adapter: read within limits and checked, written reproducibly."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import AdapterError, JsonError, os_error_as
from core.methods.adapter import CONFIG_FILE, TENSORS_FILE
from core.reader.json_text import json_value
from core.zip_file import MAY_RUN_CODE, UntrustedZip, ZipLimits, is_beside_weights, write_zip

TENSORS = TENSORS_FILE
CONFIG = CONFIG_FILE
CERTIFICATE = "certificate.json"
CARD = "README.md"
TASK = "task.json"
NETWORK_CONFIG = "config.json"
"""What the folder of a whole network has, as ``save_pretrained`` of transformers writes it."""

MAX_ENTRIES = 64
"""Maximum number of files; checkpoints of a Trainer on eight GPUs have some twenty-five."""
MAX_BYTES = 2 * 2**30
"""Maximum size of a zip, and of all its unpacked entries: an adapter of rank 512 on all linear layers of a transformer
with a billion parameters has 1.6 GiB."""
MAX_UPLOAD = 256 * 2**20
"""Maximum size of a zip that is uploaded to a page; the server's limit for uploads (``maxUploadSize``) is the same."""
MAX_GROWTH = 4
"""Maximum size of all unpacked entries, in sizes of the zip: trained weights hardly compress."""
MIN_UNPACKED = 48 * 2**20
"""Size that the entries of the smallest zip may have."""
MAX_TEXT = 2**20
"""Maximum size of a JSON or Markdown entry."""


def read_entries(source: Path | bytes) -> dict[str, bytes]:
    """Read every file of an adapter zip, by its path relative to ``adapter_config.json``.

    The adapter may be in a folder of the zip, as it is if PEFT's output folder was zipped. What the Trainer of
    transformers puts beside an adapter in its checkpoints is left out, unread.

    Raises:
        AdapterError: not a zip, damaged, too large, or with an unsafe entry.
    """
    opened = os_error_as(AdapterError, f"The adapter file {getattr(source, 'name', ''):.80} cannot be read")
    with opened, source.open("rb") if isinstance(source, Path) else nullcontext(source) as content:
        return _entries(content, len(content) if isinstance(content, bytes) else content.seek(0, os.SEEK_END))


def _entries(content: bytes | BinaryIO, size: int) -> dict[str, bytes]:
    if size > MAX_BYTES:
        raise AdapterError(f"The adapter file is larger than {MAX_BYTES // 2**30} GiB: choose another file.")
    if isinstance(content, bytes) and content[8:10] == b'{"':
        raise AdapterError(
            "The file is a safetensors file: an adapter is a zip with adapter_config.json beside its weights, and a "
            "network is imported in the Library."
        )
    unpacked = min(MAX_BYTES, max(MIN_UNPACKED, MAX_GROWTH * size))
    archive = UntrustedZip(content, ZipLimits(MAX_ENTRIES, unpacked), "The adapter file", AdapterError)
    names = {entry.name.rpartition("/")[2] for entry in archive.entries}
    if CONFIG not in names and NETWORK_CONFIG in names:
        raise AdapterError("The file is a whole network, not an adapter: import it in the Library.")
    wanted = [entry for entry in archive.entries if not is_beside_weights(entry.name)]
    for entry in wanted:
        _check(entry.name, entry.size)
    entries = {entry.name: archive.read(entry) for entry in wanted}
    folders = [name.removesuffix(CONFIG) for name in entries if name.rpartition("/")[2] == CONFIG]
    if len(folders) != 1:
        raise AdapterError(f"The adapter file must contain {CONFIG} exactly once, not {len(folders)} times.")
    return {name.removeprefix(folders[0]): data for name, data in entries.items() if name.startswith(folders[0])}


def zip_bytes(entries: Mapping[str, bytes]) -> bytes:
    """The zip of ``entries``, sorted by name."""
    target = io.BytesIO()
    write_zip(target, sorted(entries.items()))
    return target.getvalue()


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Reproducible, readable JSON: sorted and indented."""
    return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def json_object(content: bytes, name: str) -> dict[str, Any]:
    """Parse the JSON object in an entry. Raises: AdapterError: not a JSON object, or it contains NaN or infinity."""
    try:
        value = json_value(content, is_finite=True)
    except JsonError as error:
        raise AdapterError(f"{name} of the adapter file is not readable JSON.") from error
    if not isinstance(value, dict):
        raise AdapterError(f"{name} of the adapter file is not a JSON object.")
    return value


def _check(name: str, size: int) -> None:
    """Refuse an entry that no adapter needs."""
    if name.lower().endswith(MAY_RUN_CODE):
        raise AdapterError(
            f"The adapter file contains {name[:80]!r}: files of that kind can run code when they are read, so only "
            "safetensors are accepted; save the adapter with safe_serialization=True."
        )
    if size > (MAX_BYTES if name.endswith(".safetensors") else MAX_TEXT):
        raise AdapterError(f"The adapter file has an entry that is too large: {name[:80]!r}.")
