"""A real Ray cluster on this machine: a head and nodes with processes, ports and temporary folders of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

RAY = Path(sys.executable).with_name("ray")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class RayCluster:
    """Nodes are started with ``ray start --block`` and killed with everything that they have started."""

    def __init__(self, cpus: int = 1) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
        self.address = f"127.0.0.1:{free_port()}"
        self.nodes: list[subprocess.Popen[bytes]] = []
        port = self.address.rpartition(":")[2]
        self._start("--head", f"--port={port}", f"--num-cpus={cpus}", "--include-dashboard=false", "--no-monitor")

    def add(self, cpus: int = 1) -> None:
        """Add a node."""
        self._start(f"--address={self.address}", f"--num-cpus={cpus}")

    def _start(self, *options: str) -> None:
        number = len(self.nodes)
        home = Path(self.folder.name) / str(number)
        home.mkdir()
        # A home of its own for each node, so that nothing of the lab's can be reached through the environment.
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_failure_threshold": "4",
            # Jobs have processes with an environment of their own, so nobody would use those started beforehand.
            "RAY_prestart_worker_first_driver": "0",
            "RAY_enable_worker_prestart": "0",
        }
        command = [str(RAY), "start", "--block", "--node-ip-address=127.0.0.1", "--object-store-memory=100000000"]
        command += ["--include-log-monitor=false", f"--temp-dir={home}", *options]
        with (home / "log").open("wb") as log:
            node = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log, start_new_session=True)
        self.nodes.append(node)

    def kill(self, number: int) -> None:
        """End a node with SIGKILL, as a power cut would."""
        node = self.nodes[number]
        with suppress(psutil.NoSuchProcess):
            # The group of the node's own processes, and workers, which Ray puts into groups of their own.
            for process in [psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
        node.wait()

    def close(self) -> None:
        for number in reversed(range(len(self.nodes))):
            self.kill(number)
        self.folder.cleanup()
