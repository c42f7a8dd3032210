"""A host of jobs: the process on a node of a cluster that trains one job after another."""

from __future__ import annotations

import pickle
import platform
import queue
import tempfile
import threading
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from core.engine.jobs.job import Command, Commands, Job, dependencies_in, unpack
from core.engine.jobs.messages import Message
from core.engine.jobs.run_job import run_job

MATCHING = ("torch", "transformers")
"""Packages of which lab and node must have the same version. LoRA Lab's own code is sent along."""

TALK_SECONDS = 0.2
"""Longest time to wait for a message: commands come at this interval at least."""

MAX_WAITING = 1000
"""Maximum number of messages that wait to be fetched; at the limit the job waits."""


def versions() -> dict[str, str]:
    """Versions that must be the same where a job is made and where it is trained."""
    found = {"Python": platform.python_version()}
    for name in MATCHING:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


class JobHost:
    """Trains jobs in a thread, and answers calls meanwhile. Its files are in a temporary folder of the process."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="lora-lab-")
        self._home = Path(self._folder.name)
        self._dependencies = dependencies_in(self._home)
        self._known: dict[str, str] = {}
        """Versions of what is in the folder, by name."""
        self._commands = Commands()
        self._beat = 0.0
        self._said: queue.Queue[Message | None] = queue.Queue(MAX_WAITING)

    def versions(self) -> dict[str, str]:
        """See :func:`versions`."""
        return versions()

    def lacks(self, needs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Which of these names and versions this host does not have."""
        return [(name, version) for name, version in needs if self._known.get(name) != version]

    def take(self, need: tuple[str, str], entries: Sequence[tuple[str, bytes]]) -> None:
        """Keep what jobs refer to. Raises: OSError: the disk is full."""
        unpack(entries, self._home)
        name, self._known[name] = need[0], need[1]

    def start(self, job: bytes) -> None:
        """Start a pickled job."""
        self._commands, self._said = Commands(), queue.Queue(MAX_WAITING)
        self._beat = self._commands.beat
        read: Job = pickle.loads(job)  # noqa: S301 - from the lab, which decides what runs here
        threading.Thread(target=self._train, args=(read, self._commands, self._said), daemon=True).start()

    def _train(self, job: Job, commands: Commands, said: queue.Queue[Message | None]) -> None:
        for message in run_job(job, self._dependencies, commands):
            said.put(message)
            del message  # it may hold a checkpoint, and the next one needs the memory
        said.put(None)

    def talk(self, commands: Sequence[bytes]) -> tuple[bool, list[bytes], bool]:
        """Give the job commands, and take what it has said since; wait a little if that is nothing.

        Args:
            commands: lists of commands, pickled.

        Returns:
            Whether the job has taken commands since the last call, which shows that it goes on; its messages, pickled;
            and whether it has ended.
        """
        for pickled in commands:
            given: list[Command] = pickle.loads(pickled)  # noqa: S301 - from the lab
            for command in given:
                self._commands.send(command)
        messages: list[bytes] = []
        over = False
        try:
            message = self._said.get(timeout=TALK_SECONDS)
            while True:
                over = message is None
                if message is None:
                    break
                messages.append(pickle.dumps(message, protocol=5))
                message = self._said.get_nowait()
        except queue.Empty:
            pass
        beat, self._beat = self._beat, self._commands.beat
        return self._beat > beat, messages, over
