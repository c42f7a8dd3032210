"""Networks in installed packages, which are found without importing them."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from core.errors import NetworkFileError
from core.networks.library.known import KnownNetwork
from core.networks.library.place import FolderPlace


def packaged_path(network: KnownNetwork) -> Path | None:
    """The folder or file of a network in its package; None if that is not installed, or cannot be read here."""
    # Of a package at the top, this runs no code of it.
    found = importlib.util.find_spec(network.package)
    for root in (found.submodule_search_locations or ()) if found else ():
        path = Path(root) / network.path
        if path.exists() and (path.is_dir() or importlib.util.find_spec("gguf")):
            return path
    return None


@contextmanager
def packaged_place(network: KnownNetwork, path: Path, scratch: Path) -> Iterator[FolderPlace]:
    """A network's files in its package, as safetensors.

    Args:
        network: which one.
        path: from :func:`packaged_path`.
        scratch: an empty folder for the files of one that is not stored as safetensors.

    Raises:
        NetworkFileError: the package's file cannot be read.
    """
    if path.is_file():
        convert(path, scratch)
    yield FolderPlace(
        path if path.is_dir() else scratch,
        f"The package {network.distribution}",
        f"package {network.distribution}",
        _version(network.distribution),
    )


def convert(path: Path, folder: Path) -> None:
    """Write the network of a GGUF file to a folder, with weights as float32.

    Raises:
        NetworkFileError: it cannot be read.
        OSError: the disk is full or not writable.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = os.fspath(path.parent)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            place, gguf_file=path.name, dtype=torch.float32, local_files_only=True
        )
        tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=path.name, local_files_only=True)
    except (ValueError, LookupError, TypeError, AttributeError, ImportError, RuntimeError) as error:
        raise NetworkFileError(f"{path.name:.80} cannot be read: install its package again.") from error
    # The weights are floats by now; otherwise they could not be saved.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
