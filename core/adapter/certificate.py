"""The certificate of an adapter file: measurements made when it was written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated

import msgspec
import torch
from torch import Tensor, nn

from core.adapter.archive import CERTIFICATE, json_bytes, json_object
from core.adapter.rounding import largest_summed
from core.data.examples import Batch
from core.errors import AdapterError, VerificationError, printable
from core.methods.merging import merge, unmerge
from core.networks.forward import forward
from core.networks.modes import evaluating

RELOADED_TOLERANCE = 1e-5
MERGED_TOLERANCE = 1e-4
"""Maximum differences between logits, relative to 1, the largest logit, or what is summed, whichever is the largest.

Reloading should change nothing. Merging changes the order of float32 sums, whose rounding errors are as large as their
terms allow, and not as their results: terms may cancel. See :func:`core.adapter.rounding.largest_summed`.
"""


MAX_MEASURED = torch.finfo(torch.float32).max
"""Largest measurement accepted; JSON allows larger numbers, and infinity as ``1e999``."""


Count = Annotated[int, msgspec.Meta(ge=0)]
Measured = Annotated[float, msgspec.Meta(ge=-MAX_MEASURED, le=MAX_MEASURED)]


@dataclass(frozen=True)
class Certificate:
    """Measurements of the file after it was read back and applied to a new copy of its base."""

    base_fingerprint: str
    tensors_sha256: str
    config_sha256: str
    parameters: Count
    """Number of values in all tensors of the file."""
    rank: Count
    """The requested rank."""
    layers: Mapping[str, int]
    """Rank of each layer, which may be smaller."""
    probe_rows: Count
    """Number of inputs on which the logits were compared."""
    largest_logit: Measured
    reloaded_difference: Measured
    """Maximum difference between the logits of the reloaded adapter and of the trained network."""
    merged_difference: Measured
    """Maximum difference between the logits of the merged and of the unmerged network."""
    head_parameters: Count = 0
    """How many of the values are those of the head, which was trained whole; 0 for a network without a new head."""

    def to_json(self) -> bytes:
        """Serialize; the same bytes for the same certificate."""
        values = asdict(self)
        if not self.head_parameters:  # as in files of earlier versions
            del values["head_parameters"]
        return json_bytes(values)

    @classmethod
    def from_json(cls, content: bytes) -> Certificate:
        """Parse a certificate file.

        Raises:
            AdapterError: a field is missing, unknown, or of another type.
        """
        values = json_object(content, CERTIFICATE)
        if odd_fields := (values.keys() ^ {field.name for field in fields(cls)}) - {"head_parameters"}:
            odd = printable(", ".join(sorted(odd_fields)), 200)
            raise AdapterError(f"{CERTIFICATE} of the adapter file lacks or adds fields: {odd}.")
        try:
            return msgspec.convert(values, cls)
        except msgspec.ValidationError as error:
            cause, _, place = str(error).rpartition(" - at `$.")
            raise AdapterError(f"{CERTIFICATE} of the adapter file has an unusable {place[:-1]}: {cause}.") from error


def logits_of(network: nn.Module, probe: Batch) -> Tensor:
    """Logits of ``network`` in evaluation mode; the mode of each module is restored afterwards.

    Raises:
        VerificationError: they are not all finite.
    """
    with evaluating(network), torch.no_grad():
        logits = forward(network, probe)
    if not torch.isfinite(logits).all():
        raise VerificationError("the network with it has outputs that are not finite numbers")
    return logits


def merged_logits_of(network: nn.Module, probe: Batch) -> Tensor:
    """Logits of ``network`` when merged; it is unmerged afterwards, bit for bit."""
    merge(network)
    try:
        return logits_of(network, probe)
    finally:
        unmerge(network)


def merged_difference(network: nn.Module, probe: Batch, logits: Tensor) -> float:
    """The maximum difference that merging makes to the logits of a network, which is unmerged before and after.

    Args:
        network: with adapters.
        probe: inputs.
        logits: of ``network`` unmerged.

    Raises:
        VerificationError: it is more than rounding explains.
    """
    return difference(
        logits,
        merged_logits_of(network, probe),
        MERGED_TOLERANCE,
        "logits of the merged and unmerged network",
        lambda: largest_summed(network, probe),
    )


def difference(
    one: Tensor, other: Tensor, tolerance: float, what: str, summed: Callable[[], float] = lambda: 0.0
) -> float:
    """The maximum absolute difference between two sets of logits.

    Args:
        one: logits.
        other: logits of the same shape.
        tolerance: allowed difference, relative to the largest logit of ``one``, to 1, or to what is summed, whichever
            is the largest.
        what: description of the two for the error message.
        summed: tells the magnitude of what is summed on the way; asked where the logits alone do not allow it.

    Raises:
        VerificationError: the difference is above the tolerance.
    """
    largest = (one - other).abs().max().item()
    allowed = tolerance * max(1.0, one.abs().max().item())
    if not largest <= allowed:
        allowed = max(allowed, tolerance * summed())
    if not largest <= allowed or math.isinf(allowed):
        raise VerificationError(f"{what} differ by {largest:.3g}, more than {allowed:.3g}")
    return largest
