"""Evaluation of an uploaded adapter on the base that it says it comes from: whether the file is valid, and how it
changes the scores.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn

from core.adapter import Verification, apply_adapter, read_adapter
from core.adapter.archive import TASK, json_object, read_entries
from core.adapter.card import TrainedOn
from core.adapter.verify import verification
from core.artifacts.artifacts import Artifacts
from core.data.dataset import LANGUAGE
from core.data.examples import Task, shapes_of
from core.data.task_spec import TaskSpec
from core.engine.jobs.run_files import NETWORK
from core.errors import LabError, printable
from core.methods.adapted import merged_copy
from core.methods.method import Role
from core.methods.registry import methods
from core.networks.causal import TESTED
from core.networks.file import base_fingerprint, network_bytes
from core.networks.library.networks import Networks
from core.networks.network import NetworkSpec
from core.networks.registry import known_spec
from core.objectives.measure import Measure
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION, objective_of
from core.store.record import Run
from core.store.store import Store
from core.tasks.tasks import Tasks
from core.training.evaluation import Evaluation, evaluate

SHOWN = 12
"""Digits of a fingerprint that a sentence shows."""

MAX_NAME = 200
"""Characters of a base's name that a sentence shows."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """What an adapter file says of the base and the task that it was trained on."""

    fingerprint: str | None
    """None in files of PEFT, which say nothing."""
    name: str | None
    """What it calls the base; None if it does not."""
    task: TaskSpec | None = None
    """What it says it was trained on; None if it does not."""

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Read it from the zip. Raises: AdapterError: the file is damaged, unsafe or inconsistent."""
        entries, fingerprint = read_entries(content), read_adapter(content).base_fingerprint
        try:
            told = TrainedOn.of(**json_object(entries[TASK], TASK))
        except (KeyError, LabError):  # other trainers, and earlier versions, write no such file or another one
            return cls(fingerprint, None)
        return cls(fingerprint, told.base, told.task)

    @property
    def missing(self) -> str:
        """The sentence that the base is not here."""
        called = f" and is called {printable(self.name, MAX_NAME)} in the file" if self.name else ""
        return (
            "No base here is the one that this adapter was trained on, which has the fingerprint "
            f"{printable(self.fingerprint or '', SHOWN)}…{called}."
        )


class BaseFinder:
    """Bases by fingerprint. Each base's is computed once per process. Any thread may call any method."""

    def __init__(self, store: Store, artifacts: Artifacts, networks: Networks) -> None:
        """Args: store: knows the pretrain runs; artifacts: has their networks; networks: those that were imported."""
        self._store, self._artifacts, self._networks = store, artifacts, networks
        self._known: dict[str, str] = {}
        """Fingerprint by SHA-256 of a base's file, or digest of a network's files and what it learns."""
        self._lock = threading.Lock()

    def find(self, fingerprint: str) -> Run | NetworkSpec | None:
        """The newest base with a fingerprint: a pretrain run, or a network that was imported; None if none has it."""
        bases = self._store.runs(methods=list(methods(Role.BASE)), states=["finished", "stopped"])
        for run in bases:
            if run.result and self._of_run(run) == fingerprint:
                return run
        for card in self._networks.list():
            for learns in ("text", *([LANGUAGE] if card.architecture in TESTED else [])):
                if self._of_network(card.digest, learns) == fingerprint:
                    return self._networks.spec(card.digest, learns=learns)
        return None

    def _of_run(self, run: Run) -> str | None:
        sha256 = self._store.files(run.id).get(NETWORK, "")
        with self._lock:
            if sha256 not in self._known:
                try:
                    self._known[sha256] = base_fingerprint(self._artifacts.network(run.id))
                except (LabError, OSError) as error:
                    log.warning("The base %s is left out: %s", run.id, error)
                    return None
            return self._known[sha256]

    def _of_network(self, digest: str, learns: str) -> str | None:
        key = f"{digest} {learns}"
        with self._lock:
            if key not in self._known:
                try:
                    network = self._networks.start(self._networks.spec(digest, learns=learns), seed=0)
                    self._known[key] = base_fingerprint(network)
                except (LabError, OSError) as error:
                    log.warning("The network %s is left out: %s", digest[:12], error)
                    return None
            return self._known[key]


_one_at_a_time = threading.Lock()
"""Held during an evaluation, which needs memory for several copies of the network."""


@dataclass(frozen=True)
class Score:
    """The base's evaluation on the test part of a task, without and with the adapter."""

    task: TaskSpec
    examples: int
    """Number of test examples."""
    before: Evaluation
    after: Evaluation
    objective: ObjectiveSpec

    @classmethod
    def of(cls, base: nn.Module, adapted: nn.Module, task: Task, objective: ObjectiveSpec) -> Self:
        """Evaluate a base, and the same with an adapter. Args: objective: what both answer, and are judged by."""
        with torch.no_grad():
            before, after = (evaluate(each, task.test, task.classes, objective=objective) for each in (base, adapted))
        return cls(task.spec, len(task.test), before, after, objective)

    @property
    def measure(self) -> Measure:
        """What both are judged by."""
        return self.objective.primary

    @property
    def values(self) -> tuple[float, float]:
        """The measure without and with the adapter."""
        return self.before.measures[self.measure.name], self.after.measures[self.measure.name]


def evaluate_adapter(
    content: bytes,
    base: nn.Module,
    tasks: Tasks,
    on: Sequence[TaskSpec],
    objective: ObjectiveSpec = CLASSIFICATION,
) -> tuple[Verification, tuple[Score, ...]]:
    """Verify an adapter file against a base, and evaluate the base without and with it on some tasks.

    Each process evaluates one adapter at a time, so that memory stays bounded.

    Args:
        content: the adapter zip, from LoRA Lab or PEFT.
        base: the network; it is not changed.
        tasks: where to get the tasks.
        on: specs of the tasks; duplicates are evaluated once.
        objective: what the base learned, and by which measure it is judged.

    Returns:
        What verifying found, and a score per task; nothing is written to disk.

    Raises:
        AdapterError: the adapter is damaged, unsafe, or made for another base.
        LabError: the base or a dataset cannot be read, or a task does not fit the network.
    """
    with _one_at_a_time:
        adapter = read_adapter(content)
        adapted = apply_adapter(base, adapter)
        found = verification(base, adapter, adapted)
        sizes = known_spec(base)
        scores = []
        for spec in dict.fromkeys(on):
            task = tasks.get(spec, network=sizes)
            sizes.check_fit(spec.dataset, shapes_of(task.test.batch(slice(0, 1))), task.classes)
            own = objective_of(tasks.catalog.info(spec.dataset).objective)
            own.check_outputs(sizes.num_classes)
            scores.append(Score.of(base, adapted, task, objective if objective.kind == own.kind else own))
        return found, tuple(scores)


def merged_with(content: bytes, base: nn.Module) -> bytes:
    """The network file of a base with an adapter merged in. Raises: see :func:`evaluate_adapter`."""
    with _one_at_a_time:
        return network_bytes(merged_copy(apply_adapter(base, read_adapter(content))))
