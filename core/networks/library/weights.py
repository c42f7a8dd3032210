"""Weights in safetensors files of any size: headers checked before anything is allocated, tensors read one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from core.errors import NetworkFileError, os_error_as, printable
from core.tensor_file import FLOATS, TensorEntry, header_entries


def read_header(path: Path) -> tuple[TensorEntry, ...]:
    """The tensors of a file, in the order of their bytes, once the header agrees with itself and with the file's size.

    Raises:
        NetworkFileError: not a safetensors file, damaged, cut off, or of types that are not known.
    """
    with os_error_as(NetworkFileError, f"{path.name:.80} cannot be read"), path.open("rb") as file:
        return header_entries(file, path.stat().st_size, path.name[:80], NetworkFileError)


def read_weights(
    path: Path, sha256: str | None = None, check_stopped: Callable[[], None] = lambda: None
) -> dict[str, Tensor]:
    """The weights of a file by their names, as they are stored.

    Args:
        path: the file.
        sha256: expected SHA-256 of the whole file, in hex, if known.
        check_stopped: called between tensors; what it raises ends the reading.

    Raises:
        NetworkFileError: see :func:`read_header`; or the SHA-256 differs, or a value is not finite.
    """
    entries = read_header(path)
    digest = hashlib.sha256()
    weights: dict[str, Tensor] = {}
    # Not load_file, which maps the file: truncating a mapped file kills the process that uses it.
    with os_error_as(NetworkFileError, f"{path.name:.80} cannot be read"), path.open("rb") as file:
        head = file.read(8)
        digest.update(head)
        digest.update(file.read(int.from_bytes(head, "little")))
        for entry in entries:
            check_stopped()
            content = torch.empty(entry.nbytes, dtype=torch.uint8)
            if file.readinto(content.numpy().data) != entry.nbytes:  # a file system reads whole, except at the end
                raise NetworkFileError(f"{path.name:.80} became shorter while it was read: import it again.")
            digest.update(content.numpy().data)
            if entry.is_weight:
                tensor = content.view(FLOATS[entry.dtype]).reshape(entry.shape)
                if not torch.isfinite(tensor).all():
                    raise NetworkFileError(
                        f"{path.name:.80} is damaged: {printable(entry.name)} has values that are not finite."
                    )
                weights[entry.name] = tensor
    if sha256 is not None and digest.hexdigest() != sha256:
        raise NetworkFileError(f"{path.name:.80} is no longer what was imported: import this network again.")
    return weights
