"""Zips from outside: an entry has one name in whichever Python reads it."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import NetworkFileError
from core.zip_file import UntrustedZip, ZipLimits
from tests.two_names import with_second_name

SCRIPT = Path(__file__).with_name("two_names.py")

VERSIONS = ("3.11", "3.12", "3.13")
"""Versions of Python that LoRA Lab runs on; those that this machine has are tried."""


def said_by(python: str) -> tuple[str, str] | None:
    """What a Python says of a zip with two names and of one with the same name twice; None if there is no such one."""
    try:
        if subprocess.run([python, "-c", ""], capture_output=True, timeout=60).returncode:
            return None  # a stand-in for a version that is not installed
    except FileNotFoundError:
        return None
    done = subprocess.run([python, str(SCRIPT)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    _, second, same = done.stdout.splitlines()
    return second, same


def test_an_entry_with_two_names_is_refused_wherever_the_second_one_would_count() -> None:
    said = {f"python{version}": said_by(f"python{version}") for version in VERSIONS} | {"": said_by(sys.executable)}
    assert said[""]
    for python, told in said.items():
        if told is not None:
            second, same = told
            assert "has an entry with two names" in second or second == "['bases/harmless.safetensors']", python
            assert same == "['bases/harmless.safetensors']"
    newest = said["python3.13"] or said["python3.12"]
    if newest:
        assert "has an entry with two names" in newest[0]


@pytest.mark.parametrize("further", [1000, 2**31])
def test_a_place_that_is_not_in_the_file_is_damage(further: int) -> None:
    content = bytearray(with_second_name("a", "a"))
    end = content.rindex(b"PK\x05\x06")
    (place,) = struct.unpack_from("<I", content, end + 16)
    struct.pack_into("<I", content, end + 16, place + further)

    def read() -> bytes:
        archive = UntrustedZip(bytes(content), ZipLimits(10, 2**20), "The file", NetworkFileError)
        return archive.read(archive.entries[0])

    with pytest.raises(NetworkFileError, match="is not a zip file, or it is damaged"):
        read()
