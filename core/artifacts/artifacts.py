"""The files that runs produce: networks, adapters, merged networks and predictions, checked whenever they are read."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from core.adapter import AdapterFile, Verification, apply_adapter, read_adapter
from core.adapter.archive import CARD, read_entries
from core.adapter.verify import verification
from core.engine.jobs.run_files import (
    ADAPTER,
    NETWORK,
    PREDICTIONS,
    StoredAnswers,
    predictions_bytes,
    read_predictions,
    stored,
)
from core.errors import LabError, RunStateError, UnknownRunError
from core.files import check_sha256, write_atomically
from core.methods.adapted import merged_copy
from core.methods.method import Role
from core.networks.file import read_network, write_network
from core.networks.library.networks import Networks
from core.networks.pretrained import write_pretrained
from core.networks.tokenizer import ByteTokenizer, Tokenizer
from core.reader import reading_here
from core.store.record import Run
from core.store.store import Store
from core.training.evaluation import Evaluation

log = logging.getLogger(__name__)

MERGED = "merged.safetensors"
PRETRAINED = "hugging-face.zip"


class Artifacts:
    """Files of runs, by run id and name. Any thread may call any method."""

    def __init__(self, store: Store, runs: Path, networks: Networks) -> None:
        """Args:
        store: has the hashes of the files.
        runs: folder with one folder per run.
        networks: those that somebody imported.
        """
        self._store = store
        self._runs = runs
        self._networks = networks

    def path(self, run: str, name: str) -> Path:
        """Path of a run's file: ``network.safetensors``, ``adapter.zip`` or ``merged.safetensors``.

        The merged network of a LoRA run is made on first use.

        Raises:
            UnknownRunError: there is no such run, it makes no such file, or the file is gone.
            RunStateError: the run has not made it yet.
            DamagedFileError: the file has changed since it was written.
        """
        record = self._store.run(run)
        made = (ADAPTER, MERGED) if record.spec.role is Role.ADAPTER else (NETWORK,)
        if name not in made:
            raise UnknownRunError(f"Run {run} makes no file {name!r}; it makes: {', '.join(made)}.")
        if record.result is None:
            raise RunStateError(f"Run {run} is {record.state}: it has made no files.")
        path = self._runs / run / name
        known = self._store.files(run).get(name)
        if name == MERGED and (known is None or not path.exists()):
            merged = merged_copy(self.trained(record))
            known = write_network(path, merged)
            self._store.add_file(run, name, known)
        if not path.exists() and name == NETWORK and known is None:
            raise UnknownRunError(
                f"The network of run {run} was not kept, since validation chose another setting: repeat the run on the "
                "Runs tab if you need it."
            )
        if not path.exists():
            raise UnknownRunError(f"The file {name} of run {run} is gone from {path.parent}.")
        if known is not None:
            check_sha256(path, known, f"The file {name} of run {run}")
        return path

    def drop_network(self, run: str) -> None:
        """Delete the network of a run, as its experiment was launched to do; the result and its numbers stay."""
        if NETWORK not in self._store.files(run):
            return
        # The store first: a file without a record is deleted with the run, a record without a file is a fault.
        self._store.drop_file(run, NETWORK, "Its network was not kept: validation chose another setting.")
        (self._runs / run / NETWORK).unlink(missing_ok=True)

    def pretrained(self, run: str, labels: Sequence[str]) -> Path:
        """Write a zip of the folder that transformers' ``from_pretrained`` reads: a run's network, or its adapter
        merged into the base.

        Args:
            run: of a network that transformers has.
            labels: name of each class.

        Returns:
            Its path, a temporary name in the folder of the run.

        Raises:
            UnknownRunError: there is no such run, or transformers does not have its network.
            LabError: see :meth:`path`.
            OSError: it cannot be written.
        """
        record = self._store.run(run)
        digest = record.spec.network.brought
        if record.spec.network.pretrained is None:
            raise UnknownRunError(f"Run {run} trained a network that transformers does not have.")
        network = read_network(self.path(run, MERGED if record.spec.role is Role.ADAPTER else NETWORK))
        path = self._runs / run / f".{PRETRAINED}.{secrets.token_hex(8)}.part"
        task, objective = record.spec.task, record.spec.objective
        write_pretrained(
            path, network, self._networks.folder(digest) if digest else None, labels, task.length, objective
        )
        return path

    def tokenizer(self, run: Run) -> Tokenizer | ByteTokenizer:
        """The tokenizer of a run of a network that reads texts. Raises: NetworkFileError: it is gone or damaged."""
        return self._networks.tokenizer_of(run.spec.network)

    def read(self, run: str, name: str) -> bytes:
        """Content of a run's file. Raises: see :meth:`path`."""
        return self.path(run, name).read_bytes()

    def base(self, run: Run) -> Path:
        """Path of the weights that a fine-tune run started from. Raises: see :meth:`path`."""
        if run.spec.base is None:
            raise UnknownRunError(f"Run {run.id} started from no base.")
        return self.path(run.spec.base, NETWORK)

    def network(self, run: str) -> nn.Module:
        """The network of a run that trains one, read and checked.

        Raises:
            NetworkFileError: its file is damaged.
            LabError: see :meth:`path`.
        """
        return read_network(self.path(run, NETWORK))

    def base_network(self, run: Run) -> nn.Module:
        """The network that a fine-tune run started from: its base's, or the one that somebody imported.

        Raises:
            NetworkFileError: it cannot be read, or is no longer on this machine.
            LabError: see :meth:`path`.
        """
        if run.spec.is_direct:
            return self._networks.start(run.spec.network, run.spec.seed)
        return read_network(self.base(run))

    def trained(self, run: Run) -> nn.Module:
        """The network as a run trained it; that of a LoRA run is its base with the adapter beside it.

        Raises:
            LabError: a file is gone or damaged, or the run has not made one.
        """
        if run.spec.role is not Role.ADAPTER:
            return self.network(run.id)
        return apply_adapter(self.base_network(run), self.adapter(run.id))

    def adapter(self, run: str) -> AdapterFile:
        """A LoRA run's adapter, read and checked. Raises: AdapterError: the file is damaged; see :meth:`path`."""
        path = self.path(run, ADAPTER)
        with reading_here():
            return read_adapter(path)

    def card(self, run: str) -> str:
        """The model card in a LoRA run's adapter file. Raises: AdapterError: the file is damaged; see :meth:`path`."""
        path = self.path(run, ADAPTER)
        with reading_here():
            return read_entries(path).get(CARD, b"").decode()

    def predictions(self, run: str, compute: Callable[[], Evaluation], losses: bool = False) -> StoredAnswers:
        """What a run answered to the test part of its task.

        Args:
            run: id of the run.
            compute: evaluates the run on the test part, for a run of an older version, which has no file of answers,
                and for one whose file is damaged; the file is then written for the next time.
            losses: whether the loss of each example is needed, which older files lack.

        Raises:
            UnknownRunError: there is no such run.
            RunStateError: the run has no result yet.
            LabError: raised by ``compute``.
        """
        record = self._store.run(run)
        if record.result is None:
            raise RunStateError(f"Run {run} is {record.state}: it has predicted nothing.")
        path, known = self._runs / run / PREDICTIONS, self._store.files(run).get(PREDICTIONS)
        try:
            if known is not None:
                found = read_predictions(path, known)
                if found.losses is not None or not losses:
                    return found
        except (OSError, LabError) as error:
            log.warning("The predictions of run %s are computed again: %s", run, error)
        answers = stored(compute())
        try:
            if path.parent.is_dir():  # the run may have been deleted meanwhile
                self._store.add_file(run, PREDICTIONS, write_atomically(path, predictions_bytes(answers)))
        except OSError as error:
            log.warning("The predictions of run %s could not be stored: %s", run, error)
        return answers

    def answered(self, runs: Sequence[str]) -> int:
        """How many of these runs have kept their answers to the test part; see :meth:`predictions`."""
        marks = ", ".join("?" * len(runs))
        query = f"SELECT count(*) AS count FROM files WHERE name = ? AND run IN ({marks})"  # noqa: S608
        return int(self._store.rows(query, PREDICTIONS, *runs)[0]["count"])

    def certificate(self, run: str) -> dict[str, Any]:
        """Results of the checks made when a LoRA run's adapter was written. Raises: see :meth:`adapter`."""
        certificate = self.adapter(run).certificate
        return asdict(certificate) if certificate else {}

    def verify(self, run: str) -> Verification:
        """Verify a LoRA run's adapter file against its base. Raises: AdapterError: it is not valid."""
        base, adapter = self.base_network(self._store.run(run)), self.adapter(run)
        return verification(base, adapter, apply_adapter(base, adapter))
