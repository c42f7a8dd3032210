"""Making adapter files, which are read back and measured."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from core.adapter.archive import CARD, CERTIFICATE, CONFIG, TASK, TENSORS, json_bytes, zip_bytes
from core.adapter.card import Card, TrainedOn, render
from core.adapter.certificate import (
    RELOADED,
    RELOADED_TOLERANCE,
    Certificate,
    LogitComparison,
    logits_of,
    merged_comparison,
)
from core.adapter.config import AdapterConfig
from core.adapter.read import FINGERPRINT, PREFIX, put_on, read_adapter, tensor_name
from core.data.examples import Batch
from core.errors import AdapterError, BaseMismatchError
from core.methods.adapted import AdaptedLinear, adapted_layers, base_copy, unmerge
from core.methods.adapter import AdapterSpec
from core.methods.targets import head_paths, head_state
from core.networks.file import base_fingerprint as fingerprint_of
from core.networks.file import fingerprint
from core.networks.network import NetworkSpec
from core.networks.registry import spec_of
from core.reader import reading_here
from core.tensor_file import tensors_bytes


def adapter_bytes(
    model: nn.Module,
    method: AdapterSpec,
    *,
    base_fingerprint: str,
    card: Card,
    probe: Batch,
    base_head: Mapping[str, Tensor] | None = None,
) -> bytes:
    """Make the adapter file of a trained network, read it back, and measure the differences.

    Args:
        model: a network of a known family with adapters, merged or not; it is not changed.
        method: the settings of the adapters.
        base_fingerprint: fingerprint of the base they were trained on.
        card: what the model card says about the run.
        probe: inputs on which logits are compared.
        base_head: tensors of the base's own head by their names, where training has replaced them; None or empty for
            a head that the base's weights came without.

    Returns:
        The same bytes for the same adapter, card, probe and thread count.

    Raises:
        BaseMismatchError: the network's frozen weights are not those of the base.
        AdapterError: the network has no adapters or others than ``method`` describes.
        VerificationError: it has outputs that are not finite, or the adapter that was read back computes something
            else, merged or not.
    """
    trained = copy.deepcopy(model).cpu().requires_grad_(False)
    unmerge(trained)
    layers = adapted_layers(trained)
    head = head_state(trained)
    own = {tensor.data_ptr() for tensor in head.values()}
    tensors = (*trained.parameters(), *trained.buffers())
    base = base_copy(trained, shared=[tensor for tensor in tensors if tensor.data_ptr() not in own])
    if base_head:
        base.load_state_dict({name: tensor.clone() for name, tensor in base_head.items()}, strict=False, assign=True)
    spec = spec_of(base)
    if not layers or spec is None:
        raise AdapterError("Only a LoRA Lab network with adapters can be written as an adapter file.")
    if (fingerprint(base.state_dict()) if base_head else fingerprint_of(base)) != base_fingerprint:
        raise BaseMismatchError("The network's frozen weights are not those of its base: the adapter was not written.")
    if not method.describes(base, layers):
        raise AdapterError("The network's adapters are not those of its LoRA settings: the adapter was not written.")
    probe = _checked_probe(probe, spec)

    config = AdapterConfig.of(method, layers, head_paths(trained), spec.task_type)
    entries = {CONFIG: config.to_json(), TENSORS: _tensors_file(layers, head, base_fingerprint)}
    in_layers = sum(tensor.numel() for layer in layers.values() for tensor in layer.tensors().values())
    head_parameters = sum(tensor.numel() for tensor in head.values())
    certificate = Certificate(
        base_fingerprint=base_fingerprint,
        tensors_sha256=hashlib.sha256(entries[TENSORS]).hexdigest(),
        config_sha256=hashlib.sha256(entries[CONFIG]).hexdigest(),
        parameters=in_layers + head_parameters,
        rank=config.own.usual_rank,
        layers={path: layer.rank for path, layer in layers.items()},
        probe_rows=len(next(iter(probe.values()))),
        largest_logit=0.0,
        reloaded_difference=0.0,
        merged_difference=0.0,
        head_parameters=head_parameters,
    )
    expected = logits_of(trained, probe)
    # Measure a file whose certificate has zeros, then replace them by the results.
    with reading_here():
        written = read_adapter(zip_bytes({**entries, CERTIFICATE: certificate.to_json()}))
    with torch.no_grad():
        for tensor in head_state(base).values():
            tensor.zero_()  # so that only a head that was read can give the same logits
    reloaded = put_on(base, written, base_fingerprint)
    read_back = logits_of(reloaded, probe)
    found = LogitComparison.of(RELOADED, expected, read_back, RELOADED_TOLERANCE).checked()
    certificate = replace(
        certificate,
        largest_logit=found.largest_logit,
        reloaded_difference=found.largest_difference,
        merged_difference=merged_comparison(reloaded, probe, read_back).largest_difference,
    )
    entries[CERTIFICATE] = certificate.to_json()
    entries[CARD] = render(card, method, spec, certificate, config.modules_to_save)
    entries[TASK] = json_bytes(TrainedOn(base=card.base or spec.sizes, task=card.task).model_dump(mode="json"))
    content = zip_bytes(entries)
    with reading_here():
        read_adapter(content)
    return content


def _tensors_file(layers: dict[str, AdaptedLinear], head: dict[str, Tensor], base_fingerprint: str) -> bytes:
    """The safetensors file: contiguous float32 tensors with PEFT's names and orientation."""
    named = {tensor_name(path, name): t for path, layer in layers.items() for name, t in layer.tensors().items()}
    named |= {f"{PREFIX}{name}": tensor for name, tensor in head.items()}
    tensors = {name: tensor.detach().float().contiguous() for name, tensor in named.items()}
    return tensors_bytes(tensors, {"format": "pt", FINGERPRINT: base_fingerprint})


def _checked_probe(probe: Batch, spec: NetworkSpec) -> Batch:
    if not spec.can_read(probe):
        raise AdapterError(f"An adapter is checked on at least one finite input of its network: {spec.input_text}.")
    return {name: _float32(tensor.detach().cpu()) for name, tensor in probe.items()}


def _float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype.is_floating_point else tensor
