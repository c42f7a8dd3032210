"""An adapter file checked against the base that it is to be put on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from core.adapter.certificate import MERGED_TOLERANCE, RELOADED_TOLERANCE, difference, logits_of, merged_logits_of
from core.adapter.read import AdapterFile, apply_adapter, read_adapter
from core.errors import AdapterError
from core.networks.file import read_network
from core.networks.perceptron import MultilayerPerceptron, fingerprint

PROBE_ROWS = 64
PROBE_SEED = 0


@dataclass(frozen=True)
class Verification:
    """What was found; a file that does not hold gives an error instead."""

    base_fingerprint: str
    """Of the base that was given."""
    fingerprint_matches: bool | None
    """None where the file does not say which base it was trained on, as files of PEFT do not."""
    certified: bool
    """Whether the file has a certificate; its claims were checked then."""
    layers: tuple[str, ...]
    tensors: int
    parameters: int
    rank: int
    probe_rows: int
    """Random inputs, uniform in [0, 1), on which logits were compared."""
    largest_logit: float
    merged_difference: float
    """Largest difference between logits of the merged and of the unmerged network."""

    def __str__(self) -> str:
        """What was found, in one sentence."""
        base = "trained on this base" if self.fingerprint_matches else "of a base that the file does not name"
        certificate = "its certificate holds" if self.certified else "it has no certificate"
        return (
            f"The adapter holds: rank {self.rank} on {', '.join(self.layers)}, {self.parameters:,} parameters, {base}; "
            f"{certificate}; merging changes its logits by at most {self.merged_difference:.1e}."
        )


def verify_adapter(source: Path | bytes, base_path: Path) -> Verification:
    """Check an adapter file in full: its form, its certificate's claims, and what it computes on the base.

    Args:
        source: the adapter file or its content.
        base_path: the base's weights.

    Raises:
        NetworkFileError: the base cannot be read.
        BaseMismatchError: the adapter was trained on another base or does not fit this one.
        AdapterError: the file is damaged, unsafe, or not what it claims to be.
    """
    base = read_network(base_path)
    adapter = read_adapter(source)
    return verification(base, adapter, apply_adapter(base, adapter))


def verification(base: MultilayerPerceptron, adapter: AdapterFile, network: nn.Module) -> Verification:
    """Check an adapter that was read, and the network that it makes of its base.

    Raises:
        AdapterError: the certificate admits too much, or the network's outputs are not sound.
    """
    certificate = adapter.certificate
    if certificate is not None:
        scale = max(1.0, certificate.largest_logit)
        claimed = (
            (certificate.reloaded_difference, RELOADED_TOLERANCE),
            (certificate.merged_difference, MERGED_TOLERANCE),
        )
        if not all(0 <= value <= tolerance * scale for value, tolerance in claimed):
            raise AdapterError("The adapter's certificate states differences above the tolerance: it does not hold.")
    features: int = base.layers[0].in_features  # type: ignore[assignment]
    probe = torch.rand(PROBE_ROWS, features, generator=torch.Generator().manual_seed(PROBE_SEED))
    logits = logits_of(network, probe)
    merged = merged_logits_of(network, probe)
    return Verification(
        base_fingerprint=fingerprint(base.state_dict()),
        fingerprint_matches=None if adapter.base_fingerprint is None else True,
        certified=certificate is not None,
        layers=adapter.layers,
        tensors=len(adapter.tensors),
        parameters=adapter.parameters,
        rank=adapter.config.rank,
        probe_rows=PROBE_ROWS,
        largest_logit=logits.abs().max().item(),
        merged_difference=difference(logits, merged, MERGED_TOLERANCE, "logits of the merged and unmerged network"),
    )
