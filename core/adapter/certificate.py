"""The certificate of an adapter file: what was measured on it when it was made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from core.adapter.archive import CERTIFICATE, json_bytes, json_object, word
from core.errors import AdapterError
from core.methods.lora import merge, unmerge

RELOADED_TOLERANCE = 1e-5
MERGED_TOLERANCE = 1e-4
"""Largest differences between logits, as a share of the largest logit or of 1, whichever is more.

Reloading should change nothing; merging changes the order of float32 sums.
"""


LARGEST = torch.finfo(torch.float32).max
"""JSON has numbers far beyond, and infinity as ``1e999``."""


@dataclass(frozen=True)
class Certificate:
    """What was measured: the file read back in full and put on a fresh copy of its base."""

    base_fingerprint: str
    tensors_sha256: str
    config_sha256: str
    parameters: int
    """Values in the adapter's tensors."""
    rank: int
    """The rank asked for; ``layers`` has what each layer got."""
    layers: Mapping[str, int]
    probe_rows: int
    """Inputs on which the logits were compared."""
    largest_logit: float
    reloaded_difference: float
    """Largest difference between logits of the reloaded adapter and of the trained network."""
    merged_difference: float
    """Largest difference between logits of the merged and of the unmerged network."""

    def to_json(self) -> bytes:
        """The file; the same bytes for the same certificate."""
        return json_bytes(asdict(self))

    @classmethod
    def from_json(cls, content: bytes) -> Certificate:
        """What a certificate file says.

        Raises:
            AdapterError: a field is missing, unknown, or of another type.
        """
        values = json_object(content, CERTIFICATE)
        kinds: dict[str, Any] = {
            field.name: {"str": str, "int": int, "float": (int, float)}.get(str(field.type), dict)
            for field in fields(cls)
        }
        if set(values) != set(kinds):
            odd = word(", ".join(sorted(set(values) ^ set(kinds))), 200)
            raise AdapterError(f"{CERTIFICATE} of the adapter file lacks or adds fields: {odd}.")
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, kinds[name]) or not _is_sound(value, kinds[name]):
                raise AdapterError(f"{CERTIFICATE} of the adapter file has an unusable {name}: {value!r:.80}.")
        return cls(**values)


def _is_sound(value: Any, kind: Any) -> bool:
    """Whether a count is one, and a measurement a number that float32 can give."""
    if kind is int:
        return bool(value >= 0)
    return kind != (int, float) or bool(abs(value) <= LARGEST)


def logits_of(network: nn.Module, probe: Tensor) -> Tensor:
    """Logits of ``network`` in evaluation mode, left in the mode it was in.

    Raises:
        AdapterError: they are not all finite.
    """
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            logits: Tensor = network(probe)
    finally:
        network.train(was_training)
    if not torch.isfinite(logits).all():
        raise AdapterError("The network with this adapter gives outputs that are not finite numbers.")
    return logits


def merged_logits_of(network: nn.Module, probe: Tensor) -> Tensor:
    """Logits of ``network`` while it is merged; it is unmerged again, bit for bit."""
    merge(network)
    try:
        return logits_of(network, probe)
    finally:
        unmerge(network)


def difference(one: Tensor, other: Tensor, tolerance: float, what: str) -> float:
    """The largest difference between two sets of logits.

    Args:
        one: logits, whose largest (or 1) scales the tolerance.
        other: logits of the same shape.
        tolerance: as a share of that.
        what: names the comparison in the error.

    Raises:
        AdapterError: it is above the tolerance.
    """
    largest = (one - other).abs().max().item()
    allowed = tolerance * max(1.0, one.abs().max().item())
    if not largest <= allowed or math.isinf(allowed):
        raise AdapterError(f"The adapter does not hold: {what} differ by {largest:.3g}, more than {allowed:.3g}.")
    return largest
