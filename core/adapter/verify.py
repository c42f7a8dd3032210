"""Verify an adapter file against a base, and read it as PEFT itself does, which is in ``requirements-peft.txt``."""

from __future__ import annotations

import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.adapter.certificate import (
    MERGED,
    MERGED_TOLERANCE,
    RELOADED,
    RELOADED_TOLERANCE,
    Certificate,
    LogitComparison,
    largest_summed,
    logits_of,
    merged_comparison,
)
from core.adapter.read import AdapterFile, apply_adapter, read_adapter
from core.errors import AdapterError
from core.networks.file import read_network
from core.networks.registry import known_spec
from core.networks.transformers_library import transformers
from core.optional_packages import optional_module


def read_with_peft(path: Path, base: nn.Module) -> tuple[nn.Module, str]:
    """Have PEFT put an adapter file of this lab on its base.

    Args:
        path: the zip file.
        base: PEFT changes it in place.

    Returns:
        The network in evaluation mode, and the version of PEFT.

    Raises:
        AdapterError: PEFT is not installed, or cannot read the file.
    """
    peft = _peft()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
            network: nn.Module = peft.PeftModel.from_pretrained(base, folder, torch_device="cpu")
        except (zipfile.BadZipFile, ValueError, RuntimeError) as error:
            reason = str(error).strip().partition("\n")[0][:200]
            raise AdapterError(f"PEFT {peft.__version__} cannot read this adapter: {reason}") from error
    return network.eval(), str(peft.__version__)


def _peft() -> Any:
    """The package. Raises: AdapterError: it is not installed."""
    transformers()  # which PEFT imports, and which only one thread may import at a time
    return optional_module("peft", "Checking an adapter for PEFT needs", "peft", AdapterError)


PROBE_ROWS = 64
PROBE_SEED = 0
MAX_BEYOND = 100.0
"""How many times larger the logits in a certificate, which are of test examples, may be than those of random inputs."""
MAX_LISTED = 6
"""Layers that a sentence lists by name; more are counted."""


@dataclass(frozen=True)
class Verification:
    """Result of a successful verification; a failed one raises an error."""

    fingerprint_matches: bool | None
    """None if the file does not name its base; files written by PEFT do not."""
    certified: bool
    """Whether the file has a certificate; if so, it was checked."""
    layers: tuple[str, ...]
    parameters: int
    """Number of values in the file, those of the head included."""
    rank: int
    """0 for an adapter without matrices of low rank."""
    head_parameters: int
    """How many of the values are those of the head."""
    merged: LogitComparison
    """The network with the adapter, unmerged and merged, on random inputs of its family."""

    def __str__(self) -> str:
        """The result in one sentence."""
        base = "trained on this base" if self.fingerprint_matches else "trained on a base that the file does not name"
        certificate = "its certificate matches the file's contents" if self.certified else "it has no certificate"
        layers = ", ".join(self.layers) if len(self.layers) <= MAX_LISTED else f"{len(self.layers)} layers"
        head = f" ({self.head_parameters:,} of them in its head)" if self.head_parameters else ""
        rank, merged = f"rank {self.rank} " if self.rank else "", self.merged
        return (
            f"The adapter is valid: {rank}on {layers}, {self.parameters:,} parameters{head}, "
            f"{base}; {certificate}; on {merged.examples} random inputs its logits reach {merged.largest_logit:.3g}, "
            f"and merging changes them by at most {merged.largest_difference:.1e}."
        )


def verify_adapter(source: Path | bytes, base: Path | nn.Module) -> Verification:
    """Verify an adapter file: its format, its certificate, and its outputs on the base.

    Args:
        source: path or content of the adapter file.
        base: the base network, or the path of its file.

    Raises:
        NetworkFileError: the base cannot be read.
        BaseMismatchError: the adapter was trained on another base or does not fit this one.
        AdapterError: the file is damaged, unsafe, or does not match its certificate.
    """
    network = base if isinstance(base, nn.Module) else read_network(base)
    adapter = read_adapter(source)
    return verification(network, adapter, apply_adapter(network, adapter))


def verification(base: nn.Module, adapter: AdapterFile, network: nn.Module) -> Verification:
    """Verify an adapter that was read, and the base network with it.

    Raises:
        AdapterError: the certificate states differences above the tolerance, or logits far beyond those of random
            inputs; or the network's outputs are not finite.
        NetworkFileError: the base is a network of no family.
    """
    probe = known_spec(base).examples(PROBE_ROWS, torch.Generator().manual_seed(PROBE_SEED)).batch(slice(None))
    logits = logits_of(network, probe)
    if adapter.certificate is not None:
        _check_measured(adapter.certificate, logits.abs().max().item(), lambda: largest_summed(network, probe))
    return Verification(
        fingerprint_matches=None if adapter.base_fingerprint is None else True,
        certified=adapter.certificate is not None,
        layers=adapter.layers,
        parameters=adapter.parameters,
        rank=adapter.config.own.usual_rank,
        head_parameters=adapter.head_parameters,
        merged=merged_comparison(network, probe, logits),
    )


def _check_measured(certificate: Certificate, largest: float, summed: Callable[[], float]) -> None:
    """Check measured logits and differences of a certificate. Raises: AdapterError: this adapter cannot have them."""
    if not 0 <= certificate.largest_logit <= MAX_BEYOND * max(1.0, largest):
        raise AdapterError(
            f"The adapter's certificate states logits up to {certificate.largest_logit:.3g}, but on {PROBE_ROWS} "
            f"random inputs they reach {largest:.3g}: it is not of this adapter."
        )
    on = certificate.probe_rows, certificate.largest_logit
    reloaded = LogitComparison(RELOADED, *on, certificate.reloaded_difference, RELOADED_TOLERANCE)
    merged = LogitComparison(MERGED, *on, certificate.merged_difference, MERGED_TOLERANCE).allowing(summed)
    if not (reloaded.is_same and merged.is_same):
        raise AdapterError("The adapter's certificate states differences above the tolerance.")
