"""Networks that commands are given by name: found in the library of the home folder, or imported to it."""

from __future__ import annotations

from pathlib import Path

from core.cli.progress import ProgressBar
from core.networks.library.card import NetworkCard
from core.networks.library.known import KNOWN, known
from core.networks.library.networks import MIN_PREFIX, Networks
from core.networks.library.zip_place import is_place

NAMES = (
    f"{', '.join(network.name for network in KNOWN)}, a name at Hugging Face, a folder, a zip of one, or the digest of "
    "one that was imported before"
)
"""What a network may be given as, for the help of options."""


def network_named(networks: Networks, name: str, folders: bool = True) -> NetworkCard:
    """The network of this name; one that is not in the library yet is imported, with progress on stderr.

    A folder or zip is read again each time, since what is in it may have changed; the library keeps equal files once.

    Args:
        networks: the library.
        name: see :data:`NAMES`.
        folders: whether it may be a folder or zip on this machine.

    Raises:
        NetworkFileError: there is none, or something is wrong with it.
        StorageFullError: there is no room for it.
    """
    path = Path(name).expanduser()
    is_folder = folders and known(name) is None and is_place(path)
    found = None if is_folder else networks.find(name) or _of_commit(networks, name)
    if found is not None:
        return found
    title = path.resolve().name if is_folder else name
    with ProgressBar(title, "%", 100) as shown:
        return networks.import_known(name, shown.share, folders=folders)


def _of_commit(networks: Networks, name: str) -> NetworkCard | None:
    """The network that was imported of a commit, as in ``someone/network@1a2b3c4d``; branches and tags may move."""
    hub, _, commit = name.partition("@")
    if len(commit) < MIN_PREFIX:
        return None
    return next((card for card in networks.list() if card.name == hub and card.revision.startswith(commit)), None)
