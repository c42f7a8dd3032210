"""Many clients ask one server for predictions at once, with right and wrong requests: no error, and memory stays."""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch

from core.adapter import apply_adapter
from core.methods.dora import DoRASpec
from core.methods.lora import LoRASpec
from core.settings import Settings
from tests import forked
from tests.browser.conftest import answers, free_port
from tests.conftest import HANG, compared, finish, short, training_lab, wait_until
from tests.soak.sizes import FULL, full_or_short, keep, later_thirds
from tests.soak.test_crowd import memory

CLIENTS = full_or_short(20, 4)
SECONDS = full_or_short(120.0, 3.0)
ROWS = 16
MAX_GROWTH = 32 * 2**20
"""Maximum growth of the server's memory from the middle third to the last."""

WRONG = (
    (b"{", 400),
    (b'{"rows": []}', 422),
    (json.dumps({"rows": [{"adapter": "r-00000000", "pixels": [0.0] * 784}]}).encode(), 404),
    (json.dumps({"rows": [{"adapter": None, "pixels": [0.0] * 3}]}).encode(), 422),
)
"""Requests that cannot be answered. The status is one of 4xx, and the body has a sentence."""


class Client(threading.Thread):
    """Asks for predictions until its time is over."""

    def __init__(self, port: int, bodies: list[tuple[bytes, list[int]]], seed: int) -> None:
        super().__init__(daemon=True)
        self._port, self._bodies, self._chance = port, bodies, random.Random(seed)
        self.end = time.monotonic() + SECONDS
        self.waits: list[float] = []
        self.refused = 0
        self.complaints: list[str] = []

    def run(self) -> None:
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=HANG)) as connection:
                while time.monotonic() < self.end:
                    if self._chance.random() < 0.05:
                        self._ask_wrong(connection)
                    else:
                        self._ask(connection)
        except Exception as error:  # noqa: BLE001 - the test tells it
            self.complaints.append(f"{type(error).__name__}: {error}")

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        body, expected = self._chance.choice(self._bodies)
        start = time.monotonic()
        status, found = asked(connection, body)
        if status == 503:  # more rows wait than there is room for
            self.refused += 1
            return
        self.waits.append(time.monotonic() - start)
        if status != 200 or [one["label"] for one in found["predictions"]] != expected:
            self.complaints.append(f"{status}: {str(found)[:300]}")

    def _ask_wrong(self, connection: http.client.HTTPConnection) -> None:
        body, _ = self._chance.choice(WRONG)
        status, found = asked(connection, body)
        if not 400 <= status < 500 or not str(found.get("error", "")).endswith("."):
            self.complaints.append(f"{status}: {str(found)[:300]}")


def asked(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, dict[str, list[dict[str, int]]]]:
    connection.request("POST", "/api/predict", body)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[forked.Process, int, list[tuple[bytes, list[int]]]]]:
    """A server, its port, and requests with the labels that each is to be answered with."""
    arms = [(short(epochs=1), method) for method in (LoRASpec.of(), LoRASpec.of(rank=1), DoRASpec.of())]
    with training_lab(Settings(tmp_path / "home")) as lab:
        experiment = compared(lab, "rotation-45", "digits", None, short(), arms, range(full_or_short(4, 1)))
        runs = finish(lab, *experiment.runs)
        base = lab.artifacts.network(experiment.base)
        networks = {run.id: apply_adapter(base, lab.artifacts.adapter(run.id)).eval() for run in runs}
    chance, draw, bodies = random.Random(0), torch.Generator().manual_seed(0), []
    for _ in range(32):
        x = torch.rand(ROWS, 784, generator=draw)
        names = [chance.choice([None, *networks]) for _ in range(ROWS)]
        rows = [{"adapter": name, "pixels": row.tolist()} for name, row in zip(names, x, strict=True)]
        with torch.no_grad():
            own = [base if name is None else networks[name] for name in names]
            labels = [int(network(row[None]).argmax()) for network, row in zip(own, x, strict=True)]
        bodies.append((json.dumps({"rows": rows}).encode(), labels))
    port = free_port()
    server = forked.start(
        ["-m", "core", "serve", "--home", str(tmp_path / "home"), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: server.poll() is not None or answers(f"http://127.0.0.1:{port}/api/adapters"))
    assert server.poll() is None
    yield server, port, bodies
    server.terminate()
    server.wait(HANG)


@pytest.mark.timeout(900 if FULL else 300)
def test_many_clients_are_answered_and_memory_stays(
    served: tuple[forked.Process, int, list[tuple[bytes, list[int]]]],
) -> None:
    server, port, bodies = served
    clients = [Client(port, bodies, seed) for seed in range(CLIENTS)]
    for client in clients:
        client.start()
    grown = []
    while any(client.is_alive() for client in clients):
        grown.append(memory(server))
        time.sleep(SECONDS / 60)
    waits = [wait for client in clients for wait in client.waits]
    middle, last = later_thirds(grown)
    keep(
        "serving",
        clients=CLIENTS,
        seconds=SECONDS,
        requests=len(waits),
        rows_per_request=ROWS,
        rows_per_second=round(ROWS * len(waits) / SECONDS),
        median_ms=round(1000 * median(waits), 1),
        p95_ms=round(1000 * float(np.percentile(waits, 95)), 1),
        told_to_wait=sum(client.refused for client in clients),
        middle_third_mib=round(middle / 2**20),
        last_third_mib=round(last / 2**20),
    )
    assert [complaint for client in clients for complaint in client.complaints] == []
    assert all(client.waits for client in clients)
    assert last <= middle + (MAX_GROWTH if FULL else 8 * MAX_GROWTH)
    assert server.poll() is None
