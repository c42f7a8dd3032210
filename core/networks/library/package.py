"""Networks in installed packages, which are found without importing them."""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from core.errors import NetworkFileError, SpecError
from core.networks.hugging_face import save_gguf
from core.networks.library.known import KnownNetwork
from core.networks.library.place import Place, folder_place
from core.numbers import listed

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
