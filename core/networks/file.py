"""Networks as safetensors files: the base of an adapter, the result of a run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from core.errors import DamagedFileError, NetworkFileError, SpecError
from core.files import write_atomically
from core.networks.perceptron import MultilayerPerceptron, PerceptronSpec
from core.tensor_file import read_tensors, tensors_bytes

MAX_BYTES = 256 * 2**20
"""Maximum size of a file; the largest network that a spec allows has 145 MiB."""


def network_bytes(network: nn.Module) -> bytes:
    """The safetensors file of a network's state dict."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    return tensors_bytes(state, {"format": "pt"})


def write_network(path: Path, network: nn.Module) -> str:
    """Write :func:`network_bytes` to ``path`` atomically; returns the SHA-256."""
    return write_atomically(path, network_bytes(network))


def read_network(path: Path, sha256: str | None = None) -> MultilayerPerceptron:
    """Read a multilayer perceptron; its sizes are those of the tensors.

    Args:
        path: the file.
        sha256: expected SHA-256 of its content, in hex, if known.

    Raises:
        DamagedFileError: the SHA-256 differs.
        NetworkFileError: not a safetensors file, damaged, or of another architecture.
    """
    try:
        # Not load_file, which maps the file: truncating a mapped file kills the process that uses it.
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise NetworkFileError(f"{path.name:.80} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_BYTES:
        raise NetworkFileError(f"{path.name} is larger than any network of LoRA Lab: choose another file.")
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedFileError("This network", path)
    state, _ = read_tensors(content, path.name, NetworkFileError)
    network = model_spec_of(state, path.name).build()
    expected = network.state_dict()
    for name, tensor in state.items():
        if name not in expected or tensor.shape != expected[name].shape:
            raise NetworkFileError(f"{path.name} is of another architecture: {name} has shape {tuple(tensor.shape)}.")
        if tensor.dtype != torch.float32 or not torch.isfinite(tensor).all():
            raise NetworkFileError(f"{path.name} is damaged: {name} has values that are not finite float32.")
    network.load_state_dict({name: tensor.clone() for name, tensor in state.items()}, assign=True)
    return network


def model_spec_of(state: dict[str, Tensor], file: str) -> PerceptronSpec:
    """Sizes of the perceptron with this state dict.

    Raises:
        NetworkFileError: the tensors are not those of a three-layer perceptron.
    """
    names = {f"layers.{i}.{part}" for i in (0, 2, 4) for part in ("weight", "bias")}
    weights = [state.get(f"layers.{i}.weight") for i in (0, 2, 4)]
    if set(state) != names or any(w is None or w.ndim != 2 for w in weights):
        raise NetworkFileError(
            f"{file} is of another architecture: a LoRA Lab base has layers.0, layers.2 and layers.4, weight and bias."
        )
    first, second, third = (tuple(w.shape) for w in weights if w is not None)
    try:
        return PerceptronSpec.of(
            num_features=first[1], num_hidden_1=first[0], num_hidden_2=second[0], num_classes=third[0]
        )
    except SpecError as error:
        raise NetworkFileError(f"{file} has sizes that LoRA Lab does not support: {error}") from error
