"""What an adapter file says of where it comes from, and finding its base by the fingerprint in it."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Self

from core.adapter import read_adapter
from core.adapter.archive import TASK, json_object, read_entries
from core.adapter.card import TrainedOn
from core.artifacts.artifacts import Artifacts
from core.data.dataset import LANGUAGE
from core.data.task_spec import TaskSpec
from core.engine.jobs.run_files import NETWORK
from core.errors import LabError, printable
from core.methods.method import Role
from core.methods.registry import methods
from core.networks.causal import TESTED
from core.networks.fingerprint import base_fingerprint
from core.networks.library.networks import Networks
from core.networks.network import NetworkSpec
from core.store.record import Run
from core.store.store import Store

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
