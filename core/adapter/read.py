"""Read adapter files, and put them on their base; incomplete, unsafe and inconsistent ones are refused."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from core.adapter.archive import CERTIFICATE, CONFIG, TENSORS, read_entries
from core.adapter.certificate import Certificate
from core.adapter.config import CAUSAL, AdapterConfig
from core.data.dataset import LANGUAGE
from core.errors import AdapterError, BaseMismatchError, printable
from core.methods.adapted import AdaptedLinear, adapted_layers
from core.methods.adapter import check_values
from core.methods.linear import features, is_linear
from core.methods.targets import endings, head_paths, is_in_head, mark_head, unfreeze_head
from core.networks.file import base_fingerprint
from core.networks.network import NetworkSpec
from core.networks.registry import spec_of
from core.tensor_file import read_tensors

FINGERPRINT = "base_fingerprint"
"""Key of the base's fingerprint in the metadata of the tensors file."""

MAX_NAME = 256
"""Maximum length of a tensor's name, because the time to match patterns grows with it."""

PREFIX = "base_model.model."
"""What PEFT puts before the names of a network."""


@dataclass(frozen=True, eq=False)
class AdapterFile:
    """The content of an adapter file, checked for consistency but not yet against a base."""

    config: AdapterConfig
    tensors: Mapping[str, Tensor]
    """By PEFT's names, such as ``base_model.model.layers.0.lora_A.weight``."""
    head: Mapping[str, Tensor]
    """Tensors of the modules that were trained whole, by their names in the network; empty if there are none."""
    base_fingerprint: str | None
    """Fingerprint of the base it was trained on; None in files written by PEFT, which have none."""
    certificate: Certificate | None
    tensors_sha256: str

    @property
    def layers(self) -> tuple[str, ...]:
        """Paths of the layers that have an adapter, sorted."""
        return tuple(sorted(_by_layer(self.config, self.tensors)))

    @property
    def parameters(self) -> int:
        """Number of values in all tensors, those of the head included."""
        return sum(tensor.numel() for tensor in self.tensors.values()) + self.head_parameters

    @property
    def head_parameters(self) -> int:
        """Number of values in the tensors of the head."""
        return sum(tensor.numel() for tensor in self.head.values())

    @property
    def continues(self) -> bool:
        """Whether it is for a language model; the same network can be a classifier, too."""
        return self.config.task_type == CAUSAL

    def num_classes(self, network: NetworkSpec) -> int | None:
        """Number of outputs of the head, for those who build its base; None if it has none of this architecture.

        Args:
            network: the base's family and sizes, with any number of outputs.
        """
        if not self.head:
            return None
        sized = map(self.head.get, network.output_tensors())
        return next((len(tensor) for tensor in sized if tensor is not None and tensor.ndim), None)

    def tensors_of(self, path: str) -> dict[str, Tensor]:
        """Tensors of the layer at ``path``, by PEFT's names within a layer."""
        return {name: self.tensors[tensor_name(path, name)] for name in self.config.method.layer.names.values()}


def tensor_name(path: str, name: str) -> str:
    """PEFT's name of a tensor of the layer at ``path``, as in :meth:`core.methods.adapted.AdaptedLinear.tensors`."""
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
    head = check_head(base, adapter)
    base.requires_grad_(False)
    # Assigned, not copied: the base's own head may be shared with other networks.
    state = base.state_dict()
    own = {name: tensor.to(state[name], copy=True) for name, tensor in adapter.head.items()}
    base.load_state_dict(own, strict=False, assign=True)
    mark_head(base, head)
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
    own = adapter.config.own
    for path in adapter.layers:
        linear, tensors = linears[path], adapter.tensors_of(path)
        actual, fitting = features(linear), own.features(tensors)
        if any(fit not in (None, count) for fit, count in zip(fitting, actual, strict=True)):
            inputs, outputs = actual
            first, second = ("any" if fit is None else fit for fit in fitting)
            raise BaseMismatchError(
                f"The adapter does not fit this base: layer {path} maps {inputs} to {outputs}, its adapter "
                f"{first} to {second}."
            )
        layers[path] = own.layer(adapter.config.method.layer, linear, tensors, found[path].settings)
    return layers


def replaceable_head(base: nn.Module) -> tuple[str, ...]:
    """Paths of the modules that adapters may replace: the head of a base, or else its last layer; none of a network
    that continues texts.
    """
    if head := head_paths(base):
        return head
    spec = spec_of(base)
    return () if spec is None or spec.learns == LANGUAGE else spec.output_modules


def check_head(base: nn.Module, adapter: AdapterFile) -> tuple[str, ...]:
    """Check that the adapter's head is one that ``base`` has a place for.

    Returns:
        Paths of the modules that the adapter replaces; none for a base without a head and an adapter without one.

    Raises:
        BaseMismatchError: it is not.
    """
    paths = replaceable_head(base) if adapter.head else head_paths(base)
    state = base.state_dict()
    own = {name: tensor for name, tensor in state.items() if is_in_head(name, paths)}
    if own.keys().isdisjoint(adapter.head) and (odd := sorted(adapter.head.keys() & state.keys())):
        raise BaseMismatchError(
            f"The adapter has layer {printable(odd[0].rpartition('.')[0])} trained whole (modules_to_save), but "
            "only the last layer of a network can be replaced: let this layer have an adapter in PEFT instead."
        )
    if adapter.head and not own:
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
    return paths


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
        if parts := _parts(config, full):
            raise AdapterError(f"{TENSORS} has an adapter for layer {parts[0]:.80}, which {CONFIG} has trained whole.")
        check_values(tensor, f"Module {path:.80}")
        found[name] = tensor
    return found


def _parts(config: AdapterConfig, full: str) -> tuple[str, str] | None:
    """Path of the layer, and name of the tensor in it, in PEFT's name of both; None for other names."""
    if not full.startswith(PREFIX) or len(full) > MAX_NAME or not full.isprintable():
        return None
    for name in config.method.layer.names.values():
        path = full[len(PREFIX) :].removesuffix(f".{name}")
        if path and len(PREFIX) + len(path) < len(full):
            return path, name
    return None


def _by_layer(config: AdapterConfig, tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The tensors of each layer, by its path and their names. Raises: AdapterError: one is of no such layer."""
    found: dict[str, dict[str, Tensor]] = {}
    for full, tensor in tensors.items():
        parts = _parts(config, full)
        if parts is None:
            raise AdapterError(
                f"{TENSORS} contains {full[:120]!r}, which is not part of a {config.method.title} adapter."
            )
        found.setdefault(parts[0], {})[parts[1]] = tensor
    return found


def _check_tensors(config: AdapterConfig, tensors: Mapping[str, Tensor]) -> None:
    """Check that the tensors match each other and the config."""
    found = _by_layer(config, tensors)
    for path, layer in config.layers(sorted(found)).items():
        if not layer.is_target:
            raise AdapterError(f"{TENSORS} has an adapter for layer {path:.80}, which {CONFIG} does not name.")
        config.own.check(config.method.layer, path, found[path], layer.settings)
    # Not for each name in the config: PEFT ignores names that its network lacks, and only the base tells which.
    if not found:
        raise AdapterError(f"{TENSORS} has no adapter for any layer.")


def _check_claims(certificate: Certificate, adapter: AdapterFile, config_sha256: str) -> None:
    """Check that the certificate matches the content of the file."""
    actual = {
        "base_fingerprint": adapter.base_fingerprint,
        "tensors_sha256": adapter.tensors_sha256,
        "config_sha256": config_sha256,
        "parameters": adapter.parameters,
        "head_parameters": adapter.head_parameters,
        "rank": adapter.config.own.usual_rank,
        "layers": {path: layer.settings.rank for path, layer in adapter.config.layers(adapter.layers).items()},
    }
    for claim, value in actual.items():
        if getattr(certificate, claim) != value:
            raise AdapterError(f"The adapter file does not match its certificate: {claim} differs.")
