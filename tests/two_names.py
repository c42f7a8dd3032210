"""Zips whose entries have a second name, read by whichever Python runs this file; it needs nothing but the library.

From 3.12 on, the zipfile module takes the name in an entry's Unicode Path field (0x7075) for that of the entry.
"""

from __future__ import annotations

import importlib.util
import io
import struct
import sys
import types
import zipfile
import zlib
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]


def with_second_name(name: str, second: str, content: bytes = b"weights") -> bytes:
    """A zip with one entry that the directory calls ``name`` and its Unicode Path field ``second``."""
    path = second.encode()
    field = struct.pack("<BI", 1, zlib.crc32(name.encode())) + path
    info = zipfile.ZipInfo(name)
    info.extra = struct.pack("<HH", 0x7075, len(field)) + field
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(info, content)
    return target.getvalue()


def names_in(content: bytes) -> list[str] | str:
    """The names by which the entries of a zip are known to callers, or the sentence that refuses it."""
    from core.errors import NetworkFileError
    from core.zip_file import UntrustedZip, ZipLimits

    try:
        found = UntrustedZip(content, ZipLimits(10, 2**20), "The network", NetworkFileError)
    except NetworkFileError as error:
        return str(error)
    return [entry.name for entry in found.entries]


def without_core() -> None:
    """Load the modules by their paths, and have zips read in this process: the packages may not be installed."""
    sys.modules["core"] = types.ModuleType("core")
    reader = sys.modules["core.reader"] = types.ModuleType("core.reader")
    vars(reader).update(
        Limits=lambda **limits: None, in_reader=lambda *about: lambda function: function, reads_here=lambda: True
    )
    for name in ("errors", "zip_file"):
        spec = importlib.util.spec_from_file_location(f"core.{name}", REPO / "core" / f"{name}.py")
        assert spec
        assert spec.loader
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


if __name__ == "__main__":
    without_core()
    found = names_in(with_second_name("bases/harmless.safetensors", "../../.bashrc"))
    same = names_in(with_second_name("bases/harmless.safetensors", "bases/harmless.safetensors"))
    print(sys.version_info[:2], found, same, sep="\n")
