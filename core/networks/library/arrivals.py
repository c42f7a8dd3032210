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
        self._ways: dict[str, Way] = {}
        self._again: dict[str, Work] = {}
        """How to begin again with what is still there."""
        self._told: dict[str, str] = {}
        """What is to be said of each that has arrived."""

    def states_of(self, way: Way) -> list[BackgroundState]:
        """Those of :meth:`states` that are imported in one way."""
        return [state for state in self.states() if self._ways[state.name] == way]

    def import_known(self, name: str, title: str = "") -> None:
        """Begin with a known network or one at Hugging Face; see :meth:`Networks.import_known`.

        Args:
            name: of the network.
            title: what people call it; empty for its name, or the one that it has where it is here already.
        """
        self._bring("name", name, title, lambda progress, stop: self._networks.import_known(name, progress, stop))

    def import_folder(self, folder: Path, title: str = "") -> None:
        """Begin to copy a folder or a zip; see :meth:`import_known`."""
        self._bring("folder", str(folder), title, lambda *told: self._networks.import_folder(folder, title, *told))

    def import_zip(self, content: bytes, file: str, title: str = "") -> str:
        """Begin with an uploaded zip.

        While another zip of the same name is on its way, this one's name is followed by digits of its SHA-256.

        Args:
            content: the zip.
            file: its name.
            title: what people call the network; empty for the file's name.

        Returns:
            The name that it is on its way under.
        """
        state = self.state(file)
        name = f"{file} ({hashlib.sha256(content).hexdigest()[:8]})" if state and state.running else file
        self._bring("zip", name, title, lambda *told: self._networks.import_zip(content, file, title, *told))
        return name

    def told(self, name: str) -> str:
        """What is to be said of a network that has arrived, in one sentence."""
        return self._told.get(name, f"{name} is in your networks.")

    def can_repeat(self, name: str) -> bool:
        """Whether bringing that has ended can begin again: the bytes of an uploaded zip are not kept."""
        return name in self._again

    def repeat(self, name: str) -> None:
        """Begin again; a download goes on where it ended. Does nothing if :meth:`can_repeat` is false."""
        if work := self._again.get(name):
            self.begin(name, work)

    def _bring(self, way: Way, name: str, title: str, bring: Bring) -> None:
        """Import a network and give it the name that somebody typed, also if it was here by another one."""

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

        self._ways[name] = way
        if way != "zip":
            self._again[name] = work
        self.begin(name, work)
