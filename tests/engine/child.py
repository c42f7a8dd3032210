"""A lab in a child process, to be killed, suspended or terminated before it has trained to the end."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from core.engine.jobs.run_files import NETWORK
from core.lab import Lab
from core.run_spec import RunSpec
from core.settings import Settings
from tests import forked
from tests.conftest import braked, wait_until
from tests.forked import Process


@contextmanager
def lab_process(home: Path, specs: Sequence[RunSpec] = (), **settings: Any) -> Iterator[tuple[Process, list[str]]]:
    """Yield a process with a lab on ``home``, and the ids of the runs that it queued; kill it at the end."""
    arguments = [str(home), json.dumps(settings), *(spec.to_json() for spec in specs)]
    process = forked.start(["-m", "tests.engine.child", *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield process, [process.stdout.readline().strip() for _ in specs]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def suspend(lab: Lab, process: Process) -> None:
    """Suspend a process that writes to the same store, but not while it writes: then nobody else could."""
    with lab.store.transaction():
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)


def held_back(lab: Lab, spec: RunSpec) -> tuple[str, Path, bytes, int]:
    """Launch a run, and wait until it waits at a named pipe that is in the place of its base.

    Returns:
        the id of the run, the path of the base, what was in that file, and the writing end of the pipe.
    """
    path = lab.artifacts.path(str(spec.base), NETWORK)
    content = path.read_bytes()
    path.unlink()
    os.mkfifo(path)
    id, found = lab.launcher.launch(spec).id, list[int]()

    def opened() -> bool:
        try:
            found.append(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        return bool(found)

    wait_until(opened)
    os.set_blocking(found[0], True)
    return id, path, content, found[0]


def main() -> None:
    home, settings, *specs = sys.argv[1:]
    lab = Lab(Settings(home=Path(home), **json.loads(settings)))
    with braked():
        lab.start()
        for text in specs:
            print(lab.launcher.launch(RunSpec.from_json(text)).id, flush=True)
        time.sleep(300)


if __name__ == "__main__":
    main()
