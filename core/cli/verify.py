"""``python -m core verify``: check an adapter file against its base."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from torch import nn

from core.adapter import read_adapter, verify_adapter
from core.cli.options import NOTHING_KEPT, add_home
from core.data.dataset import LANGUAGE
from core.errors import NetworkFileError
from core.networks.library.files import CONFIG, INDEX, WEIGHTS
from core.networks.library.networks import Networks
from core.settings import Settings

BINARY = 2
"""Number of classes where an adapter does not say how many it has."""


def verify_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.set_defaults(command=verify, kept=NOTHING_KEPT)
    parser.add_argument("adapter", type=Path, metavar="ADAPTER.zip")
    parser.add_argument(
        "--base",
        required=True,
        metavar="BASE",
        help="file of the base's weights; or of a network that was imported its folder, its name, or at least eight "
        "digits of its digest",
    )
    add_home(parser)


def verify(options: argparse.Namespace) -> int:
    """Check an adapter file, and print what was found."""
    path = Path(options.base).expanduser()
    folder = path.parent if path.name in (WEIGHTS, INDEX) else path
    if (folder / CONFIG).is_file():
        print(verify_adapter(options.adapter, _in_folder(folder, options.adapter)))
    elif path.exists():
        print(verify_adapter(options.adapter, path))
    else:
        networks = Networks(Settings.from_environment(options.home))
        card = networks.find(options.base)
        if card is None:
            raise NetworkFileError(
                f"There is no file {options.base}, and no network of this name was imported: name the base's weights, "
                "or the folder or digest of a network."
            )
        print(verify_adapter(options.adapter, _base(networks, card.digest, options.adapter)))
    return 0


def _in_folder(folder: Path, adapter: Path) -> nn.Module:
    """The base in a folder for transformers, which is checked in a library of its own: nothing is kept of it.

    Raises:
        LabError: there is something wrong with the network or with the adapter.
    """
    with tempfile.TemporaryDirectory() as home:
        networks = Networks(Settings(home=Path(home)))
        return _base(networks, networks.import_folder(folder).digest, adapter)


def _base(networks: Networks, digest: str, adapter: Path) -> nn.Module:
    """An imported network with a head for as many classes as an adapter has; the head is the adapter's own."""
    file = read_adapter(adapter)
    if file.continues:
        return networks.start(networks.spec(digest, learns=LANGUAGE), seed=0)
    spec = networks.spec(digest, BINARY)
    return networks.start(spec.but(num_classes=file.num_classes(spec) or BINARY), seed=0)
