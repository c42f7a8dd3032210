"""A real server with flags of its own, and a client that shows only what it is told to."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from core.lab import Lab
from core.networks.perceptron import PerceptronSpec
from core.run_spec import RunSpec
from core.settings import Settings
from tests import forked
from tests.browser.conftest import REPO, START_SECONDS, answers, free_port
from tests.conftest import DIGITS, HANG, finish, short
from tests.forked import Process

TOKEN_LINK = re.compile(r"http://localhost:\d+/\?token=([\w-]{43})$", re.MULTILINE)


def home_with_a_run(home: Path) -> str:
    """Train a run in a home folder; return its id."""
    with closing(Lab(Settings(home=home))) as lab:
        lab.start()
        network = PerceptronSpec.of(num_classes=10)
        run = lab.launch(RunSpec.of(method="pretrain", network=network, task=DIGITS, optim=short()))
        assert finish(lab, run.id)[0].state == "finished"
    return run.id


@dataclass
class Server:
    process: Process
    port: int
    log: Path

    def printed(self) -> str:
        return self.log.read_text()

    def visitor(self, **headers: str) -> Visitor:
        return Visitor(self.port, headers)

    def entered(self) -> Visitor:
        """A visitor who has shown the token that the server printed."""
        visitor = self.visitor()
        link = TOKEN_LINK.search(self.printed())
        assert link
        answer, _ = visitor.ask("GET", f"/?token={link[1]}")
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


def launch(folder: Path, *flags: str, descriptors: int | None = None, **env: str) -> tuple[Process, int, Path]:
    """Start a server, without waiting for it; ``descriptors`` is the ``ulimit -n`` that it is given."""
    port, log = free_port(), folder / "server.log"
    options = ["--server.port", str(port), "--server.headless", "true", *flags]
    environment = {**os.environ, "LORA_LAB_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", **env}
    command = ["-m", "streamlit", "run", str(REPO / "app.py"), *options]
    with log.open("wb") as out:
        if not descriptors:
            return forked.start(command, env=environment, stdout=out, stderr=out), port, log
        limited = ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", sys.executable]
        return subprocess.Popen([*limited, *command], cwd=REPO, env=environment, stdout=out, stderr=out), port, log


def start(folder: Path, *flags: str, descriptors: int | None = None, **env: str) -> Server:
    """A server that answers and has said where it is."""
    process, port, log = launch(folder, *flags, descriptors=descriptors, **env)
    end = time.monotonic() + START_SECONDS
    while not answers(f"http://127.0.0.1:{port}/_stcore/health"):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)
    return Server(process, port, log)
