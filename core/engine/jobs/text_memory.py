"""Memory of training transformers, counted before they are trained.

The step that trains is run on the ``meta`` device, on the largest batch that can come: the longest texts all at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from core.data.examples import Examples
from core.data.task import Task
from core.data.text_examples import TextExamples
from core.engine.jobs.build import untrained
from core.memory import training_bytes
from core.methods.method import MethodSpec, Role
from core.methods.parameters import count_parameters
from core.networks.network import NetworkSpec
from core.run_spec import OptimSpec, RunSpec
from core.training.autograd import AutogradStepper
from core.training.evaluation import predict
from core.training.frozen import KnownTexts, Resumed, frozen_blocks, texts_of
from core.training.ledger import Ledger
from core.training.threads import available_cores

BASE_COPIES, BROUGHT_COPIES = 4.0, 1.5
"""Copies of a network in memory while the file of a base is read: its bytes, the tensors in them, the network, and what
transformers keeps meanwhile; and while one that somebody brought is, whose tensors are read one after the other. Runs
of a bank do so one after the other."""

SAVED_COPIES, ADAPTER_COPIES = 1.0, 2.0
"""Copies of a network beside the one that was trained: while a file of it is written, and while an adapter file is made
and checked."""

CHECKPOINT_COPIES = 3
"""Copies of what is trained while a checkpoint is written: its values and both moments, as the bytes of a file. While
these bytes are made there are as many copies as tensors too, in the memory that activations and an evaluation have
left, as far as that is enough."""

OVERHEAD = 64 * 2**20
"""Bytes in addition: buffers of the matrix libraries on several threads, and fragmentation of the allocator."""


@dataclass(frozen=True)
class TextSizes:
    """What memory depends on, of the texts of a run."""

    tokens: int
    """Tokens of all texts that are trained on or evaluated while training, those of the source included."""
    trained: int
    """Tokens of the longest text that is trained on."""
    longest: int
    """Tokens of the longest text that is evaluated."""

    @classmethod
    def of(cls, task: Task, source: Task | None = None, length: int | None = None) -> TextSizes | None:
        """The sizes of a task and, if it has one, its source; None if they have no texts.

        Args:
            task: what is learnt.
            source: what the base has learnt.
            length: tokens that the texts of the task are cut at; None for as they are.
        """
        own = _lengths(task, length)
        if not own:
            return None
        others = _lengths(source) if source else {}
        kept = [(others | own)[part] for part in texts_of(task, source) if len(part)]
        longest = max(int(part.max()) for part in (*own.values(), *others.values()))
        return cls(sum(int(part.sum()) for part in kept), int(next(iter(own.values())).max()), longest)


def _lengths(task: Task, length: int | None = None) -> dict[Examples, torch.Tensor]:
    """Tokens of each text, by part, cut at ``length``; empty for a task of images."""
    parts = (task.train, task.validation, task.test)
    texts = [part for part in parts if isinstance(part, TextExamples) and len(part)]
    return {part: part.lengths if length is None else part.lengths.clamp(max=length) for part in texts}


def text_memory(specs: Sequence[RunSpec], sizes: TextSizes) -> int:
    """Peak memory of training these runs side by side, in bytes, without texts and libraries.

    These are each run's weights, gradients, Adam's moments, best weights and the activations of a step; what enters the
    first trained block for every text, once for all runs; the base; evaluation on every core; and the copies while a
    checkpoint or another file is made. The allocator keeps the memory of activations, in pieces that neither the
    longest texts that are evaluated nor a checkpoint fit into; before a run that trains alone is written to its file,
    it is given back.

    Args:
        specs: runs that can be trained together.
        sizes: of their texts.

    Raises:
        LoRAError: adapters do not fit the network.
    """
    first = specs[0]
    steps = [_step(spec.network, spec.method.shape(), _plain(spec.optim), sizes.trained) for spec in specs]
    activations, training = sum(step[0] for step in steps), sum(step[1] for step in steps)
    shapes = {(spec.network, spec.method.shape()) for spec in specs}
    frozen = max(frozen_blocks(*shape).kept_bytes(sizes.tokens) for shape in shapes)
    network = 4 * max(_parameters(*shape) for shape in shapes)
    trained = [4 * _parameters(spec.network, spec.method.shape(), trainable=True) for spec in specs]
    best = [spec.optim.keep == "best" for spec in specs]
    training += sum(size for size, kept in zip(trained, best, strict=True) if kept)
    checkpoint = max(size * (CHECKPOINT_COPIES + kept) for size, kept in zip(trained, best, strict=True))
    saved = network * (ADAPTER_COPIES if first.role is Role.ADAPTER else SAVED_COPIES)
    at_start = network * (len(specs) - 1 + (BASE_COPIES if first.base else BROUGHT_COPIES))
    evaluation = _evaluation(first.network, sizes.longest)
    evaluating = activations + evaluation * available_cores()  # one batch on each core
    writing = max(activations + evaluation, CHECKPOINT_COPIES * max(trained)) + checkpoint
    ending = saved if len(specs) == 1 else activations + evaluation + saved
    later = training + frozen + max(evaluating, writing, ending)
    return int(bool(first.base) * network + max(at_start, later)) + OVERHEAD


def step_memory(network: NetworkSpec, method: MethodSpec, optim: OptimSpec, longest: int) -> int:
    """Bytes of one run's weights, gradients, moments and the activations of a step on the longest texts.

    Args:
        network: what is trained.
        method: how.
        optim: batch size, parts of a batch, and precision.
        longest: tokens per text.
    """
    activations, training = _step(network, method.shape(), _plain(optim), longest)
    return activations + training


def _plain(optim: OptimSpec) -> OptimSpec:
    """The settings that change the memory of a step."""
    return OptimSpec.of(batch_size=optim.part_size, precision=optim.precision, clip=optim.clip)


@lru_cache(maxsize=256)
def _parameters(spec: NetworkSpec, method: MethodSpec, trainable: bool = False) -> int:
    """Number of parameters; cached, because building a network of hundreds of layers to count them takes long."""
    return count_parameters(untrained(spec, method), trainable=trainable)


@lru_cache(maxsize=256)
def _step(spec: NetworkSpec, method: MethodSpec, optim: OptimSpec, longest: int) -> tuple[int, int]:
    """Bytes of a step's activations, and of weights, gradients and moments."""
    network, frozen = untrained(spec, method), frozen_blocks(spec, method)
    texts = spec.examples(optim.batch_size, None, longest)
    rows = torch.empty(1, 1, optim.batch_size, dtype=torch.int64, device="meta")
    module: torch.nn.Module = network
    if frozen.count and isinstance(texts, TextExamples):
        states = torch.empty(len(texts.tokens), frozen.width, device="meta")
        texts, module = KnownTexts.with_states(texts, states), Resumed(network, frozen)
    stepper = AutogradStepper(module, optim, Task.of_one_part(texts, spec.num_classes))
    known = [*texts.tensors(), rows, *network.parameters(), *network.buffers()]
    known += [texts.states] if isinstance(texts, KnownTexts) else []
    with Ledger(known) as ledger:
        stepper.rehearse(rows)
        peak, gradients = int(ledger.peak), int(ledger.live)
    # Gradients are part of the peak, and of the bytes of training.
    return max(peak - gradients, 0), training_bytes(network)


@lru_cache(maxsize=256)
def _evaluation(spec: NetworkSpec, longest: int) -> int:
    """Peak memory of evaluating a network on one batch, in addition to its weights and the texts."""
    network = spec.build()
    texts = spec.examples(spec.evaluation_batch or 1, None, longest)
    with Ledger([*texts.tensors(), *network.parameters(), *network.buffers()]) as ledger, torch.no_grad():
        predict(network, texts)
    return int(ledger.peak)
