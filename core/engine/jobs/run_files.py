"""The file that a run leaves: its network, or its adapter with the checks that it has passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn

from core.adapter import Card, adapter_bytes
from core.data.dataset import Dataset
from core.data.examples import Batch, Examples
from core.methods.adapter import AdapterSpec
from core.methods.merging import base_copy
from core.networks.file import network_bytes, network_size
from core.networks.network import NetworkSpec
from core.run_spec import RunSpec
from core.store.record import Result, Run
from core.store.store import Store

NETWORK = "network.safetensors"
ADAPTER = "adapter.zip"

PROBE = 512
"""Maximum number of test examples that an adapter file is checked on when it is written."""

PROBE_TOKENS = 2048
"""Maximum number of tokens of these, padding included."""

PROBED = 3
"""How often the network reads them: as trained, reloaded and merged."""


def base_file(store: Store, run: Run) -> str | None:
    """SHA-256 of the file of a run's base; None if it has no base."""
    return store.files(run.spec.base).get(NETWORK) if run.spec.base else None


def probe_of(examples: Examples, network: NetworkSpec) -> Batch:
    """The first test examples, on which an adapter of this network is checked; fewer of a family that is slow."""
    batch = network.evaluation_batch
    probe = examples.batch(slice(0, PROBE if batch is None else min(PROBE, batch)))
    if "input_ids" in probe:
        rows = max(1, PROBE_TOKENS // probe["input_ids"].shape[1])
        return {name: tensor[:rows] for name, tensor in probe.items()}
    return probe


def file_of(
    run: str,
    spec: RunSpec,
    network: nn.Module,
    base: str,
    head: Mapping[str, Tensor],
    result: Result,
    probe: Batch,
    labels: Sequence[str],
    uploaded: Dataset | None = None,
) -> tuple[Result, dict[str, bytes]]:
    """Make the file of a run's network, or of its adapter.

    Args:
        run: id of the run, for the model card.
        spec: what was trained.
        network: as trained; it is moved to the CPU.
        base: fingerprint of the base; empty for a run that trains no adapter.
        head: that of the base, where it is trained whole; see :func:`core.adapter.adapter_bytes`.
        result: of the run.
        probe: on which an adapter is checked; see :func:`probe_of`.
        labels: name of each class.
        uploaded: the dataset, if somebody uploaded it.

    Returns:
        The result with file sizes filled in, and the file's content by its name.

    Raises:
        LabError: the adapter does not pass its checks.
    """
    network.to("cpu")
    if not isinstance(spec.method, AdapterSpec):
        content = network_bytes(network)
        return replace(result, checkpoint_bytes=len(content)), {NETWORK: content}
    checkpoint = network_size(base_copy(network, shared=[*network.parameters(), *network.buffers()]))
    card = Card.of(run, spec, result.measures, labels, uploaded)
    probe = {name: tensor.cpu() for name, tensor in probe.items()}
    content = adapter_bytes(network, spec.method, base_fingerprint=base, base_head=head, card=card, probe=probe)
    return replace(result, checkpoint_bytes=checkpoint, adapter_bytes=len(content)), {ADAPTER: content}
