"""A signal ends the process within five seconds, with a checkpoint of the run, which can be resumed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from core.files import sha256_of
from core.lab import Lab
from core.run_spec import RunSpec
from core.settings import Settings
from tests import forked
from tests.browser.conftest import REPO, run_server
from tests.conftest import DIGITS, short, wait_until
from tests.forked import Process
from tests.soak.sizes import full_or_short, keep

LIMIT = full_or_short(5.0, 25.0)
"""Seconds that a process may take to end: what is promised at full size, and the limit of a hang in the short form."""

TIMES = full_or_short(5, 1)

Started = tuple[Process, Path, Callable[[], str]]
"""A process, its stderr file, and a function that returns the id of the run in training."""


@contextmanager
def server(folder: Path, reader: Lab) -> Iterator[Started]:
    """The dashboard with a visitor who keeps a connection open."""
    spec = RunSpec.of(method="pretrain", task=DIGITS, optim=short(epochs=200))
    run, waiting = (
        reader.launcher.launch(spec),
        reader.launcher.launch(spec.but(seed=1)),
    )  # this lab is not started: the server trains
    process, url = run_server(REPO / "app.py", folder)
    with socket.create_connection(("127.0.0.1", urlsplit(url).port)) as visitor:
        visitor.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert visitor.recv(12) == b"HTTP/1.1 200"
        yield process, folder / "server.log", lambda: run.id
        assert reader.store.run(waiting.id).state in {"queued", "interrupted"}


@contextmanager
def command(folder: Path, reader: Lab) -> Iterator[Started]:
    """The command line while it trains."""
    arguments = ["compare", "--source", "digits", "--pretrain-epochs", "200", "--home", str(folder / "home")]
    with (folder / "errors.log").open("wb") as log:
        environment = {**os.environ, "LORA_LAB_DATA": ""}
        process = forked.start(["-m", "core", *arguments], stdout=subprocess.DEVNULL, stderr=log, env=environment)
    yield process, folder / "errors.log", lambda: next(run.id for run in reader.store.runs(methods=["pretrain"]))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("start", [server, command])
def test_a_signal_ends_the_process_soon_with_a_checkpoint_of_what_it_trained(
    tmp_path: Path, start: Callable[..., Iterator[Started]], number: signal.Signals
) -> None:
    took = []
    for attempt in range(TIMES):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        reader = Lab(Settings(home=folder / "home"))
        with start(folder, reader) as (process, log, id_of):
            try:
                wait_until(lambda reader=reader: any(run.step > 50 for run in reader.store.runs(states=["running"])))
                id, begun = id_of(), time.monotonic()
                process.send_signal(number)
                status = process.wait(timeout=30)
                took.append(time.monotonic() - begun)
            finally:
                process.kill()
                process.wait()
        run, kept = reader.store.run(id), reader.store.checkpoint(id)
        assert run.state == "interrupted"
        assert kept is not None
        assert sha256_of(reader.settings.runs / id / kept[0]) == kept[1]
        assert f"checkpoint-{run.step}-" in kept[0]  # of its last step, so nothing is lost
        assert list((folder / "home" / "owners").iterdir()) == []
        if start is command:
            assert status == 128 + number
            words = log.read_text(encoding="utf-8")
            assert f"Ended by {number.name}." in words
            assert "Every run is kept" in words
            assert "Finish" in words
            assert "Traceback" not in words
        reader.launcher.finish([id])
        assert reader.store.run(id).resumed_step == run.step > 50
        reader.close()
    assert max(took) < LIMIT
    name = "the dashboard" if start is server else "the command line"
    keep(f"{number.name} to {name}", times=TIMES, slowest_seconds=round(max(took), 2))
