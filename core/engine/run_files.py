"""The file that a run leaves: its network, or its adapter with the checks that it has passed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from core.adapter import Card, write_adapter
from core.data.examples import Batch, Examples
from core.methods.merging import base_copy
from core.networks.file import network_size, write_network
from core.networks.network import NetworkSpec
from core.run_spec import RunSpec
from core.store.record import Result

NETWORK = "network.safetensors"
ADAPTER = "adapter.zip"

PROBE = 512
"""Maximum number of test examples that an adapter file is checked on when it is written."""

PROBE_TOKENS = 2048
"""Maximum number of tokens of these, padding included: the network reads them three times."""


def probe_of(examples: Examples, network: NetworkSpec) -> Batch:
    """The first test examples, on which an adapter of this network is checked; fewer of a family that is slow."""
    batch = network.evaluation_batch
    probe = examples.batch(slice(0, PROBE if batch is None else min(PROBE, batch)))
    if "input_ids" in probe:
        rows = max(1, PROBE_TOKENS // probe["input_ids"].shape[1])
        return {name: tensor[:rows] for name, tensor in probe.items()}
    return probe


def write_run(
    run: str,
    folder: Path,
    spec: RunSpec,
    network: nn.Module,
    base: str,
    result: Result,
    probe: Batch,
    labels: Sequence[str],
) -> tuple[Result, dict[str, str]]:
    """Write a run's network, or its adapter.

    Args:
        run: id of the run, for the model card.
        folder: of its files.
        spec: what was trained.
        network: as trained; it is moved to the CPU.
        base: fingerprint of the base; empty for a run that trains no adapter.
        result: of the run.
        probe: on which an adapter is checked; see :func:`probe_of`.
        labels: name of each class.

    Returns:
        The result with file sizes filled in, and the file's name and hash.

    Raises:
        LabError: the adapter does not pass its checks.
        OSError: the file cannot be written.
    """
    network.to("cpu")
    if spec.adapter is None:
        path = folder / NETWORK
        digest = write_network(path, network)
        return replace(result, checkpoint_bytes=path.stat().st_size), {NETWORK: digest}
    path = folder / ADAPTER
    checkpoint = network_size(base_copy(network, shared=[*network.parameters(), *network.buffers()]))
    card = Card.of(run, spec, result, labels)
    probe = {name: tensor.cpu() for name, tensor in probe.items()}
    digest = write_adapter(path, network, spec.adapter, base_fingerprint=base, card=card, probe=probe)
    return replace(result, checkpoint_bytes=checkpoint, adapter_bytes=path.stat().st_size), {ADAPTER: digest}
