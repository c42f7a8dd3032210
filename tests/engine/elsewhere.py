"""An executor that runs each job in a process which shares neither memory nor the home folder with the lab.

``python -m tests.engine.elsewhere`` is that process. It reads a job and what the job refers to from its standard input,
then commands; it writes messages to its standard output. Its files are in a folder of its own, which it deletes.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from core.engine.jobs.executor import Executor
from core.engine.jobs.job import Commands, Dependencies, Job, dependencies_in, needs_of, unpack
from core.engine.jobs.messages import Message
from core.engine.jobs.run_job import run_job
from core.errors import ExecutorError
from tests import forked
from tests.forked import Process

ALIVE_SECONDS = 0.05
"""Interval at which the process says that the job goes on."""


def send(file: BinaryIO, value: Any) -> None:
    pickle.dump(value, file)
    file.flush()


class ElsewhereExecutor(Executor):
    """Sends every job to a process of its own."""

    def __init__(self, dependencies: Dependencies) -> None:
        super().__init__(dependencies)
        self.processes: list[Process] = []
        """One per job, the latest last."""

    def start(self, job: Job, commands: Commands) -> Iterator[Message]:
        process = forked.start(
            ["-m", "tests.engine.elsewhere"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "LORA_LAB_HOME": os.devnull},
        )
        self.processes.append(process)
        needed = [entry for need in needs_of([job], self.dependencies) for entry in need.entries()]
        heard: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        listener = threading.Thread(target=self._listen, args=(process, commands, heard), daemon=True)
        listener.start()
        try:
            send(process.stdin, (job, needed))
            while (message := heard.get()) is not None:
                yield message
            if process.wait():
                raise ExecutorError("The process that trained it was killed: finish the run to go on.")
        finally:
            process.kill()
            process.wait()
            listener.join()
            for pipe in (process.stdin, process.stdout):
                with suppress(BrokenPipeError):
                    pipe.close()

    @staticmethod
    def _listen(process: Process, commands: Commands, heard: queue.SimpleQueue[Message | None]) -> None:
        """Take what the process says: messages, and in between that it is alive."""
        with suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                said = pickle.load(process.stdout)
                for command in commands.take():
                    send(process.stdin, command)
                if said is not None:
                    heard.put(said)
        heard.put(None)


def main() -> None:
    job, needed = pickle.load(sys.stdin.buffer)
    commands, speaking = Commands(), threading.Lock()

    def say(value: Message | None) -> None:
        with speaking:
            send(sys.stdout.buffer, value)

    def hear() -> None:
        with suppress(EOFError):
            while True:
                commands.send(pickle.load(sys.stdin.buffer))

    def live() -> None:
        beat = 0.0
        while True:
            if commands.beat > beat:
                beat = commands.beat
                say(None)
            time.sleep(ALIVE_SECONDS)

    for work in (hear, live):
        threading.Thread(target=work, daemon=True).start()
    with tempfile.TemporaryDirectory() as home:
        unpack(needed, Path(home))
        for message in run_job(job, dependencies_in(Path(home)), commands):
            say(message)
    os._exit(0)  # a thread still reads the standard input


if __name__ == "__main__":
    main()
