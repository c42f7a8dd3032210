"""The files that a run leaves: its network, or its adapter with the checks that it has passed; and what it answered to
the examples of its test part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.adapter import Card, adapter_bytes
from core.data.dataset import Dataset
from core.data.examples import Batch, Examples
from core.errors import DamagedFileError, PredictionsError
from core.methods.adapted import base_copy
from core.methods.adapter import AdapterSpec
from core.networks.file import network_bytes, network_size
from core.networks.network import NetworkSpec
from core.run_spec import RunSpec
from core.store.record import Result, Run
from core.store.store import Store
from core.tensor_file import read_tensors, tensors_bytes
from core.training.evaluation import Evaluation

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


PREDICTIONS = "predictions.safetensors"

Predictions = NDArray[Any]
"""(n,) what was answered to each test example, in the task's order: labels as uint8, or uint16 where one is above 255;
numbers as float32."""

_TENSOR = "predicted"
_LOSSES = "losses"
_DTYPES = (torch.uint8, torch.uint16, torch.float32)


@dataclass(frozen=True, eq=False)
class StoredAnswers:
    """What a run answered to its test examples."""

    predicted: Predictions
    losses: NDArray[np.float32] | None
    """(n,) loss of each example; None for runs of versions that did not store it."""


def stored(evaluation: Evaluation) -> StoredAnswers:
    """What is stored of the evaluation of a test part. Raises: PredictionsError: it is of another part."""
    if evaluation.predicted is None:
        raise PredictionsError("Only an evaluation of a test part has answers to store.")
    losses = None if evaluation.losses is None else evaluation.losses.cpu().numpy().astype(np.float32)
    return StoredAnswers(compact(evaluation.predicted), losses)


def compact(predicted: Tensor) -> Predictions:
    """Answers of shape (n,) as an array of the smallest type: labels are integers from 0 to 65,535, on any device."""
    if predicted.is_floating_point():
        return predicted.detach().cpu().numpy().astype(np.float32)
    small = not len(predicted) or int(predicted.max()) < 256
    return predicted.cpu().numpy().astype(np.uint8 if small else np.uint16)


def predictions_bytes(answers: StoredAnswers) -> bytes:
    """The file of some answers."""
    tensors = {_TENSOR: torch.from_numpy(answers.predicted)}
    if answers.losses is not None:
        tensors[_LOSSES] = torch.from_numpy(answers.losses)
    return tensors_bytes(tensors, {"format": "pt"})


def read_predictions(path: Path, sha256: str) -> StoredAnswers:
    """Read a file with the content of :func:`predictions_bytes`.

    Args:
        path: of the file.
        sha256: hash of its content, in hex.

    Raises:
        DamagedFileError: the hash differs.
        PredictionsError: it has something else in it.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedFileError("This file of predictions", path)
    tensors, _ = read_tensors(content, path.name, PredictionsError)
    found, losses = tensors.get(_TENSOR), tensors.get(_LOSSES)
    if found is None or found.ndim != 1 or found.dtype not in _DTYPES or not _fits(losses, found):
        raise PredictionsError(f"{path.name} has no predictions in it: remove it, and they are computed again.")
    return StoredAnswers(found.numpy(), None if losses is None else losses.numpy())


def _fits(losses: Tensor | None, predicted: Tensor) -> bool:
    return losses is None or (losses.shape == predicted.shape and losses.dtype == torch.float32)
