"""Answers requests with the adapters of finished runs, in batches of all requests that arrive together."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import torch
from torch import Tensor

from core.data.catalog import Catalog
from core.data.views.image import ImageView
from core.engine.artifacts import Artifacts
from core.engine.run_files import NETWORK
from core.errors import LabError, ServingBusyError, ServingError, UnknownRunError
from core.methods.method import Role
from core.methods.registry import methods
from core.networks.file import read_network
from core.serving.mixed import MixedNetwork, Use
from core.serving.request import MAX_ROWS, Prediction, PredictRequest, PredictResponse, ServedAdapter
from core.store.record import Run
from core.store.store import Store
from core.wording.tasks import task_text

log = logging.getLogger(__name__)

MAX_ADAPTER_BYTES = 2**28
"""Limit on the adapters of one base in memory: ten thousand of rank 4 on the default network."""

MAX_BASES = 4
"""Number of bases in memory, the ones that were used last."""

MAX_WAITING = 8 * MAX_ROWS
"""Maximum number of rows that wait to be answered; further requests are refused."""

LATENCIES = 1000
"""Number of requests that the latency is computed over."""

SERVED = ImageView().kind
"""The kind of data that rows consist of."""

LISTED = 1000
"""Number of adapters that are listed."""


@dataclass(frozen=True)
class Statistics:
    """What was answered since the start."""

    requests: int
    rows: int
    batches: int
    bases: int
    """Number of bases in memory."""
    use: Use
    """Of the adapters of all bases in memory."""
    seconds: tuple[float, ...]
    """Time from the arrival of each of the latest requests to its answer."""


@dataclass(eq=False)
class _Waiting:
    """A request whose runs are known."""

    base: str
    pixels: Tensor
    adapters: tuple[str | None, ...]
    arrived: float
    answer: Future[Tensor]


class Predictor:
    """Answers rows with adapters. Any thread may call any method; one thread of its own computes."""

    def __init__(
        self, store: Store, artifacts: Artifacts, catalog: Catalog, max_bytes: int = MAX_ADAPTER_BYTES
    ) -> None:
        """Args:
        store: knows the runs.
        artifacts: has their files.
        catalog: has the names of classes.
        max_bytes: limit on the adapters of one base in memory.
        """
        self._store, self._artifacts, self._catalog = store, artifacts, catalog
        self._max_bytes = max_bytes
        self._bases: dict[str, MixedNetwork] = {}
        """By id of the base, the one that was used longest ago first."""
        self._names: dict[str, tuple[str, ...]] = {}
        """Names of the classes of a dataset."""
        self._changed = threading.Condition()
        self._left: list[_Waiting] = []
        """Requests that no batch has taken yet, in the order in which they arrived."""
        self._waiting = 0
        """Number of rows that were not answered yet."""
        self._closing = False
        self._thread: threading.Thread | None = None
        self._requests = self._rows = self._batches = 0
        self._seconds: deque[float] = deque(maxlen=LATENCIES)

    def predict(self, request: PredictRequest) -> PredictResponse:
        """Answer a request, together with others that arrived while the last batch was computed.

        Raises:
            ServingError: rows are on several bases, or do not fit the network.
            ServingBusyError: too many rows are waiting.
            UnknownRunError: a run does not exist, or has no adapter.
            LabError: a file is missing or damaged, or the predictor was closed.
        """
        arrived = time.perf_counter()
        adapters = tuple(row.adapter for row in request.rows)
        runs = self._runs([*filter(None, adapters), *([request.base] if request.base else [])])
        base = self._base_of(request, runs)
        pixels = self._pixels(request, base)
        waiting = _Waiting(base.id, pixels, adapters, arrived, Future())
        self._submit(waiting)
        logits = waiting.answer.result()
        with self._changed:
            self._requests += 1
            self._rows += len(adapters)
            self._seconds.append(time.perf_counter() - arrived)
        probabilities = logits.softmax(1)
        datasets = [(runs[adapter] if adapter else base).spec.task.dataset for adapter in adapters]
        return PredictResponse(
            predictions=[
                Prediction(label=label, name=self._name(dataset, label), probabilities=each)
                for label, each, dataset in zip(
                    probabilities.argmax(1).tolist(), probabilities.tolist(), datasets, strict=True
                )
            ]
        )

    def adapters(self) -> list[ServedAdapter]:
        """Adapters that rows can name, the newest first: those that learnt from images."""
        held = {name for network in list(self._bases.values()) for name in network.held}
        runs = self._store.runs(methods=list(methods(Role.ADAPTER)), states=["finished", "stopped"], limit=LISTED)
        return [
            ServedAdapter(
                adapter=run.id,
                base=str(run.spec.base),
                label=run.spec.label,
                method=run.spec.kind,
                rank=run.spec.adapter.rank,
                seed=run.spec.seed,
                task=task_text(run.spec.task),
                accuracy=run.result.accuracy,
                bytes=run.result.adapter_bytes or 0,
                held=run.id in held,
            )
            for run in runs
            if run.result is not None and run.spec.adapter is not None and run.spec.network.learns == SERVED
        ]

    def statistics(self) -> Statistics:
        """What was answered since the start."""
        uses = [network.use for network in list(self._bases.values())]
        use = Use(*(sum(getattr(each, name) for each in uses) for name in Use.__dataclass_fields__))
        with self._changed:
            return Statistics(self._requests, self._rows, self._batches, len(uses), use, tuple(self._seconds))

    def close(self) -> None:
        """End the thread once it has answered what waits."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(1.0)

    # Before the batch

    def _runs(self, ids: Sequence[str]) -> dict[str, Run]:
        """Runs by id. Raises: UnknownRunError: one does not exist."""
        wanted = list(dict.fromkeys(ids))
        found = {run.id: run for run in self._store.runs_of(wanted)}
        missing = next((id for id in wanted if id not in found), None)
        if missing is not None:
            raise UnknownRunError(f"There is no run {missing!r}; GET /api/adapters lists those that have an adapter.")
        return found

    def _base_of(self, request: PredictRequest, runs: dict[str, Run]) -> Run:
        """The one base of all rows."""
        for run in runs.values():
            if run.spec.network.learns != SERVED:
                raise ServingError(f"Run {run.id} learnt from texts, and rows are images: load its adapter with PEFT.")
            if run.id != request.base and (run.spec.role is not Role.ADAPTER or run.result is None):
                raise UnknownRunError(f"Run {run.id} has no adapter; GET /api/adapters lists those that have one.")
        bases = {str(runs[row.adapter].spec.base) for row in request.rows if row.adapter}
        bases |= {request.base} if request.base else set()
        if len(bases) > 1:
            raise ServingError(f"All rows of a request are on one base; these are on {', '.join(sorted(bases))}.")
        if not bases:
            raise ServingError("No row names an adapter: name the base beside the rows.")
        (base,) = self._runs([*bases]).values()
        if base.spec.role is not Role.BASE or base.result is None:
            raise UnknownRunError(f"Run {base.id} is no base that has been trained.")
        return base

    def _pixels(self, request: PredictRequest, base: Run) -> Tensor:
        """(n, pixels) of all rows. Raises: ServingError: a row has another number of pixels."""
        lengths = {len(row.pixels) for row in request.rows}
        for length in lengths:
            base.spec.network.check_fit("this request", {"pixels": (length,)}, [0])
        return torch.tensor([row.pixels for row in request.rows])

    def _name(self, dataset: str, label: int) -> str:
        """Name of a class; its number where the dataset is gone or has no such class."""
        if dataset not in self._names:
            try:
                self._names[dataset] = tuple(self._catalog.load(dataset).class_names)
            except LabError:
                self._names[dataset] = ()
        names = self._names[dataset]
        return names[label] if label < len(names) else str(label)

    # The batch

    def _submit(self, waiting: _Waiting) -> None:
        with self._changed:
            if self._closing:
                raise LabError("LoRA Lab is stopping; start it again to go on.")
            if self._waiting + len(waiting.adapters) > MAX_WAITING:
                raise ServingBusyError()
            self._waiting += len(waiting.adapters)
            self._left.append(waiting)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="predictor", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _work(self) -> None:
        """Answer all that waits in one batch per base, until the predictor is closed and nothing waits."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._left or self._closing)
                if not self._left:
                    return
                batch = self._next_batch()
                self._left = [each for each in self._left if each not in batch]
            self._answer(batch)

    def _next_batch(self) -> list[_Waiting]:
        """The first request and those on the same base, up to the size of the largest request."""
        batch: list[_Waiting] = []
        rows = 0
        for each in self._left:
            if each.base == self._left[0].base and (not batch or rows + len(each.adapters) <= MAX_ROWS):
                batch.append(each)
                rows += len(each.adapters)
        return batch

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        try:
            logits = self._logits(batch)
        except Exception as error:
            if len(batch) > 1:  # one of them cannot be answered, and the others can
                for each in batch:
                    self._answer([each])
                return
            if not isinstance(error, LabError):
                log.exception("A request for predictions failed")
            self._done(batch[0], error)
            return
        start = 0
        for each in batch:
            self._done(each, logits[start : start + len(each.adapters)])
            start += len(each.adapters)

    def _logits(self, batch: Sequence[_Waiting]) -> Tensor:
        network = self._network(batch[0].base)
        self._batches += 1
        adapters = [name for each in batch for name in each.adapters]
        return network.answer({"pixels": torch.cat([each.pixels for each in batch])}, adapters)

    def _done(self, waiting: _Waiting, outcome: Tensor | Exception) -> None:
        with self._changed:
            self._waiting -= len(waiting.adapters)
        if isinstance(outcome, Exception):
            waiting.answer.set_exception(outcome)
        else:
            waiting.answer.set_result(outcome)

    def _network(self, base: str) -> MixedNetwork:
        network = self._bases.pop(base, None)
        if network is None:
            read = read_network(self._artifacts.path(base, NETWORK))
            network = MixedNetwork(read, self._artifacts.adapter, self._max_bytes)
            while len(self._bases) >= MAX_BASES:
                del self._bases[next(iter(self._bases))]
        self._bases[base] = network
        return network
