"""Read adapter files, and put them on their base; incomplete, unsafe and inconsistent ones are refused."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from core.adapter.archive import CERTIFICATE, CONFIG, TENSORS, read_entries
from core.adapter.certificate import Certificate
from core.adapter.config import AdapterConfig
from core.errors import AdapterError, BaseMismatchError, printable
from core.methods.heads import head_state, unfreeze_head
from core.methods.layers import AdaptedLinear
from core.methods.linear import features, is_linear
from core.methods.merging import adapted_layers
from core.methods.targets import endings
from core.networks.fingerprint import base_fingerprint
from core.networks.network import NetworkSpec
from core.tensor_file import MAX_DIMENSIONS, read_tensors

FINGERPRINT = "base_fingerprint"
"""Key of the base's fingerprint in the metadata of the tensors file."""

MAX_NAME = 256
"""Maximum length of a tensor's name, because the time to match patterns grows with it."""

PREFIX = "base_model.model."
"""What PEFT puts before the names of a network."""

_NAME = re.compile(rf"{re.escape(PREFIX)}(.+?)\.(lora_\w+(?:\.weight)?)")
MATRICES = ("lora_A.weight", "lora_B.weight")
"""PEFT's names of A and B."""

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, eq=False)
class AdapterFile:
    """The content of an adapter file, checked for consistency but not yet against a base."""

    config: AdapterConfig
    tensors: Mapping[str, Tensor]
    """By PEFT's names: ``lora_A.weight`` of shape (r, in), ``lora_B.weight`` of shape (out, r)."""
    head: Mapping[str, Tensor]
    """Tensors of the modules that were trained whole, by their names in the network; empty if there are none."""
    base_fingerprint: str | None
    """Fingerprint of the base it was trained on; None in files written by PEFT, which have none."""
    certificate: Certificate | None
    tensors_sha256: str

    @property
    def layers(self) -> tuple[str, ...]:
        """Paths of the layers that have an adapter, sorted."""
        return tuple(sorted({path for path, _ in map(_parts, self.tensors)}))

    @property
    def parameters(self) -> int:
        """Number of values in all tensors, those of the head included."""
        return sum(tensor.numel() for tensor in self.tensors.values()) + self.head_parameters

    @property
    def head_parameters(self) -> int:
        """Number of values in the tensors of the head."""
        return sum(tensor.numel() for tensor in self.head.values())

    def num_classes(self, network: NetworkSpec) -> int | None:
        """Number of outputs of the head, for those who build its base; None if it has none of this architecture.

        Args:
            network: the base's family and sizes, with any number of outputs.
        """
        if not self.head:
            return None
        two, three = (network.but(num_classes=count).module().state_dict() for count in (2, 3))
        sized = (self.head.get(name) for name in two if two[name].shape[:1] != three[name].shape[:1])
        return next((len(tensor) for tensor in sized if tensor is not None and tensor.ndim), None)

    def matrices(self, path: str) -> tuple[Tensor, Tensor]:
        """A of shape (in, r) and B of shape (r, out) of one layer, in float32."""
        a, b = (self.tensors[tensor_name(path, name)] for name in MATRICES)
        return a.T.float().contiguous(), b.T.float().contiguous()

    def vectors(self, path: str) -> dict[str, Tensor]:
        """Vectors of one layer, (out,) each in float32, by the attribute of the layer's class."""
        names = self.config.method.layer.vectors
        return {name: self.tensors[tensor_name(path, peft)].float() for name, peft in names.items()}


def tensor_name(path: str, name: str) -> str:
    """PEFT's name of a tensor of the layer at ``path``, as in :meth:`core.methods.layers.AdaptedLinear.tensors`."""
    return f"{PREFIX}{path}.{name}"


def read_adapter(source: Path | bytes) -> AdapterFile:
    """Read a zip that :func:`core.adapter.adapter_bytes` made, or a zip of a folder that PEFT saved.

    Args:
        source: path or content of the file.

    Raises:
        AdapterError: damaged, incomplete, unsafe or inconsistent.
    """
    entries = read_entries(source)
    if TENSORS not in entries:
        raise AdapterError(f"The adapter file has no {TENSORS}.")
    config = AdapterConfig.from_json(entries[CONFIG])
    tensors, metadata = read_tensors(entries[TENSORS], f"{TENSORS} of the adapter file", AdapterError)
    base = metadata.get(FINGERPRINT)
    head = _head(config, tensors)
    in_head = {f"{PREFIX}{name}" for name in head}
    tensors = {name: tensor for name, tensor in tensors.items() if name not in in_head}
    _check_tensors(config, tensors)
    digest = hashlib.sha256(entries[TENSORS]).hexdigest()
    certificate = Certificate.from_json(entries[CERTIFICATE]) if CERTIFICATE in entries else None
    adapter = AdapterFile(config, tensors, head, base, certificate, digest)
    if (certificate is None) != (base is None):
        raise AdapterError(f"The adapter file is incomplete: {CERTIFICATE} or the base's fingerprint is missing.")
    if certificate is not None:
        _check_claims(certificate, adapter, hashlib.sha256(entries[CONFIG]).hexdigest())
    return adapter


def apply_adapter(base: nn.Module, adapter: AdapterFile) -> nn.Module:
    """Return a copy of ``base`` with the adapter and its head, and with all other weights frozen.

    Raises:
        BaseMismatchError: the adapter was trained on another base, or its shapes do not fit this one.
        AdapterError: ``base`` already has adapters.
    """
    if adapted_layers(base):
        raise AdapterError("This network already has LoRA adapters: apply the adapter to the base network.")
    return put_on(copy.deepcopy(base), adapter, base_fingerprint(base))


def put_on(base: nn.Module, adapter: AdapterFile, base_fingerprint: str) -> nn.Module:
    """Add an adapter to ``base`` in place, and freeze all weights that are not its own; returns ``base``.

    Raises:
        BaseMismatchError: see :func:`apply_adapter`; ``base`` is unchanged.
    """
    layers = layers_of(base, adapter, base_fingerprint)
    check_head(base, adapter)
    base.requires_grad_(False)
    with torch.no_grad():
        for name, tensor in head_state(base).items():
            tensor.copy_(adapter.head[name])
    unfreeze_head(base)
    for path, layer in layers.items():
        parent, _, name = path.rpartition(".")
        setattr(base.get_submodule(parent), name, layer)
    return base


def layers_of(base: nn.Module, adapter: AdapterFile, base_fingerprint: str) -> dict[str, AdaptedLinear]:
    """The layers that an adapter changes, by path, with the linear layers of ``base`` inside, which is not changed.

    Raises:
        BaseMismatchError: the adapter was trained on another base than that of the fingerprint, or its shapes do not
            fit this one.
    """
    if adapter.base_fingerprint not in (None, base_fingerprint):
        raise BaseMismatchError("The adapter was trained on another base: choose that one.")
    linears = {path: module for path, module in base.named_modules() if is_linear(module)}
    found = adapter.config.layers(linears)
    wanted = {path for path, layer in found.items() if layer.is_target}
    if odd := sorted(wanted ^ set(adapter.layers)):
        raise BaseMismatchError(f"The adapter does not fit this base: layer {odd[0]} is in only one of the two.")
    layers: dict[str, AdaptedLinear] = {}
    for path in adapter.layers:
        A, B = adapter.matrices(path)
        linear = linears[path]
        if (A.shape[0], B.shape[1]) != features(linear):
            inputs, outputs = features(linear)
            raise BaseMismatchError(
                f"The adapter does not fit this base: layer {path} maps {inputs} to {outputs}, its adapter "
                f"{A.shape[0]} to {B.shape[1]}."
            )
        layers[path] = adapter.config.method.layer.holding(
            linear, A, B, found[path].alpha, adapter.config.scaling, adapter.vectors(path)
        )
    return layers


def check_head(base: nn.Module, adapter: AdapterFile) -> None:
    """Check that the adapter's head is the one that ``base`` has a place for. Raises: BaseMismatchError: it is not."""
    own = head_state(base)
    if adapter.head and not own:
        if (first := min(adapter.head)) in base.state_dict():
            raise BaseMismatchError(
                f"The adapter has layer {printable(first.rpartition('.')[0])} trained whole (modules_to_save), but "
                "only the head of a transformer can be replaced: let this layer have an adapter in PEFT instead."
            )
        raise BaseMismatchError("The adapter has a head of its own, but this base has none to replace: choose another.")
    if own and not adapter.head:
        raise BaseMismatchError(
            f"The adapter has no weights for the head of this base, such as {min(own)}: save it in PEFT with "
            'task_type="SEQ_CLS".'
        )
    # What PEFT would look for in the file, which is more than the head if names are ambiguous.
    saved = [(path, module) for path, module in base.named_modules() if path and adapter.config.saves(path)]
    wanted = {f"{path}.{name}" for path, module in saved for name in module.state_dict()}
    if own and (odd := sorted((wanted ^ set(adapter.head)) | (own.keys() ^ set(adapter.head)))):
        raise BaseMismatchError(
            f"The head of the adapter does not fit that of this base: {printable(odd[0])} is in only one of the two."
        )
    for name, tensor in own.items():
        if tensor.shape != adapter.head[name].shape:
            raise BaseMismatchError(
                f"The head of the adapter does not fit that of this base: {name} has the shape "
                f"{tuple(adapter.head[name].shape)}, not {tuple(tensor.shape)}."
            )


def _head(config: AdapterConfig, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of modules that were trained whole, by their names in the network."""
    found: dict[str, Tensor] = {}
    for full, tensor in tensors.items():
        name = full.removeprefix(PREFIX)
        # The length first: the paths of all modules around a tensor are as long as the square of its name.
        if name == full or len(full) > MAX_NAME or not full.isprintable():
            continue
        path = name.rpartition(".")[0]
        around = [path, *(path[: -len(rest) - 1] for rest in endings(path)[1:])]
        if not any(map(config.saves, around)):
            continue
        if match := _NAME.fullmatch(full):
            raise AdapterError(f"{TENSORS} has an adapter for layer {match[1]:.80}, which {CONFIG} has trained whole.")
        _check_values(tensor, f"Module {path:.80}")
        found[name] = tensor
    return found


def _parts(name: str) -> tuple[str, str]:
    """Path of the layer and name of the tensor in PEFT's name of both."""
    match = _NAME.fullmatch(name) if len(name) <= MAX_NAME else None
    if match is None or not name.isprintable():
        raise AdapterError(f"{TENSORS} contains {name[:120]!r}, which is not part of a LoRA adapter.")
    return match[1], match[2]


def _check_tensors(config: AdapterConfig, tensors: Mapping[str, Tensor]) -> None:
    """Check that the tensors match each other and the config."""
    found = {_parts(name): tensor for name, tensor in tensors.items()}
    vectors = config.method.layer.vectors.values()
    odd = next((tensor_name(path, name) for path, name in found if name not in (*MATRICES, *vectors)), None)
    if odd is not None:
        raise AdapterError(f"{TENSORS} contains {odd[:120]!r}, which is not part of a {config.method.title} adapter.")
    paths = {path for path, _ in found}
    for path, layer in config.layers(sorted(paths)).items():
        if not layer.is_target:
            raise AdapterError(f"{TENSORS} has an adapter for layer {path:.80}, which {CONFIG} does not name.")
        for side, (letter, name) in enumerate(zip("AB", MATRICES, strict=True)):
            tensor = found.get((path, name))
            if tensor is None:
                raise AdapterError(f"{TENSORS} lacks matrix {letter} of layer {path:.80}.")
            if tensor.ndim != 2 or tensor.shape[side] != layer.rank or tensor.shape[1 - side] < 1:
                raise AdapterError(
                    f"Matrix {letter} of layer {path:.80} has shape {tuple(tensor.shape)}, which is not of rank "
                    f"{layer.rank}."
                )
            _check_values(tensor, f"Matrix {letter} of layer {path:.80}")
        for name in vectors:
            tensor, outputs = found.get((path, name)), found[path, MATRICES[1]].shape[0]
            if tensor is None:
                raise AdapterError(f"{TENSORS} lacks {name} of layer {path:.80}.")
            if tensor.shape != (outputs,):
                raise AdapterError(
                    f"The vector {name} of layer {path:.80} has shape {tuple(tensor.shape)}, not ({outputs},)."
                )
            _check_values(tensor, f"The vector {name} of layer {path:.80}")
    # Not for each name in the config: PEFT ignores names that its network lacks, and only the base tells which.
    if not paths:
        raise AdapterError(f"{TENSORS} has no adapter for any layer.")


def _check_values(tensor: Tensor, what: str) -> None:
    if tensor.dtype not in _DTYPES or tensor.ndim > MAX_DIMENSIONS or not torch.isfinite(tensor).all():
        raise AdapterError(f"{what} has values that are not finite floats.")


def _check_claims(certificate: Certificate, adapter: AdapterFile, config_sha256: str) -> None:
    """Check that the certificate matches the content of the file."""
    actual = {
        "base_fingerprint": adapter.base_fingerprint,
        "tensors_sha256": adapter.tensors_sha256,
        "config_sha256": config_sha256,
        "parameters": adapter.parameters,
        "head_parameters": adapter.head_parameters,
        "rank": adapter.config.rank,
        "layers": {path: layer.rank for path, layer in adapter.config.layers(adapter.layers).items()},
    }
    for claim, value in actual.items():
        if getattr(certificate, claim) != value:
            raise AdapterError(f"The adapter file does not match its certificate: {claim} differs.")
