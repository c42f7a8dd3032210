"""Networks as safetensors files: the base of an adapter, the result of a run; and the fingerprint of a network, which
tells one base of adapters from another.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from core.errors import DamagedFileError, NetworkFileError, SpecError, os_error_as
from core.files import write_atomically
from core.methods.targets import without_head
from core.networks.network import METADATA, NetworkSpec, kind_in
from core.networks.registry import FAMILIES, spec_of, spec_of_state
from core.tensor_file import read_tensors, tensors_bytes, tensors_size


def base_fingerprint(network: nn.Module) -> str:
    """The fingerprint of a base of adapters: of all its tensors but those of a head that travels in the adapter."""
    return fingerprint(without_head(network))


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names, dtypes, shapes and bytes of all tensors; tells one network from another."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        # Quoted, so that no name can imitate a header and the bytes that follow it.
        digest.update(f"{json.dumps(name)} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()


def network_bytes(network: nn.Module) -> bytes:
    """The safetensors file of a network's state dict, tied parameters once, with its spec if the tensors do not tell
    it.
    """
    return tensors_bytes(*_content(network))


def network_size(network: nn.Module) -> int:
    """Number of bytes of :func:`network_bytes`, without making them."""
    return tensors_size(*_content(network))


def _content(network: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a network's file."""
    spec = spec_of(network)
    more = spec.metadata() if spec is not None else {}
    again = _tied(network)
    tensors = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items() if name not in again}
    return tensors, {"format": "pt", **more}


def _tied(network: nn.Module) -> dict[str, str]:
    """Parameters that are another one, such as a head that is the embedding, with the first name of that."""
    first: dict[int, str] = {}
    names = ((name, first.setdefault(id(own), name)) for name, own in network.named_parameters(remove_duplicate=False))
    return {name: other for name, other in names if name != other}


def write_network(path: Path, network: nn.Module) -> str:
    """Write :func:`network_bytes` to ``path`` atomically; returns the SHA-256."""
    return write_atomically(path, network_bytes(network))


def read_network(path: Path, sha256: str | None = None) -> nn.Module:
    """Read a network of any family; its sizes are those that the file tells.

    Args:
        path: the file.
        sha256: expected SHA-256 of its content, in hex, if known.

    Raises:
        DamagedFileError: the SHA-256 differs.
        NetworkFileError: not a safetensors file, damaged, or of another architecture.
    """
    limit = max(family.max_bytes for family in FAMILIES)
    # Not load_file, which maps the file: truncating a mapped file kills the process that uses it.
    with os_error_as(NetworkFileError, f"{path.name:.80} cannot be read"), path.open("rb") as file:
        # Its size first: reading up to the limit of the largest family would fill the memory.
        size = os.fstat(file.fileno()).st_size
        content = file.read(limit + 1) if size <= limit else b""
    if max(size, len(content)) > limit:
        raise NetworkFileError(f"{path.name} is larger than any network of LoRA Lab: choose another file.")
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedFileError("This network", path)
    state, metadata = read_tensors(content, path.name, NetworkFileError)
    spec = _spec_of_file(state, metadata, path.name)
    if len(content) > spec.max_bytes:
        raise NetworkFileError(f"{path.name} is larger than any {spec.title} of LoRA Lab: choose another file.")
    try:
        built = spec.build()
    except SpecError as error:
        raise NetworkFileError(str(error)) from error
    expected = built.state_dict()
    state |= {name: state[other] for name, other in _tied(built).items() if name not in state and other in state}
    for name, tensor in state.items():
        if name not in expected or tensor.shape != expected[name].shape:
            raise NetworkFileError(f"{path.name} is of another architecture: {name} has shape {tuple(tensor.shape)}.")
        dtype = expected[name].dtype
        if tensor.dtype != dtype or not torch.isfinite(tensor).all():
            kind = str(dtype).removeprefix("torch.")
            raise NetworkFileError(f"{path.name} is damaged: {name} has values that are not finite {kind}.")
    if missing := sorted(expected.keys() - state.keys()):
        raise NetworkFileError(f"{path.name} is damaged: it has no {missing[0]}.")
    return spec.holding(state)


def _spec_of_file(state: Mapping[str, Tensor], metadata: Mapping[str, str], file: str) -> NetworkSpec:
    """The spec of the network in a file. Raises: NetworkFileError: no family has such a network."""
    try:
        spec = spec_of_state(state, metadata)
    except SpecError as error:
        raise NetworkFileError(f"{file} has sizes that LoRA Lab does not support: {error}") from error
    if spec is not None:
        return spec
    if METADATA in metadata:
        kind = kind_in(metadata[METADATA])
        known = f"of the kind {kind[:60]!r}, which this version of LoRA Lab does not know" if kind else "damaged"
        raise NetworkFileError(f"{file} is {known}: choose another file.")
    raise NetworkFileError(
        f"{file} is of another architecture: a LoRA Lab base has layers.0, layers.2 and layers.4, weight and bias."
    )
