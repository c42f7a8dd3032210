"""Processes of their own, as ``python -m MODULE`` starts them, without the seconds that their imports take.

On Linux, one process for all workers of a test session imports what the commands and the dashboard need, and forks when
a test wants a process: it has its own folder, environment, arguments and streams, can be killed and leaves a status, as
any other. A fork cannot change what a module has read from the environment while it was imported, so a process whose
environment differs in anything else than the settings of LoRA Lab and of Streamlit is started anew, and so is every
process on other systems.

Tests of the start itself, and of what Python does at the very end, use ``subprocess``.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

REPO = Path(__file__).resolve().parents[1]

IMPORTED = [
    *("core.lab", "core.cli.compare", "core.cli.grow", "core.cli.report", "core.cli.run"),
    *("core.cli.serve", "core.cli.step_time", "core.cli.verify", "core.web.chain", "core.web.server"),
    *("core.web.downloads", "core.web.predict", "streamlit.web.bootstrap", "streamlit.web.cli"),
    *("sklearn.datasets", "torch._dynamo", "torchvision.transforms.functional", "transformers"),
    *("transformers.models.auto.modeling_auto", "transformers.models.bert.modeling_bert"),
]
"""Modules that most processes import, sooner or later, and that read no settings meanwhile."""

SETTINGS = ("LORA_LAB_", "STREAMLIT_", "PYTEST_", "PYTHONPATH", "RAY_ADDRESS")
"""Beginnings of names of variables that no module reads while it is imported."""

BEFORE = dict(os.environ)
"""The environment at the beginning, before tests and libraries have changed it."""

PID, STATUS = struct.Struct("q"), struct.Struct("i")
LONGEST = 2**17
"""Bytes of a request."""


class Forked:
    """What tests need of ``subprocess.Popen``, for a process that was forked."""

    def __init__(self, pid: int, ended: int, stdin: IO[Any] | None, stdout: IO[Any] | None) -> None:
        self.pid, self.stdin, self.stdout = pid, stdin, stdout
        self.returncode: int | None = None
        self._ended = ended

    def poll(self) -> int | None:
        """The exit status, or None while the process runs; negative for the signal that ended it."""
        return self._status(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit status.

        Raises:
            TimeoutExpired: after ``timeout`` seconds.
        """
        status = self._status(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return status

    def communicate(self, text: str | None = None, timeout: float | None = None) -> tuple[Any, None]:
        """Write ``text`` to the process and close its stdin; return what it printed once it has ended."""
        if self.stdin:
            with suppress(BrokenPipeError), self.stdin:
                self.stdin.write(text or "")
        printed = None
        if self.stdout:
            with self.stdout:
                printed = self.stdout.read()
        self.wait(timeout)
        return printed, None

    def _status(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._ended], [], [], timeout)[0]:
            (self.returncode,) = STATUS.unpack(os.read(self._ended, STATUS.size))
            os.close(self._ended)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Process = Forked | subprocess.Popen[Any]


def start(
    arguments: Sequence[str],
    *,
    cwd: Path = REPO,
    env: Mapping[str, str] | None = None,
    stdin: IO[Any] | int | None = None,
    stdout: IO[Any] | int | None = None,
    stderr: IO[Any] | int | None = None,
    text: bool = False,
) -> Process:
    """Start Python with these arguments, which begin with ``-m`` or ``-c``; the others are those of ``Popen``."""
    if sys.platform != "linux":
        return subprocess.Popen(
            [sys.executable, *arguments], cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr, text=text
        )
    ours: dict[int, IO[Any]] = {}
    given: list[int] = []
    theirs: list[int] = []
    for number, stream in enumerate((stdin, stdout, stderr)):
        if stream == subprocess.PIPE:
            reading, writing = os.pipe()
            theirs.append(writing if number else reading)
            given.append(theirs[-1])
            ours[number] = os.fdopen(reading if number else writing, ("r" if number else "w") + "b" * (not text))
        elif stream == subprocess.DEVNULL:
            theirs.append(os.open(os.devnull, os.O_RDWR))
            given.append(theirs[-1])
        else:
            given.append(number if stream is None else stream if isinstance(stream, int) else stream.fileno())
    ended, ending = os.pipe()
    request = {"arguments": list(arguments), "cwd": str(cwd), "env": dict(os.environ if env is None else env)}
    socket.send_fds(forker(), [json.dumps(request).encode()], [ending, *given])
    for each in (ending, *theirs):
        os.close(each)
    (pid,) = PID.unpack(os.read(ended, PID.size))
    return Forked(pid, ended, ours.get(0), ours.get(1))


def run(
    arguments: Sequence[str], *, cwd: Path = REPO, env: Mapping[str, str] | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments to its end, and return its status and what it printed.

    Raises:
        TimeoutExpired: after ``timeout`` seconds, when the process has been killed.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = start(arguments, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(list(arguments), status, out.read(), err.read())


@cache
def forker() -> socket.socket:
    """The way to the process that forks, which whoever needs it first starts for all processes of the test session; it
    ends with the last of them.
    """
    address = f"\0tests.forked {os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}"
    here = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as there:
        try:
            there.bind(address)
        except OSError:  # it is there, or will listen at once
            process = None
        else:
            there.listen()
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.forked", str(there.fileno())],
                cwd=REPO,
                env=BEFORE,
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        while here.connect_ex(address):
            time.sleep(0.01)

    def end() -> None:
        here.close()
        if process:
            process.wait()

    atexit.register(end)
    return here


def next_request(listener: socket.socket) -> dict[str, Any]:
    """Serve requests; return, in the process that was forked for one, what it asks for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those below
    channels: list[socket.socket] = []
    while True:
        ready = select.select([listener, *channels], [], [])[0][0]
        if ready is listener:
            channels.append(listener.accept()[0])
            continue
        content, descriptors, _, _ = socket.recv_fds(ready, LONGEST, 4)
        if not content:
            channels.remove(ready)
            ready.close()
            if not channels:
                os._exit(0)
        elif os.fork() == 0:
            break
        for each in descriptors:
            os.close(each)
    for channel in (listener, *channels):
        channel.close()
    # This process waits for the one that was asked for, and tells its status.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ending, *streams = descriptors
    pid = os.fork()
    if pid:
        try:
            for each in streams:
                os.close(each)
            os.write(ending, PID.pack(pid))
            os.write(ending, STATUS.pack(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
        finally:
            os._exit(0)
    os.close(ending)
    for number, each in enumerate(streams):
        os.dup2(each, number)
        os.close(each)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return dict(json.loads(content))


def become(arguments: Sequence[str], cwd: str, env: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Do what Python does with these arguments, in this folder and environment; ``found`` is that of the start."""
    os.chdir(cwd)
    # What the imports have set here, they have set there.
    changed = {name for name, _ in env.items() ^ found.items() if env.get(name) != os.environ.get(name)}
    if not all(name.startswith(SETTINGS) for name in changed):
        os.execve(sys.executable, [sys.executable, *arguments], env)
    for name in found.keys() - env.keys():
        del os.environ[name]
    os.environ.update(env)  # what imports have set stays
    sys.path[:1] = [cwd, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    flag, what, *rest = arguments
    if flag == "-m":
        sys.argv = [what, *rest]
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        sys.argv = ["-c", *rest]
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(what, vars(sys.modules["__main__"]))


def main() -> None:
    found = dict(os.environ)
    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    request = next_request(socket.socket(fileno=int(sys.argv[1])))
    ended: object = None
    try:
        become(**request, found=found)
    except SystemExit as error:
        ended = error.code
    # What Python does at the end, but for taking apart what was imported, which takes half a second.
    if ended is None or isinstance(ended, int):
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        with suppress(OSError, ValueError, AttributeError):  # nobody reads them any more
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(ended or 0)
    sys.exit(ended)


if __name__ == "__main__":
    main()
