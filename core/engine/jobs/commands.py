"""Commands: what a job is told while it trains."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from core.errors import LeftError


@dataclass(frozen=True)
class Stop:
    """End a member, and keep what it has learned."""

    member: int


@dataclass(frozen=True)
class Drop:
    """End a member without a result, and without a checkpoint: nobody waits for it any more."""

    member: int


@dataclass(frozen=True)
class Save:
    """Make a checkpoint of every member."""


@dataclass(frozen=True)
class Leave:
    """Make a checkpoint of every member and end all of them without a result: they are resumed later."""


Command = Stop | Drop | Save | Leave


class Commands:
    """The commands of one job. Any thread may give one; the job takes them between its steps.

    What the job knows changes in :meth:`is_due` and :meth:`check` only. The loop asks for a checkpoint before it asks
    who is to stop, so whoever leaves has had a checkpoint made.
    """

    def __init__(self) -> None:
        self._given: SimpleQueue[Command] = SimpleQueue()
        self._stopping: set[int] = set()
        self._dropped: set[int] = set()
        self._leaving = False
        self._saving = False
        self.beat = time.monotonic()
        """When the job last took commands, which shows that it goes on."""
        self.abandoned = False
        """Whether nobody listens to the job any more, since it did not go on. Its executor gives up what it takes."""

    def send(self, command: Command) -> None:
        """Give a command."""
        self._given.put(command)

    def take(self) -> list[Command]:
        """The commands that were given since; called by the job, or by an executor that passes them on.

        Call it only when the job has shown that it goes on: that is what :attr:`beat` stands for.
        """
        self.beat = time.monotonic()
        taken = []
        while True:
            try:
                taken.append(self._given.get_nowait())
            except Empty:
                return taken

    # What the job asks

    def check(self, members: Iterable[int]) -> None:
        """Take commands before the first step. Raises: LeftError: no member is to be trained any more."""
        self._take()
        if self._leaving or self._dropped.issuperset(members):
            raise LeftError

    def is_due(self) -> bool:
        """Take commands, and return whether to make a checkpoint of every member."""
        self._take()
        return self._saving or self._leaving

    def saved(self) -> None:
        """Called with the first checkpoint after :meth:`is_due`: those that are due are being made."""
        self._saving = False

    def is_stopping(self, member: int) -> bool:
        """Whether a member is to end now."""
        return member in self._stopping or self.is_left(member)

    def is_left(self, member: int) -> bool:
        """Whether a member is to end without a result."""
        return self._leaving or member in self._dropped

    def _take(self) -> None:
        for command in self.take():
            match command:
                case Stop(member):
                    self._stopping.add(member)
                    self._saving = True  # so that it can go on from there
                case Drop(member):
                    self._dropped.add(member)
                case Save():
                    self._saving = True
                case Leave():
                    self._leaving = True
