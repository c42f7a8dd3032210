"""Answers requests with the adapters of finished runs, in batches of all requests that arrive together."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from torch import Tensor, nn

from core.artifacts.artifacts import Artifacts
from core.data.dataset import LANGUAGE
from core.data.sources.catalog import Catalog
from core.errors import LabError, ServingBusyError, ServingError, UnknownRunError
from core.methods.method import Role
from core.methods.registry import methods
from core.networks.network import NetworkSpec
from core.serving.inputs import READ, Inputs, Passages, TokenizerOf
from core.serving.mixed import MixedNetwork, Use
from core.serving.request import (
    MAX_LISTED,
    MAX_ROWS,
    AdaptersResponse,
    Answered,
    NumberPrediction,
    NumbersResponse,
    Prediction,
    PredictRequest,
    PredictResponse,
    Rate,
    ScoresResponse,
    ServedAdapter,
    rate_of,
)
from core.store.record import Run, State
from core.store.store import Store
from core.wording.tasks import noun, task_text

log = logging.getLogger(__name__)

MAX_ADAPTER_BYTES = 2**28
"""Limit on the adapters of one base in memory: ten thousand of rank 4 on the default network."""

MAX_BASES = 4
"""Number of bases in memory, the ones that were used last."""

MAX_WAITING = 8 * MAX_ROWS
"""Maximum number of rows that wait to be answered; further requests are refused."""

IMPORTED = re.compile(f"[0-9a-f]{{64}}/([0-9]+|{LANGUAGE})")
"""What a network that was imported is called as a base: its digest, and its number of outputs or what it learns."""

NO_CLASSES = "A network that was imported knows no classes by itself: each row names an adapter of it."

NOT_ALONE = "A network that was imported answers beside its adapters: name one of them in at least one row."

LATENCIES = 1000
"""Number of requests that latency and rate are computed over."""


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
    rate: Rate
    """Over the latest minute; where the latest requests took less, over these."""


@dataclass(frozen=True, eq=False)
class _Base:
    """What the rows of a request are on."""

    key: str
    """The same for all adapters that can be mixed."""
    network: NetworkSpec
    read: Callable[[], nn.Module]
    run: Run | None
    """The pretrain run; None for a network that somebody imported."""


@dataclass(eq=False)
class _Waiting:
    """A request whose runs are known."""

    base: _Base
    inputs: Inputs
    adapters: tuple[str | None, ...]
    arrived: float
    answer: Future[Tensor]


class Predictor:
    """Answers rows with adapters. Any thread may call any method; one thread of its own computes."""

    def __init__(
        self,
        store: Store,
        artifacts: Artifacts,
        catalog: Catalog,
        tokenizer: TokenizerOf,
        max_bytes: int = MAX_ADAPTER_BYTES,
    ) -> None:
        """Args:
        store: knows the runs.
        artifacts: has their files.
        catalog: has the names of classes.
        tokenizer: gives the tokenizer of texts of a network.
        max_bytes: limit on the adapters of one base in memory.
        """
        self._store, self._artifacts, self._catalog = store, artifacts, catalog
        self._tokenizer, self._max_bytes = tokenizer, max_bytes
        self._bases: dict[str, MixedNetwork] = {}
        """By key of the base, the one that was used longest ago first."""
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
        self._since = time.perf_counter()
        self._latest: deque[Answered] = deque(maxlen=LATENCIES)

    def predict(self, request: PredictRequest) -> PredictResponse | NumbersResponse | ScoresResponse:
        """Answer a request, together with others that arrived while the last batch was computed.

        Returns:
            Classes with their probabilities; or numbers, or what each token of a text costs, where that is what the
            networks have learned.

        Raises:
            ServingError: rows are on several bases, or do not fit the network, or nothing reads rows for it.
            ServingBusyError: too many rows are waiting.
            UnknownRunError: a run does not exist, or has no adapter.
            LabError: a file is missing or damaged, or the predictor was closed.
        """
        arrived = time.perf_counter()
        adapters = tuple(row.adapter for row in request.rows)
        named = [request.base] if request.base and not is_imported(request.base) else []
        if named and not self._store.runs_of(named):
            raise UnknownRunError(
                f"There is no base {request.base!r}: the base of rows without an adapter is a pretrain run, and with "
                "adapters none has to be named."
            )
        runs = self._runs([*filter(None, adapters), *named])
        base = self._base_of(request, runs)
        own = base.run
        if base.network.learns == LANGUAGE and any(adapters):  # to be compared with them, so as long as theirs
            own = max((runs[adapter] for adapter in adapters if adapter), key=lambda run: run.spec.task.length)
        tasks = [(runs[adapter] if adapter else _pretrained(own)).spec.task for adapter in adapters]
        read = READ.get(base.network.learns)
        if read is None:
            raise ServingError(f"Networks that learn {noun(base.network.learns)} cannot be served; name another base.")
        inputs = read(request.rows, [task.length for task in tasks], base.network, self._tokenizer)
        waiting = _Waiting(base, inputs, adapters, arrived, Future())
        self._submit(waiting)
        logits = waiting.answer.result()
        with self._changed:
            self._requests += 1
            self._rows += len(adapters)
            now = time.perf_counter()
            if len(self._latest) == LATENCIES:
                self._since = self._latest[0].at
            self._latest.append(Answered(now, len(adapters), now - arrived))
        if isinstance(inputs, Passages):
            return inputs.response(logits)
        objective = (runs[named_first] if (named_first := adapters[0]) else _pretrained(own)).spec.objective
        if not objective.has_classes:  # of all rows, since they are on one base
            numbers = objective.predict(logits).tolist()
            return NumbersResponse(predictions=[NumberPrediction(number=number) for number in numbers])
        probabilities = logits.softmax(1)
        return PredictResponse(
            predictions=[
                Prediction(label=label, name=self._name(task.dataset, label), probabilities=each)
                for label, each, task in zip(
                    probabilities.argmax(1).tolist(), probabilities.tolist(), tasks, strict=True
                )
            ]
        )

    def adapters(self, limit: int = MAX_LISTED, before: str | None = None) -> AdaptersResponse:
        """Adapters that rows can name, the newest first.

        Args:
            limit: number of runs that are looked at.
            before: run after which the list goes on, as ``next`` of the answer before says; None for its beginning.

        Raises:
            UnknownRunError: there is no such run.
        """
        held = {name for network in list(self._bases.values()) for name in network.held}
        states: list[State] = ["finished", "stopped"]
        runs = self._store.runs(methods=list(methods(Role.ADAPTER)), states=states, limit=limit, before=before)
        return AdaptersResponse(
            adapters=[
                ServedAdapter(
                    adapter=run.id,
                    base=key_of(run),
                    reads=run.spec.network.learns,
                    label=run.spec.label,
                    method=run.spec.kind,
                    rank=run.spec.method.inner_rank,
                    seed=run.spec.seed,
                    task=task_text(run.spec.task, run.spec.objective),
                    accuracy=run.result.measures.get("accuracy"),
                    bits_per_byte=run.result.measures.get("bits_per_byte"),
                    bytes=run.result.adapter_bytes or 0,
                    held=run.id in held,
                    objective=run.spec.objective.kind,
                    alpha=run.spec.method.strength,
                    learning_rate=run.spec.optim.learning_rate,
                )
                for run in runs
                if run.result is not None and run.spec.role is Role.ADAPTER and run.spec.network.learns in READ
            ],
            next=runs[-1].id if len(runs) == limit else None,
        )

    def statistics(self) -> Statistics:
        """What was answered since the start."""
        uses = [network.use for network in list(self._bases.values())]
        use = Use(*(sum(getattr(each, name) for each in uses) for name in Use.__dataclass_fields__))
        with self._changed:
            rate = rate_of(self._latest, self._since, time.perf_counter())
            seconds = tuple(each.seconds for each in self._latest)
            return Statistics(self._requests, self._rows, self._batches, len(uses), use, seconds, rate)

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

    def _base_of(self, request: PredictRequest, runs: dict[str, Run]) -> _Base:
        """The one base of all rows."""
        adapters = {row.adapter for row in request.rows}
        for run in runs.values():
            if run.id in adapters and (run.spec.role is not Role.ADAPTER or run.result is None):
                raise UnknownRunError(f"Run {run.id} has no adapter; GET /api/adapters lists those that have one.")
        named = [runs[row.adapter] for row in request.rows if row.adapter]
        bases = {key_of(run) for run in named} | ({request.base} if request.base else set())
        if len(bases) > 1:
            raise ServingError(f"All rows of a request are on one base; these are on {', '.join(sorted(bases))}.")
        if not bases:
            raise ServingError(
                "No row names an adapter: name one in each row or, for the answers of a base that was pretrained here, "
                "its run as base beside the rows."
            )
        (key,) = bases
        if named and named[0].spec.is_direct:
            return _Base(key, named[0].spec.network, lambda: self._artifacts.base_network(named[0]), None)
        if is_imported(key):
            raise ServingError(NOT_ALONE if key.endswith(LANGUAGE) else NO_CLASSES)
        (base,) = self._runs([key]).values()
        if base.spec.role is not Role.BASE or base.result is None:
            raise UnknownRunError(f"Run {base.id} is not a base that has been trained.")
        return _Base(key, base.spec.network, lambda: self._artifacts.network(base.id), base)

    def _name(self, dataset: str, label: int) -> str:
        """Name of a class; its number where the dataset is gone or has no such class."""
        if dataset not in self._names:
            try:
                self._names[dataset] = tuple(self._catalog.load(dataset).class_names)
            except LabError:
                return str(label)  # the dataset may come back
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
            if each.base.key == self._left[0].base.key and (not batch or rows + len(each.adapters) <= MAX_ROWS):
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
        inputs = [each.inputs for each in batch]
        return network.answer(type(inputs[0]).joined(inputs), adapters)  # type: ignore[arg-type]  # all of one kind

    def _done(self, waiting: _Waiting, outcome: Tensor | Exception) -> None:
        with self._changed:
            self._waiting -= len(waiting.adapters)
        if isinstance(outcome, Exception):
            waiting.answer.set_exception(outcome)
        else:
            waiting.answer.set_result(outcome)

    def _network(self, base: _Base) -> MixedNetwork:
        network = self._bases.pop(base.key, None)
        if network is None:
            network = MixedNetwork(base.read(), self._artifacts.adapter, self._max_bytes)
            while len(self._bases) >= MAX_BASES:
                del self._bases[next(iter(self._bases))]
        self._bases[base.key] = network
        return network


def key_of(run: Run) -> str:
    """What a run started from: its base, or a network that was imported, with its number of outputs or what it learns.

    The same for all adapters that can be mixed, and what requests and the list of adapters call the base.
    """
    network = run.spec.network
    return run.spec.base or f"{network.brought}/{LANGUAGE if network.learns == LANGUAGE else network.num_classes}"


def is_imported(key: str) -> bool:
    """Whether a key, see :func:`key_of`, is of a network that was imported."""
    return IMPORTED.fullmatch(key) is not None


def _pretrained(run: Run | None) -> Run:
    """The run whose task the rows without an adapter have. Raises: ServingError: there is none."""
    if run is None:
        raise ServingError(NO_CLASSES)
    return run
