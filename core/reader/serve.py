"""The reader itself: ``python -m core.reader.serve SOCKET`` forks per file, without SOCKET it reads one from its input.

The process that forks never sees a file. It imports the modules that it is asked for, so that forks share them.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
from typing import Any

from core.reader import opening
from core.reader.process import NAMES, SIZE, STATUS, Limits
from core.reader.values import decode

IDLE_SECONDS = 60.0
"""Seconds without files after which the process ends."""

NICE = 5
"""By how much pages and training come first."""


def answer(reading: Any, writing: Any) -> None:
    """Answer the request in a buffered stream, within its limits: a module, a function in it, limits; arguments."""
    head, arguments = (reading.read(SIZE.unpack(reading.read(SIZE.size))[0]) for _ in range(2))
    module, name, limits = decode(tuple[str, str, Limits], head)
    limits.apply()
    found = opening.run(module, name, arguments)
    writing.write(SIZE.pack(len(found)))
    writing.write(found)
    writing.flush()


def serve(channel: socket.socket) -> None:
    """Fork for each request until nobody can send one, or nobody has for a while."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from a terminal it is for the process that asks
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    ended, ending = os.pipe()
    os.set_blocking(ending, False)
    signal.set_wakeup_fd(ending, warn_on_full_buffer=False)
    told: dict[int, int] = {}
    waiting: list[Any] = [channel, ended]
    while True:
        ready, _, _ = select.select(waiting, [], [], None if told else IDLE_SECONDS)
        if not ready:
            return
        if ended in ready:
            os.read(ended, 4096)
            _bury(told)
        if channel in ready:
            names, descriptors, _, _ = socket.recv_fds(channel, NAMES, 1)
            if not descriptors:
                return
            _prepare(names.decode().split())
            pid = os.fork()
            if pid == 0:
                _child(descriptors[0], [channel.fileno(), *told.values()])
            told[pid] = descriptors[0]


def _prepare(modules: list[str]) -> None:
    """Import modules, so that all forks share them; a fork says what is wrong with one."""
    if missing := [name for name in modules if name not in sys.modules]:
        for name in missing:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        gc.collect()
        gc.freeze()


def _child(data: int, others: list[int]) -> None:
    """Answer one request, and end. Args: data: the socket of the request; others: descriptors to close."""
    code = 1
    try:
        for each in others:
            os.close(each)
        signal.set_wakeup_fd(-1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries report panics there, at any length
        with socket.socket(fileno=data) as connection, connection.makefile("rwb") as stream:
            answer(stream, stream)
        code = 0
    finally:
        os._exit(code)


def _bury(told: dict[int, int]) -> None:
    """Tell how forks have ended, if without an answer. Args: told: whom, by process; those that ended are taken out."""
    for pid in list(told):
        found, code = os.waitpid(pid, os.WNOHANG)
        if found:
            with socket.socket(fileno=told.pop(pid)) as asking, contextlib.suppress(OSError):
                if code:
                    asking.sendall(STATUS.pack(os.waitstatus_to_exitcode(code)))


def main() -> None:
    """Serve requests from a socket, or answer one."""
    opening.is_reader = True
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICE)
    if len(sys.argv) > 1:
        serve(socket.socket(fileno=int(sys.argv[1])))
    else:
        answer(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
