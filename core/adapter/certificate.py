"""The certificate of an adapter file: measurements made when it was written, and how much rounding may change there: as
much as what is summed when adapters are merged allows, not as its sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any, Self

import msgspec
import torch
from torch import Tensor, nn

from core.adapter.archive import CERTIFICATE, json_bytes, json_object
from core.data.examples import SCORED, Batch
from core.errors import AdapterError, VerificationError, printable
from core.methods.adapted import AdaptedLinear, adapted_layers, frozen_weight, merge, unmerge
from core.methods.linear import is_linear, product
from core.networks.forward import evaluating, forward
from core.networks.scoring import last_logits

LAYER_TOLERANCE = 1e-5
"""Maximum difference between the outputs of one layer, merged and unmerged, for the same inputs, relative to the sum of
absolute values behind its largest output. Of trained layers it is below 1e-6, whatever their learning rate was."""


def largest_summed(network: nn.Module, probe: Batch) -> float:
    """The largest sum of absolute values behind an output of a linear layer, on the way of ``probe`` to the logits.

    A sum in floating point is wrong by at most a multiple of Σ|terms| (Higham 2002, Accuracy and Stability of Numerical
    Algorithms, section 3.1): in a layer with weight W + B A these are |x| (|W| + |B| |A|)ᵀ, and they may be far above
    the output, where W and the adapter, or large inputs, cancel.

    That alone would let a wrong adapter pass wherever large values are summed, so each adapted layer also has to
    compute the same merged and unmerged, for the inputs that it gets, up to its own rounding.

    Args:
        network: with adapters, unmerged; it is not changed.
        probe: inputs.

    Returns:
        The sum; 0 where a layer with an adapter is not called, so that it could not be looked at.

    Raises:
        VerificationError: a layer computes something else when merged.
    """
    layers = adapted_layers(network)
    sums = dict.fromkeys(layers, 0.0)
    inner = {layer.linear for layer in layers.values()}
    plain = {path: module for path, module in network.named_modules() if is_linear(module) and module not in inner}
    called: set[str] = set()

    def looking(path: str, look: Callable[[str, Any, Tensor, Tensor], float]) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            called.add(path)
            sums[path] = max(sums.get(path, 0.0), look(path, module, inputs[0], output))

        return hook

    handles = [layer.register_forward_hook(looking(path, _adapted)) for path, layer in layers.items()]
    handles += [module.register_forward_hook(looking(path, _plain)) for path, module in plain.items()]
    try:
        with evaluating(network), torch.no_grad():
            forward(network, probe)
    finally:
        for handle in handles:
            handle.remove()
    return max(sums.values()) if called >= layers.keys() else 0.0


def _adapted(path: str, layer: AdaptedLinear, x: Tensor, output: Tensor) -> float:
    """The largest sum in a layer with an adapter. Raises: VerificationError: it computes something else when merged."""
    sums = _sums(x, layer.terms().magnitudes(frozen_weight(layer)), layer.bias)
    merged = product(layer.linear, x, layer.summed_weight())
    found, allowed = (merged - output).abs().max().item(), LAYER_TOLERANCE * sums
    if not found <= allowed:
        raise VerificationError(
            f"outputs of layer {path} differ by {found:.3g} between the merged and unmerged network, more than "
            f"{allowed:.3g}"
        )
    return sums


def _plain(path: str, linear: nn.Linear, x: Tensor, output: Tensor) -> float:
    """The largest sum in a layer without an adapter."""
    return _sums(x, frozen_weight(linear).abs(), linear.bias)


def _sums(x: Tensor, magnitudes: Tensor, bias: Tensor | None) -> float:
    """The largest of |x| Mᵀ + |b|, for x of shape (..., in) and M of shape (out, in) in at least its precision."""
    sums = x.abs().to(magnitudes.dtype) @ magnitudes.T
    if bias is not None:
        sums = sums + bias.abs()
    return sums.max().item()


RELOADED_TOLERANCE = 1e-5
MERGED_TOLERANCE = 1e-4
"""Maximum differences between logits, relative to 1, the largest logit, or what is summed, whichever is the largest.

Reloading should change nothing. Merging changes the order of float32 sums, whose rounding errors are as large as their
terms allow, and not as their results: terms may cancel. See :func:`largest_summed`.
"""

RELOADED = "logits of the reloaded adapter and of the trained network"
MERGED = "logits of the merged and unmerged network"
"""What is compared."""

MAX_MEASURED = torch.finfo(torch.float32).max
"""Largest measurement accepted; JSON allows larger numbers, and infinity as ``1e999``."""


Count = Annotated[int, msgspec.Meta(ge=0)]
Measured = Annotated[float, msgspec.Meta(ge=-MAX_MEASURED, le=MAX_MEASURED)]


@dataclass(frozen=True)
class LogitComparison:
    """The logits of two networks on the same examples, compared: whether one computes what the other does."""

    what: str
    """What is compared with what, as in ``logits of the merged and unmerged network``."""
    examples: int
    largest_logit: float
    largest_difference: float
    tolerance: float
    """Maximum difference, relative to the largest logit, to 1, or to :attr:`summed`, whichever is the largest."""
    summed: float = 0.0
    """Magnitude of what is summed on the way; looked at only where the logits alone do not allow the difference."""

    @classmethod
    def of(cls, what: str, expected: Tensor, found: Tensor, tolerance: float) -> Self:
        """Compare the logits of a network that is right with those of another. Args: see the fields."""
        largest, difference = expected.abs().max().item(), (expected - found).abs().max().item()
        return cls(what, len(expected), largest, difference, tolerance)

    @property
    def allowed(self) -> float:
        """How much of a difference rounding explains."""
        return self.tolerance * max(1.0, self.largest_logit, self.summed)

    @property
    def is_same(self) -> bool:
        """Whether both compute the same, but for rounding."""
        return 0 <= self.largest_difference <= self.allowed < math.inf

    def allowing(self, summed: Callable[[], float]) -> Self:
        """Return the same, judged by what is summed as well if it must be. Args: summed: tells its magnitude."""
        return self if self.is_same else replace(self, summed=summed())

    def checked(self) -> Self:
        """Return this comparison. Raises: VerificationError: the two do not compute the same."""
        if not self.is_same:
            raise VerificationError(str(self))
        return self

    def __str__(self) -> str:
        """The verdict, as in ``logits of … differ by 0.1, more than 0.0001``."""
        verdict = "at most" if self.is_same else "more than"
        return f"{self.what} differ by {self.largest_difference:.3g}, {verdict} {self.allowed:.3g}"


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
        """Parse a certificate file. Raises: AdapterError: a field is missing, unknown, or of another type."""
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

    Of a language model they are those of the token that would follow each text.

    Raises:
        VerificationError: they are not all finite.
    """
    with evaluating(network), torch.no_grad():
        logits = last_logits(network, probe) if SCORED in probe else forward(network, probe)
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


def merged_comparison(network: nn.Module, probe: Batch, logits: Tensor) -> LogitComparison:
    """Compare a network with itself merged; it is unmerged before and after.

    Args:
        network: with adapters.
        probe: inputs.
        logits: of ``network`` unmerged.

    Raises:
        VerificationError: a layer computes something else when merged, or the logits differ by more than rounding.
    """
    found = LogitComparison.of(MERGED, logits, merged_logits_of(network, probe), MERGED_TOLERANCE)
    return found.allowing(lambda: largest_summed(network, probe)).checked()
