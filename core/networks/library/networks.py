"""The library of networks that people have imported, each kept once and named by the digest of its files."""

from __future__ import annotations

import builtins
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cachetools import LRUCache
from torch import nn

from core.errors import LabError, NetworkFileError, NetworkInUseError, os_error_as
from core.networks.causal import CausalSpec
from core.networks.imported import ImportedSpec
from core.networks.library.card import NetworkCard, checked_name, read_card, write_card
from core.networks.library.check import read_all
from core.networks.library.files import CHAT_TEMPLATE, NetworkFiles, told_by
from core.networks.library.hub import hub_place
from core.networks.library.importing import arriving, clean, import_from
from core.networks.library.place import (
    KNOWN,
    KnownNetwork,
    folder_place,
    is_zip,
    known,
    packaged_path,
    packaged_place,
    stem_of,
    zip_place,
)
from core.networks.network import NetworkSpec
from core.networks.tokenizer import SETTINGS, ByteTokenizer, Tokenizer
from core.networks.transformer import TransformerSpec
from core.settings import Settings

MIN_PREFIX = 8
"""Characters of a digest that are enough to name a network."""


MAX_TOKENIZERS = 4
"""Maximum number of tokenizers in memory."""

NAMED = 3
"""Runs that a sentence lists by id; the others are counted."""

_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Offer:
    """A known network that can be imported."""

    network: KnownNetwork
    is_installed: bool
    """Whether it is in an installed package; otherwise it is downloaded."""
    card: NetworkCard | None
    """Its card if it is in the library already."""


class Networks:
    """All imported networks. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        users: Callable[[str], Sequence[str]] = lambda digest: (),
        check_room: Callable[[int], None] = lambda size: None,
    ) -> None:
        """Args:
        settings: the home folder.
        users: ids of the runs that refer to a digest; such a network is not deleted.
        check_room: called with the bytes of a network; raises StorageFullError if the home folder has no room for it.
        """
        self._settings = settings
        self.runs_from = users
        """Ids of the runs that start from a network, so that it cannot be deleted."""
        self._import = partial(import_from, settings.networks, check_room)
        self._tokenizers: LRUCache[str, Tokenizer] = LRUCache(MAX_TOKENIZERS)
        self._lock = threading.Lock()

    def list(self) -> builtins.list[NetworkCard]:
        """All networks, the newest first; damaged ones are left out."""
        found = []
        for folder in self._settings.networks.glob("[0-9a-f]*"):
            try:
                found.append(read_card(folder))
            except (NetworkFileError, OSError):
                continue
        return sorted(found, key=lambda card: (-card.brought, card.digest))

    def card(self, digest: str) -> NetworkCard:
        """One network. Raises: NetworkFileError: it is not in this library, or damaged."""
        try:
            if not _DIGEST.fullmatch(digest):
                raise FileNotFoundError(digest)
            return read_card(self._settings.networks / digest)
        except OSError as error:
            raise NetworkFileError(
                f"The network {digest[:12]} is not in this library: import it on the Networks page."
            ) from error

    def find(self, name: str) -> NetworkCard | None:
        """The newest network with this name: one that people gave it, that of a known network, a name at Hugging Face,
        or the first characters of a digest, at least eight. None if there is none.
        """
        network, own = known(name), name.strip().lower()
        names = network.names if network else frozenset({own})
        cards = self.list()
        named = [card for card in cards if card.name.lower() in names]
        by_name = next(iter(named or [card for card in cards if card.own_name.lower() == own != ""]), None)
        if by_name is not None or len(name) < MIN_PREFIX:
            return by_name
        return next((card for card in cards if card.digest.startswith(name.lower())), None)

    def titles(self) -> dict[str, str]:
        """What each network is called wherever it is shown, by its digest."""
        return {card.digest: card.title for card in self.list()}

    def title_of(self, network: NetworkSpec) -> str:
        """What the network of a run is called: as people call it now, if it was imported and is still here."""
        try:
            return network.sizes if network.brought is None else self.card(network.brought).title
        except NetworkFileError:
            return network.sizes

    def rename(self, digest: str, name: str) -> NetworkCard:
        """Give a network another name. Files, digest, and what runs record stay as they are.

        Args:
            digest: of the network.
            name: the name; empty for the one that it was imported as.

        Raises:
            NetworkFileError: it is not in this library, the name is none, or it cannot be written.
        """
        card, own = self.card(digest), checked_name(name)
        card = replace(card, own_name="" if own == card.name else own)
        with os_error_as(NetworkFileError, "The name could not be saved"):
            write_card(self._settings.networks / card.digest, card)
        return card

    def offers(self) -> builtins.list[Offer]:
        """The known networks, and where each would be imported from."""
        return [Offer(network, packaged_path(network) is not None, self.find(network.name)) for network in KNOWN]

    def spec(self, digest: str, num_classes: int = 2, learns: str = TransformerSpec.learns) -> ImportedSpec:
        """The network as a spec, for data with this number of classes.

        Args:
            digest: of the network.
            num_classes: number of outputs of a classifier.
            learns: kind of data that it is to learn: ``text`` for classes, ``language`` for texts to continue.

        Raises:
            NetworkFileError: it is not in this library.
            SpecError: a network cannot have so many classes.
        """
        card = self.card(digest)
        if learns == CausalSpec.learns:
            found = CausalSpec.of(weights=card.digest, model=card.name, config=card.config)
            found.check_tested()
            return found
        return TransformerSpec.of(
            weights=card.digest, model=card.name, config=card.config, head=card.head, num_classes=num_classes
        )

    def start(self, spec: NetworkSpec, seed: int) -> nn.Module:
        """The network that training starts from: imported weights with a head drawn from ``seed``, else all drawn.

        Raises:
            NetworkFileError: the weights are not in this library, or damaged.
            SpecError: this version of transformers cannot build it.
        """
        if not isinstance(spec, ImportedSpec):
            return spec.build(seed)
        card = self.card(spec.weights)
        weights = read_all(self.folder(card.digest), _weights_of(card), card.files)
        return spec.filled(weights, seed)

    def tokenizer(self, digest: str) -> Tokenizer:
        """The network's tokenizer. Raises: NetworkFileError: it is not in this library, or damaged."""
        with self._lock:
            if digest not in self._tokenizers:
                tokenizer = Tokenizer(digest, self.folder(digest))
                # Decoders pool the last token that is not the one that their config names.
                tokenizer.padding = self.spec(digest).padding
                self._tokenizers[digest] = tokenizer
            return self._tokenizers[digest]

    def tokenizer_of(self, network: NetworkSpec) -> Tokenizer | ByteTokenizer:
        """The tokenizer of a network that reads texts. Raises: NetworkFileError: see :meth:`tokenizer`."""
        return network.tokenizer or self.tokenizer(network.brought or "")

    def can_chat(self, card: NetworkCard) -> bool:
        """Whether a network has a chat template, in a file of its own or, as before transformers 4.43, among the
        settings of its tokenizer.
        """
        folder = self._settings.networks / card.digest
        with suppress(OSError):
            return (folder / CHAT_TEMPLATE).exists() or '"chat_template"' in (folder / SETTINGS).read_text("utf-8")
        return False

    def folder(self, digest: str) -> Path:
        """The folder with the network's files, for ``from_pretrained``.

        Raises:
            NetworkFileError: it is not in this library.
        """
        return self._settings.networks / self.card(digest).digest

    def import_known(
        self, name: str, progress: Callable[[float], None] | None = None, stop: threading.Event | None = None
    ) -> NetworkCard:
        """Import a network by its name, completely or not at all.

        Args:
            name: of a known network, which is taken from its package where that is installed; or at Hugging Face, with
                ``@`` and a revision if wanted.
            progress: called with the fraction that is done, 0 to 1.
            stop: once set, importing ends at the next piece.

        Raises:
            NetworkFileError: there is no such network, something is wrong with it, it was stopped, or the connection
                was lost. What was received of a download is kept, and the next call goes on with it.
            StorageFullError: there is no room for it.
        """
        network = known(name)
        path = packaged_path(network) if network else None
        if network is not None and path is not None:
            unsaved = f"{network.packaged} could not be saved"
            with (
                os_error_as(NetworkFileError, unsaved, "Free some space, then try again."),
                arriving(self._settings.networks, network.packaged) as scratch,
            ):
                place, name = packaged_place(network, path, scratch), network.packaged
                card = self._import(place, name, progress, stop)
        else:
            place = hub_place(network.hub if network else name)
            name = place.what
            card = self._import(place, name, progress, stop)
        if card.name.lower() != name.lower():  # so that it is found by this name; people go on to read the other one
            card = replace(card, name=name, own_name=card.title)
            write_card(self._settings.networks / card.digest, card)
        return card

    def import_folder(
        self,
        folder: Path,
        name: str = "",
        progress: Callable[[float], None] | None = None,
        stop: threading.Event | None = None,
    ) -> NetworkCard:
        """Copy a network from a folder that ``save_pretrained`` wrote, or from a zip of one; see :meth:`import_known`.

        Args:
            folder: with config, tokenizer, and weights as safetensors; or a zip with them, which is read in pieces.
            name: what it is called unless it is here already; default: the folder's name, or the zip's without
                its ending, where that tells which one it is; else one by its config.
            progress: called with the fraction that is done, 0 to 1.
            stop: once set, importing ends at the next piece.
        """
        if is_zip(folder):
            return self.import_zip(folder, folder.name, name, progress, stop)
        return self._import(folder_place(folder), name or told_by(folder.resolve().name), progress, stop)

    def import_zip(
        self,
        content: bytes | Path,
        file: str,
        name: str = "",
        progress: Callable[[float], None] | None = None,
        stop: threading.Event | None = None,
    ) -> NetworkCard:
        """Take a network from a zip. Args: content: it, or where it is; file: its name; others: as for a folder."""
        with zip_place(content, file) as place:
            return self._import(place, name or told_by(stem_of(file)), progress, stop)

    def remove(self, digest: str) -> None:
        """Delete a network; does nothing if it is not there.

        Raises:
            NetworkInUseError: runs refer to it.
            NetworkFileError: it cannot be deleted.
        """
        folder = self._settings.networks / digest
        if not _DIGEST.fullmatch(digest) or not folder.is_dir():
            return
        self._check_unused(digest)
        moved = os_error_as(NetworkFileError, "This network cannot be deleted")
        with moved, arriving(self._settings.networks, "The network") as aside:
            # Moved first, so that no half of a network is ever found under its digest.
            folder.rename(aside / digest)
            try:
                self._check_unused(digest)  # again, since a run may have been queued meanwhile
            except LabError:
                (aside / digest).rename(folder)
                raise
        with self._lock:
            self._tokenizers.pop(digest, None)

    def clean(self) -> None:
        """Delete what processes that were killed have left of networks, and downloads that nobody continued."""
        clean(self._settings.networks)

    def _check_unused(self, digest: str) -> None:
        runs = self.runs_from(digest)
        if runs:
            named = ", ".join(runs[:NAMED]) + (f" and {len(runs) - NAMED:,} more" if len(runs) > NAMED else "")
            raise NetworkInUseError(f"This network cannot be deleted, since runs start from it: {named}.")


def _weights_of(card: NetworkCard) -> NetworkFiles:
    weights = sorted(name for name in card.files if name.endswith(".safetensors"))
    return NetworkFiles(tuple(name for name in card.files if name not in weights), tuple(weights))
