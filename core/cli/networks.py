"""``python -m core networks``: list the imported networks, import and rename them; and networks given by name."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd

from core.cli.options import NOTHING_KEPT, add_home, opened_lab
from core.cli.progress import ProgressBar
from core.errors import LabError
from core.networks.library.card import NetworkCard, checked_name
from core.networks.library.networks import MIN_PREFIX, Networks
from core.networks.library.place import KNOWN, is_place, known
from core.numbers import bytes_text
from core.study.arms.tables import plain_table

NAMES = (
    f"{', '.join(network.name for network in KNOWN)}, a name at Hugging Face, a folder, a zip of one, or the name or "
    "digest of one that was imported before"
)
"""What a network may be given as, for the help of options."""


def networks_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "List the imported networks of a home folder, the newest first. With NETWORK, import it first if "
        "it is not there yet; with --name, call it so from now on."
    )
    parser.set_defaults(command=listed, kept=NOTHING_KEPT)
    parser.add_argument("network", nargs="?", metavar="NETWORK", help=NAMES)
    parser.add_argument("--name", help="what to call NETWORK; empty for the name that it was imported as")
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    add_home(parser)


def listed(options: argparse.Namespace) -> int:
    """Import or rename a network if one is given, and print all of them."""
    if options.name is not None:
        checked_name(options.name)
        if options.network is None:
            raise LabError("--name needs a network: give its name, or the first characters of its digest, before it.")
    with opened_lab(options) as lab:
        if options.network is not None:
            card = network_named(lab.networks, options.network)
            if options.name is not None:
                lab.networks.rename(card.digest, options.name)
        cards = lab.networks.list()
    if options.json:
        print(json.dumps([_values(card) for card in cards], indent=1))
    elif cards:
        print(plain_table(pd.DataFrame([_row(card) for card in cards])))
    else:
        print("No network has been imported to this home folder.")
    return 0


def _values(card: NetworkCard) -> dict[str, object]:
    return {
        "name": card.title,
        "imported_as": card.name,
        "digest": card.digest,
        "architecture": card.architecture,
        "parameters": card.parameters,
        "bytes": card.bytes,
        "origin": card.origin,
        "licence": card.licence,
    }


def _row(card: NetworkCard) -> dict[str, object]:
    return {
        "Name": card.title,
        "Imported as": card.name,
        "Digest": card.digest[:12],
        "Architecture": card.architecture,
        "Parameters": f"{card.parameters:,}",
        "Size": bytes_text(card.bytes),
    }


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
        return networks.import_folder(path, "", shown.share) if is_folder else networks.import_known(name, shown.share)


def _of_commit(networks: Networks, name: str) -> NetworkCard | None:
    """The network that was imported of a commit, as in ``someone/network@1a2b3c4d``; branches and tags may move."""
    hub, _, commit = name.partition("@")
    if len(commit) < MIN_PREFIX:
        return None
    return next((card for card in networks.list() if card.name == hub and card.revision.startswith(commit)), None)
