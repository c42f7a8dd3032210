"""The process of the reader, as its callers see it: started on first use, asked, and forgotten when it has ended.

It forks once per file, so a file costs milliseconds, and what is imported is shared. Without ``fork``, as on Windows, a
process is started per file.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import ReaderError
from core.reader.limits import Limits
from core.reader.values import SIZES, ShapeError, message, parsed

FORKS = hasattr(os, "fork") and hasattr(socket, "send_fds")

ROOT = Path(__file__).resolve().parents[2]
"""Folder of the package ``core``."""

STATUS = struct.Struct("<i")
"""Exit code of the process that read a file; negative for a signal."""

NAMES = 256
"""Bytes of a request to the process that forks: names of modules, filled up with spaces."""

SECRETS = ("TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "_KEY")
"""Parts of the names of variables that the reader does not get."""

OURS = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1"),
    "TOKENIZERS_PARALLELISM": "false",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others reserve a gigabyte, which would count as used
    "HF_HUB_OFFLINE": "1",
}
"""Variables of the reader: one thread, since a process that forks must have no other, and no network."""

DELAY = 5.0
"""Seconds beyond the limit of the wall clock after which nobody waits for an answer any more."""

_lock = threading.Lock()
_channel: socket.socket | None = None
_process: subprocess.Popen[bytes] | None = None
"""The process that forks, and the way to it; None while there is none."""

Answer = tuple[Any, list[memoryview], int]
"""What a process answered, None if nothing; the bytes of its arrays; and its exit code."""


def ask(request: Any, parts: Sequence[memoryview], limits: Limits, imports: Sequence[str] = ()) -> Answer:
    """Have a request answered by a process of its own.

    Args:
        request: JSON: a module, the name of a function in it, limits, and arguments.
        parts: the bytes of the arguments.
        limits: on the process.
        imports: modules that it needs besides that of the function.

    Raises:
        ReaderError: no process could be started.
    """
    pieces = message(request, parts)
    try:
        if not FORKS:
            return _of_new_process(pieces, limits)
        # A process that had nothing to do may end just when it is asked.
        modules = [request[0], *imports]
        return _of_fork(modules, pieces, limits) or _of_fork(modules, pieces, limits) or (None, [], 1)
    except OSError as error:
        raise ReaderError(
            f"The process that opens files could not be started ({error.strerror or error}): free some memory, then "
            "try again."
        ) from error


def _of_fork(modules: Sequence[str], pieces: Sequence[bytes | memoryview], limits: Limits) -> Answer | None:
    """What a fork answered; None if there was no process to fork it, so that it is worth to ask again."""
    here, there = socket.socketpair()
    ended, ending = os.pipe()
    with here, os.fdopen(ended, "rb") as status:
        try:
            with _lock:
                channel = _running()
                try:
                    socket.send_fds(channel, [" ".join(modules).encode().ljust(NAMES)], [there.fileno(), ending])
                except OSError:
                    _forget()
                    return None
        finally:
            there.close()
            os.close(ending)
        here.settimeout(limits.wall + DELAY)
        found: tuple[Any, list[memoryview]] = (None, [])
        with contextlib.suppress(OSError), here.makefile("rb") as stream:
            with contextlib.suppress(BrokenPipeError):
                for piece in pieces:
                    here.sendall(piece)
            found = _answer(stream, limits)
        here.close()  # one that still writes ends
        code = status.read(STATUS.size)
    if not code:
        with _lock:
            _forget()
        return None
    return (*found, *STATUS.unpack(code))


def _of_new_process(pieces: Sequence[bytes | memoryview], limits: Limits) -> Answer:
    """What a process answered that was started for one request."""
    process = subprocess.Popen(
        [sys.executable, "-m", "core.reader.serve"],
        cwd=ROOT,
        env=environment(os.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        answered, _ = process.communicate(b"".join(pieces), timeout=limits.wall + DELAY)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        answered = b""
    return (*_answer(io.BytesIO(answered), limits), process.returncode)


def _answer(stream: io.BufferedIOBase, limits: Limits) -> tuple[Any, list[memoryview]]:
    """The answer in a stream; None if there is none, or one that is too large."""
    head = stream.read(SIZES.size)
    if len(head) < SIZES.size:
        return None, []
    length, size = SIZES.unpack(head)
    if length + size > limits.output:
        return None, []
    content = bytearray(length + size)
    view = memoryview(content)
    got = 0
    while got < len(content):
        more = stream.readinto(view[got:])
        if not more:
            return None, []
        got += more
    try:
        return parsed(view[:length], view[length:])
    except ShapeError:
        return None, []


def environment(found: Mapping[str, str]) -> dict[str, str]:
    """The reader's environment variables. Args: found: those of this process."""
    kept = {name: value for name, value in found.items() if not any(part in name.upper() for part in SECRETS)}
    paths = [str(ROOT), *filter(None, [found.get("PYTHONPATH")])]
    return kept | OURS | {"PYTHONPATH": os.pathsep.join(paths)}


def _running() -> socket.socket:
    """The way to the process that forks, started if there is none; to be called with the lock held."""
    global _channel, _process
    if _channel is None:
        here, there = socket.socketpair()
        with there:
            _process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "core.reader.serve", str(there.fileno())],
                cwd=ROOT,
                env=environment(os.environ),
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        _channel = here
    return _channel


def _forget() -> None:
    """Have the process that forks end, if it has not; to be called with the lock held."""
    global _channel, _process
    if _channel is not None:
        _channel.close()
    if _process is not None:
        _process.wait()  # it ends when nobody can ask it any more
    _channel = _process = None


def _after_fork() -> None:
    """Leave the reader to the process that this one was forked from."""
    global _lock, _channel, _process
    _lock = threading.Lock()
    if _channel is not None:
        _channel.close()
    if _process is not None:
        _process.returncode = 0  # not a child of this process, which so need not wait for it
    _channel = _process = None


if FORKS:
    os.register_at_fork(after_in_child=_after_fork)
    atexit.register(_forget)
