"""The process of the reader, as its callers see it: started on first use, asked, and forgotten when it has ended; and
what a process that reads one file may use.

It forks once per file, so a file costs milliseconds, and what is imported is shared. Without ``fork``, as on Windows, a
process is started per file.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import ReaderError

LEAST = 2**27
"""Bytes of memory for the smallest file."""

GROWTH = 2**11
"""Bytes of memory per byte of a file that may be packed: twice what gzip can unpack one to."""


@dataclass(frozen=True)
class Limits:
    """Limits on the process that reads one file; where the system cannot enforce one, it ends after ``wall``."""

    memory: int = 2**29
    """Bytes beyond those that it has once it has received the file."""
    cpu: int = 10
    """Seconds of CPU time."""
    wall: int = 60
    """Seconds until it is ended."""
    output: int = 2**28
    """Bytes that it may return."""
    growth: int = 0
    """Bytes of memory per byte of the arguments, beside ``LEAST``; 0 where the arguments do not hold the file."""

    def of_arguments(self, size: int) -> Limits:
        """The same for a file of which so little is given that it can need less. Args: size: bytes of the arguments."""
        return replace(self, memory=min(self.memory, LEAST + self.growth * size)) if self.growth else self

    def apply(self) -> None:
        """Put the limits on this process, which the system then ends when it exceeds one."""
        try:
            import resource
        except ImportError:  # Windows, where only the caller's patience ends a file
            return
        limits = {
            resource.RLIMIT_CPU: (self.cpu, self.cpu + 1),
            resource.RLIMIT_FSIZE: (0, 0),
            resource.RLIMIT_CORE: (0, 0),
            # Unlike the address space, data do not count what an allocator has only reserved.
            resource.RLIMIT_DATA: 2 * (_data_bytes() + self.memory,),
        }
        for limit, values in limits.items():
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(limit, values)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, self.wall)

    def sentence(self, what: str, exit_code: int) -> str:
        """Why a file could not be read.

        Args:
            what: subject of the sentence.
            exit_code: of the process; negative for the signal that ended it.
        """
        if -exit_code in (getattr(signal, name, None) for name in ("SIGXCPU", "SIGALRM", "SIGKILL")):
            return f"{what} takes more than {self.cpu} seconds to read: choose another one."
        return (
            f"{what} cannot be read: it is damaged, or takes more than {self.memory // 2**20} MiB of memory. Choose "
            "another one."
        )


def _data_bytes() -> int:
    """Bytes of this process that count as data, zero where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmData:")), 0)


FORKS = hasattr(os, "fork") and hasattr(socket, "send_fds")

ROOT = Path(__file__).resolve().parents[2]
"""Folder of the package ``core``."""

SIZE = struct.Struct("<Q")
"""Number of bytes, before each of the two parts of a request and before an answer."""

Request = tuple[Sequence[bytes], Sequence[bytes]]
"""What is asked for and its arguments, see :func:`core.reader.serve.answer`, each in parts to be sent in turn."""

STATUS = struct.Struct("<i")
"""Exit code of a process that ended without an answer, in its place; negative for a signal."""

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


def ask(request: Request, limits: Limits, modules: Sequence[str]) -> tuple[bytearray, int]:
    """Have a request answered by a process of its own.

    Args:
        request: what is asked for.
        limits: on the process.
        modules: what the process needs.

    Returns:
        The answer, empty if there is none, and then the exit code.

    Raises:
        ReaderError: no process could be started.
    """
    try:
        if not FORKS:
            return _of_new_process(request, limits)
        # A process that had nothing to do may end just when it is asked.
        return _of_fork(request, limits, modules) or _of_fork(request, limits, modules) or (bytearray(), 1)
    except OSError as error:
        raise ReaderError(
            f"The process that opens files could not be started ({error.strerror or error}): free some memory, then "
            "try again."
        ) from error


def _of_fork(request: Request, limits: Limits, modules: Sequence[str]) -> tuple[bytearray, int] | None:
    """What a fork answered; None if there was no process to fork it, so that it is worth to ask again."""
    here, there = socket.socketpair()
    with here:
        with _lock, there:
            used = _running()
            try:
                socket.send_fds(used, [" ".join(modules).encode().ljust(NAMES)], [there.fileno()])
            except OSError:
                _forget()
                return None
        here.settimeout(limits.wall + DELAY)
        head = b""
        try:
            with here.makefile("rwb") as stream:
                for parts in request:
                    stream.write(SIZE.pack(sum(map(len, parts))))
                    stream.writelines(parts)
                stream.flush()
                head = stream.read(SIZE.size)
                if len(head) == SIZE.size:
                    return _content(stream, SIZE.unpack(head)[0], limits), 1
        except TimeoutError:
            return bytearray(), -signal.SIGKILL
        except OSError:
            pass  # it has ended
    if len(head) == STATUS.size:
        return bytearray(), STATUS.unpack(head)[0]
    with _lock:
        if _channel is used:
            _forget()
    return None


def _content(stream: Any, size: int, limits: Limits) -> bytearray:
    """The next bytes of a stream; none if they are too many, or fewer than they should be."""
    content = bytearray(size if size <= limits.output else 0)
    got, view = 0, memoryview(content)
    while got < len(content) and (more := stream.readinto(view[got:])):
        got += more
    return content if got == len(content) else bytearray()


def _of_new_process(request: Request, limits: Limits) -> tuple[bytearray, int]:
    """What a process answered that was started for one request."""
    process = _started([], (), subprocess.PIPE, subprocess.DEVNULL)
    sent = b"".join(part for parts in request for part in (SIZE.pack(sum(map(len, parts))), *parts))
    try:
        answer, _ = process.communicate(sent, timeout=limits.wall + DELAY)
    except subprocess.TimeoutExpired:
        process.kill()
        answer, _ = process.communicate()
    return bytearray(answer[SIZE.size :] if len(answer) <= limits.output else b""), process.returncode


def environment(found: Mapping[str, str]) -> dict[str, str]:
    """The reader's environment variables. Args: found: those of this process."""
    kept = {name: value for name, value in found.items() if not any(part in name.upper() for part in SECRETS)}
    return kept | OURS | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [found.get("PYTHONPATH")])])}


def _started(arguments: list[str], fds: Sequence[int], streams: int, errors: int | None) -> subprocess.Popen[bytes]:
    """Start the reader. Args: fds: descriptors that it keeps; streams: its input and output; errors: its stderr."""
    return subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "core.reader.serve", *arguments],
        cwd=ROOT,
        env=environment(os.environ),
        pass_fds=fds,
        stdin=streams,
        stdout=streams,
        stderr=errors,
    )


def _running() -> socket.socket:
    """The way to the process that forks, started if there is none; to be called with the lock held."""
    global _channel, _process
    if _channel is None:
        here, there = socket.socketpair()
        with there:
            number = there.fileno()
            _process = _started([str(number)], [number], subprocess.DEVNULL, None)
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
