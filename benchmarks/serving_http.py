"""Rows per second end to end: clients ask ``python -m core serve`` over HTTP, with JSON read and written on both sides.

The clients are threads of this process, so they take cores from the server on a small machine.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.dashboard import ROOT, free_port
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.plan.configuration import preset_configuration
from core.run_spec import OptimSpec
from core.settings import Settings
from core.tasks.presets import preset_tasks
from core.web.predict import ADAPTERS, PREDICT
from tests.launching import compare, fine_tune

SIZES = (1, 16, 64)
"""Rows per request."""

CLIENTS = (1, 8)
"""Clients at once."""

SEEDS = {"perceptron": range(8), "minilm": range(4)}
"""One adapter per seed."""

BODIES = 16
"""Different requests."""

TEXT = "a round fruit with red or green skin that grows on a tree in autumn"
"""About 16 tokens."""


def train(home: Path, network: str) -> None:
    """Fill a home folder with a base and an adapter per seed."""
    lab = Lab(Settings(home))
    lab.start()
    seeds = SEEDS[network]
    if network == "perceptron":
        optim = OptimSpec.of(epochs=1)
        arms = [(optim, LoRASpec.of(rank=4))]
        experiment = compare(lab, preset_configuration(lab.catalog, "rotation-45", "digits", None, optim, arms, seeds))
    else:
        spec = lab.networks.spec(lab.networks.import_known("minilm").digest, 12)
        _, task = preset_tasks("split", "definitions", lab.catalog)
        arms = [(OptimSpec.of(epochs=1, batch_size=8), LoRASpec.of(rank=8))]
        experiment = fine_tune(lab, spec, task.but(shots=1), arms, seeds)
    while any(run.is_live for run in lab.store.members(experiment)):
        lab.live()
        time.sleep(0.1)
    lab.close()


@contextmanager
def served(home: Path, threads: int) -> Iterator[int]:
    """Serve a home folder. Returns: the port."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if name != "LORA_LAB_TOKEN"}
    server = subprocess.Popen(
        [sys.executable, "-m", "core", "serve", "--home", str(home), "--port", str(port)],
        cwd=ROOT,
        env=environment | {"OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                names(port)
                break
            except ConnectionError:
                if server.poll() is not None:
                    raise SystemExit("The server did not start.") from None
                time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait(20)


def names(port: int) -> list[str]:
    """Adapters that rows can name."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", ADAPTERS)
    found = json.loads(connection.getresponse().read())["adapters"]
    connection.close()
    return [each["adapter"] for each in found]


def bodies(adapters: Sequence[str], size: int, network: str) -> list[bytes]:
    """Requests of so many rows, each with an adapter drawn at random."""
    chance = random.Random(size)

    def row() -> dict[str, object]:
        if network == "perceptron":
            return {"pixels": [round(chance.randrange(256) / 255, 4) for _ in range(784)]}
        return {"text": TEXT}

    return [
        json.dumps({"rows": [row() | {"adapter": chance.choice(adapters)} for _ in range(size)]}).encode()
        for _ in range(BODIES)
    ]


def answered(port: int, asked: Sequence[bytes], seconds: float) -> int:
    """Number of requests that one client gets answered, one after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    end, count = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        connection.request("POST", PREDICT, asked[count % len(asked)])
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise SystemExit(f"The server answered {answer.status}: {content.decode()[:200]}")
        count += 1
    connection.close()
    return count


def rows_per_second(port: int, asked: Sequence[bytes], size: int, clients: int, seconds: float) -> float:
    """Rows that all clients together get answered per second."""
    with ThreadPoolExecutor(clients) as pool:
        start = time.perf_counter()
        counts = list(pool.map(lambda _: answered(port, asked, seconds), range(clients)))
        return size * sum(counts) / (time.perf_counter() - start)


def measure(network: str, threads: int, seconds: float) -> None:
    """Measure, and print a table in Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder), network)
        with served(Path(folder), threads) as port:
            adapters = names(port)
            print(f"Rows per second over HTTP, {len(adapters)} adapters of one base: {network}.\n")
            titles = [f"{clients} client{'s' if clients > 1 else ''}" for clients in CLIENTS]
            print("| rows per request | " + " | ".join(titles) + " |\n| --- |" + " --- |" * len(CLIENTS))
            for size in SIZES:
                asked = bodies(adapters, size, network)
                rows_per_second(port, asked, size, 1, 0.2)  # reads the adapters
                found = [rows_per_second(port, asked, size, clients, seconds) for clients in CLIENTS]
                print(f"| {size} | " + " | ".join(f"{each:,.0f}" for each in found) + " |", flush=True)
            print()
