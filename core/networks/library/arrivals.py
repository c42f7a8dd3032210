"""Networks that are imported in background threads, independently of pages."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from core.background import Background, BackgroundState, Work
from core.networks.library.card import NetworkCard
from core.networks.library.networks import Networks

Way = Literal["name", "folder", "zip"]
"""What a network is imported from: a name, here or at Hugging Face, or a folder or zip."""

Bring = Callable[[Callable[[float], None], threading.Event], NetworkCard]
"""Imports a network; called as work in the background is."""


class Arrivals(Background):
    """Networks on their way, each under the name that people gave it. Thread-safe."""

    def __init__(self, networks: Networks) -> None:
        """Args: networks: the library that they come to."""
        super().__init__()
        self._networks = networks
        self._again: dict[str, Work] = {}
        """How to begin again with what is still there."""
        self._zips: dict[str, str] = {}
        """First digits of the SHA-256 of the latest zip of each name."""
        self._ways: dict[str, Way] = {}
        self._told: dict[str, str] = {}
        """What is to be said of each that has arrived."""

    def states_of(self, way: Way) -> list[BackgroundState]:
        """Those of :meth:`states` that are imported in one way."""
        return [state for state in self.states() if self._ways.get(state.name) == way]

    def import_known(self, name: str, title: str = "") -> None:
        """Begin with a known network or one at Hugging Face; see :meth:`Networks.import_known`.

        Args:
            name: of the network.
            title: what people call it; empty for its name, or the one that it has where it is here already.
        """
        self._repeatable(name, "name", title, lambda progress, stop: self._networks.import_known(name, progress, stop))

    def import_folder(self, folder: Path, title: str = "") -> None:
        """Begin to copy a folder or a zip; see :meth:`import_known`."""
        self._repeatable(
            str(folder),
            "folder",
            title,
            lambda progress, stop: self._networks.import_folder(folder, title, progress, stop),
        )

    def import_zip(self, content: bytes, file: str, title: str = "") -> str:
        """Begin with a zip, which cannot be repeated: its bytes are not kept.

        While another zip of the same name is on its way, this one's name is followed by digits of its SHA-256.

        Args:
            content: the zip.
            file: its name.
            title: what people call the network; empty for the file's name.

        Returns:
            The name that it is on its way under.
        """
        digest = hashlib.sha256(content).hexdigest()[:8]
        self._again.pop(file, None)

        def bring(progress: Callable[[float], None], stop: threading.Event) -> NetworkCard:
            return self._networks.import_zip(content, file, progress, stop, title)

        name = file
        if self.begin(file, self._work(file, title, bring)):
            self._zips[file] = digest
        elif self._zips.get(file) != digest:
            name = f"{file} ({digest})"
            self.begin(name, self._work(name, title, bring))
        self._ways[name] = "zip"
        return name

    def told(self, name: str) -> str:
        """What is to be said of a network that has arrived, in one sentence."""
        return self._told.get(name, f"{name} is in your networks.")

    def can_repeat(self, name: str) -> bool:
        """Whether bringing that has ended can begin again."""
        return name in self._again

    def repeat(self, name: str) -> None:
        """Begin again; a download goes on where it ended. Does nothing if :meth:`can_repeat` is false."""
        if work := self._again.get(name):
            self.begin(name, work)

    def _work(self, name: str, title: str, bring: Bring) -> Work:
        """Work that imports a network and gives it the name that somebody typed, also if it was here by another one."""

        def work(progress: Callable[[float], None], stop: threading.Event) -> object:
            titles = self._networks.titles()
            card = bring(progress, stop)
            if title:
                card = self._networks.rename(card.digest, title)
            before = titles.get(card.digest)
            told = f"{name} is in your networks"
            if before is not None:
                told += f" already, as {before}"
                if before != card.title:
                    told += f", and is now called {card.title}"
            self._told[name] = f"{told}."
            return card

        return work

    def _repeatable(self, name: str, way: Way, title: str, bring: Bring) -> None:
        work = self._again[name] = self._work(name, title, bring)
        self._ways[name] = way
        self.begin(name, work)
