"""The library of networks that people have brought, each kept once and named by the digest of its files."""

from __future__ import annotations

import builtins
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from cachetools import LRUCache
from torch import nn

from core.errors import NetworkFileError
from core.networks.library.bringing import Bringing
from core.networks.library.card import NetworkCard, read_card
from core.networks.library.check import read_all
from core.networks.library.files import NetworkFiles
from core.networks.network import NetworkSpec
from core.networks.tokenizer import Tokenizer
from core.networks.transformer import TransformerSpec
from core.settings import Settings

MIN_PREFIX = 8
"""Characters of a digest that are enough to name a network."""


class Networks:
    """All brought networks. Thread-safe."""

    def __init__(self, settings: Settings, keep: int = 4) -> None:
        """Args:
        settings: the home folder.
        keep: number of tokenizers to keep in memory.
        """
        self._settings = settings
        self._readers: LRUCache[str, Tokenizer] = LRUCache(keep)
        self._lock = threading.Lock()

    def list(self) -> builtins.list[NetworkCard]:
        """All networks, the newest first; damaged ones are left out."""
        found = []
        for folder in self._settings.networks.glob("[0-9a-f]" * 64):
            try:
                found.append(read_card(folder))
            except (NetworkFileError, OSError):
                continue
        return sorted(found, key=lambda card: (-card.brought, card.digest))

    def card(self, digest: str) -> NetworkCard:
        """One network. Raises: NetworkFileError: it is not in this library, or damaged."""
        try:
            return read_card(self._settings.networks / digest)
        except OSError as error:
            raise NetworkFileError(
                f"The network {digest[:12]} is not in this library: bring it on the Networks page."
            ) from error

    def find(self, name: str) -> NetworkCard | None:
        """The newest network with this name: in the catalogue, at Hugging Face, or of at least eight characters of
        its digest; None if there is none.
        """
        names = {name.lower()}
        cards = self.list()
        by_name = next((card for card in cards if card.name.lower() in names), None)
        if by_name is not None or len(name) < MIN_PREFIX:
            return by_name
        return next((card for card in cards if card.digest.startswith(name.lower())), None)

    def spec(self, digest: str, num_classes: int = 2) -> TransformerSpec:
        """The network as a spec, for data with this number of classes.

        Raises:
            NetworkFileError: it is not in this library.
            SpecError: a network cannot have so many classes.
        """
        card = self.card(digest)
        return TransformerSpec.of(
            weights=card.digest, model=card.name, config=card.config, head=card.head, num_classes=num_classes
        )

    def start(self, spec: NetworkSpec, seed: int) -> nn.Module:
        """The network that training starts from: brought weights with a head drawn from ``seed``, else all drawn.

        Raises:
            NetworkFileError: the weights are not in this library, or damaged.
            SpecError: this version of transformers cannot build it.
        """
        if not isinstance(spec, TransformerSpec):
            return spec.build(seed)
        card = self.card(spec.weights)
        weights = read_all(self.folder(card.digest), _weights_of(card), card.files)
        return spec.filled(weights, seed)

    def reader(self, digest: str) -> Tokenizer:
        """The network's tokenizer. Raises: NetworkFileError: it is not in this library, or damaged."""
        with self._lock:
            if digest not in self._readers:
                self._readers[digest] = Tokenizer(digest, self.folder(digest))
            return self._readers[digest]

    def folder(self, digest: str) -> Path:
        """The folder with the network's files, for ``from_pretrained``.

        Raises:
            NetworkFileError: it is not in this library.
        """
        return self._settings.networks / self.card(digest).digest

    def bring_folder(
        self,
        folder: Path,
        name: str = "",
        progress: Callable[[float], None] | None = None,
        stop: threading.Event | None = None,
    ) -> NetworkCard:
        """Copy a network from a folder, as ``save_pretrained`` writes it, completely or not at all.

        Args:
            folder: with config, tokenizer, and weights as safetensors.
            name: what people call it; default: the folder's name.
            progress: called with the fraction that is done, 0 to 1.
            stop: once set, bringing ends at the next piece.

        Raises:
            NetworkFileError: a file is missing, damaged or too large, or it was stopped.
            StorageFullError: there is no room for it.
        """
        return Bringing(self._settings, f"The folder {folder.name:.60}", progress, stop).from_folder(
            folder, name or folder.name, "folder"
        )

    def remove(self, digest: str) -> None:
        """Delete a network; does nothing if it is not there.

        Raises:
            NetworkFileError: it cannot be deleted.
        """
        folder = self._settings.networks / digest
        with self._lock:
            self._readers.pop(digest, None)
        if not folder.is_dir():
            return
        try:
            # Moved first, so that no half of a network is ever found under its digest.
            aside = Path(tempfile.mkdtemp(dir=self._settings.networks, prefix=".removed.", suffix=".part"))
            folder.rename(aside / digest)
            shutil.rmtree(aside)
        except OSError as error:
            raise NetworkFileError(f"This network cannot be deleted: {error.strerror}.") from error


def _weights_of(card: NetworkCard) -> NetworkFiles:
    weights = sorted(name for name in card.files if name.endswith(".safetensors"))
    return NetworkFiles(tuple(name for name in card.files if name not in weights), tuple(weights))
