"""Files and folders that are whole or not there, and SHA-256 hashes of files."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from core.errors import DamagedFileError


def write_atomically(path: Path, content: bytes) -> str:
    """Write ``content`` to ``path`` through a temporary name, flushed to disk before it is moved.

    After a crash, ``path`` has either its old or its new content, never a part of it.

    Args:
        path: of the file.
        content: all of it.

    Returns:
        The SHA-256 of ``content``, in hex.

    Raises:
        OSError: the disk is full or the folder is not writable; no temporary file is left behind.
    """
    with written_atomically(path) as file:
        file.write(content)
    return hashlib.sha256(content).hexdigest()


@contextmanager
def written_atomically(path: Path) -> Iterator[BinaryIO]:
    """Like :func:`write_atomically`, for a file that is written in pieces; an error leaves ``path`` as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by tempfile, whose files only their owner may read: this one has the permissions that the umask leaves.
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}.part"
    file = temporary.open("xb")
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex. Raises: OSError: the file cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, expected: str, what: str) -> None:
    """Compare a file with its hash from when it was written.

    Args:
        path: the file.
        expected: its SHA-256, in hex.
        what: subject of the error message, as in ``The base of this run``.

    Raises:
        DamagedFileError: its content has changed.
        OSError: the file cannot be read.
    """
    if sha256_of(path) != expected:
        raise DamagedFileError(what, path)


def flush(folder: Path) -> None:
    """Flush a folder, so that the names in it survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_in_place(staged: Path, final: Path) -> None:
    """Move a folder to its final name; one that is there already is damaged, or another process was quicker."""
    try:
        staged.rename(final)
    except OSError:
        if not final.is_dir():
            raise
        before = staged.with_name("before")
        final.rename(before)
        try:
            staged.rename(final)
        except OSError:
            before.rename(final)
            raise
