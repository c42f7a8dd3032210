"""A real server with flags of its own, and a client that shows only what it is told to."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests import forked
from tests.browser.conftest import REPO, START_SECONDS, answers, free_port, stop_server
from tests.conftest import HANG
from tests.forked import Process

TOKEN_LINK = re.compile(r"http://localhost:\d+/\?token=([\w-]{43})$", re.MULTILINE)


@dataclass
class Server:
    port: int
    log: Path

    def printed(self) -> str:
        return self.log.read_text()

    def visitor(self, **headers: str) -> Visitor:
        return Visitor(self.port, headers)

    @property
    def token(self) -> str:
        """The one that it has made and printed."""
        (found,) = TOKEN_LINK.findall(self.printed())
        return str(found)

    def entered(self) -> Visitor:
        """A visitor who has shown that token."""
        visitor = self.visitor()
        answer, _ = visitor.ask("GET", f"/?token={self.token}")
        assert answer.status == 303
        visitor.headers["Cookie"] = answer.headers["Set-Cookie"].partition(";")[0]
        return visitor


@dataclass
class Visitor:
    port: int
    headers: dict[str, str] = field(default_factory=dict)

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANG)
        try:
            names = {name.replace("_", "-"): value for name, value in {**self.headers, **headers}.items()}
            connection.request(method, path, body, names)
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def status(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> int:
        return self.ask(method, path, body, **headers)[0].status


def wait_for_answer(process: Process, url: str, log: Path) -> None:
    """Wait until a process answers at a URL; fail with its log if it ends before, or never does."""
    end = time.monotonic() + START_SECONDS
    while not answers(url):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)


def launch(folder: Path, *flags: str, soft_descriptors: int | None = None, **env: str) -> tuple[Process, int, Path]:
    """Start a server, without waiting for it; ``soft_descriptors`` is the ``ulimit -S -n`` that it is given."""
    port, log = free_port(), folder / "server.log"
    options = ["--server.port", str(port), "--server.headless", "true", *flags]
    environment = {**os.environ, "LORA_LAB_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", **env}
    command = ["-m", "streamlit", "run", str(REPO / "app.py"), *options]
    with log.open("wb") as out:
        if not soft_descriptors:
            return forked.start(command, env=environment, stdout=out, stderr=out), port, log
        limited = ["sh", "-c", f'ulimit -S -n {soft_descriptors} && exec "$@"', "sh", sys.executable]
        return subprocess.Popen([*limited, *command], cwd=REPO, env=environment, stdout=out, stderr=out), port, log


@contextmanager
def start(folder: Path, *flags: str, soft_descriptors: int | None = None, **env: str) -> Iterator[Server]:
    """A server that answers and has said where it is; it is stopped at the end."""
    process, port, log = launch(folder, *flags, soft_descriptors=soft_descriptors, **env)
    try:
        wait_for_answer(process, f"http://127.0.0.1:{port}/_stcore/health", log)
        yield Server(port, log)
    finally:
        stop_server(process)
