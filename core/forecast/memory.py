"""Peak memory of runs that are trained together, before they are.

What trains them says what it takes: :mod:`core.training.bank.footprint`, and :mod:`core.engine.jobs.run_memory` for
autograd; :mod:`core.forecast.kernels` says it of the code for products of texts. Beside that there are the base,
evaluations, and copies while files are read and written. Tests in ``tests/soak/`` compare the sum with measured memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import torch

from core.data.examples import Task, TextExamples
from core.engine.jobs.job import untrained
from core.engine.jobs.run_memory import Ledger, step_bytes
from core.forecast.forecast import plan
from core.forecast.kernels import kernel_bytes, lengths_of
from core.methods.adapted import adapted_layers
from core.methods.full import FullSpec
from core.methods.linear import count_parameters
from core.methods.method import MethodSpec, Role
from core.networks.network import NetworkSpec
from core.networks.perceptron import MultilayerPerceptron
from core.run_spec import RunSpec
from core.tasks.tasks import Tasks
from core.tasks.views.view import Outline
from core.training.bank.footprint import FLOAT, INDEX, bank_bytes, outputs_bytes, passing_bytes, sizes_of
from core.training.bank.full import linears
from core.training.evaluation import BATCH, predict
from core.training.frozen import frozen_blocks, texts_of
from core.training.sharing import sharing_of
from core.training.threads import available_cores


@dataclass(frozen=True)
class NetworkCopies:
    """Copies of a network in memory beside the one in training, as measured."""

    read: float
    """While the file of a base is read: its bytes, the tensors in them, and what is kept."""
    imported: float
    """While one that somebody imported is read, whose tensors come one after the other."""
    saved: float
    """While the file of a network is written."""
    adapter: float
    """While an adapter file is made and checked, without the sums W + ΔW and the weights that they replace."""
    checkpoint: float
    """Copies of what is trained while a checkpoint is written: values and moments, as tensors and as bytes."""


SMALL = NetworkCopies(read=3, imported=0, saved=2, adapter=3, checkpoint=9)
"""Of networks that are trained from random weights here, such as perceptrons."""

IMPORTED = NetworkCopies(read=3, imported=1.5, saved=2, adapter=1, checkpoint=6)
"""Of networks that somebody imported."""

OVERHEAD = 12 * 2**20
"""Bytes in addition: buffers of the matrix libraries, and fragmentation of the allocator."""


@dataclass(frozen=True)
class Sizes:
    """What memory depends on, of the data of runs."""

    train: int
    """Number of examples that are trained on."""
    held_out: tuple[int, ...]
    """Number of examples in each part that is evaluated, those of the source included."""
    tokens: int = 0
    """Tokens of all texts that are trained on or evaluated while training; 0 for images."""
    trained: int | None = None
    """Tokens of the longest text that is trained on."""
    widest: tuple[int, ...] = ()
    """Tokens of the longest texts of the batches that the cores evaluate at once; empty for images."""

    @classmethod
    def of(cls, task: Outline, source: Outline | None = None) -> Sizes:
        """The sizes of images. Args: task: what is learned; source: what the base has learned."""
        parts = [part for outline in (task, source) if outline for part in (outline.validation, outline.test)]
        return cls(len(task.train), tuple(map(len, parts)))

    @classmethod
    def of_texts(cls, task: Task, source: Task | None = None, size: int = 1) -> Sizes | None:
        """The sizes of texts; None if the task has none.

        Args:
            task: what is learned.
            source: what the base has learned.
            size: texts in a batch of an evaluation.
        """
        own, train = lengths_of(task), task.train
        if not own or not isinstance(train, TextExamples):
            return None
        others = lengths_of(source) if source else {}
        kept = [(others | own)[part] for part in texts_of(task, source) if len(part)]
        return cls(
            len(train),
            tuple(len(part) for part in {**others, **own} if part is not train),
            sum(int(part.sum()) for part in kept),
            int(own[train].max()),
            max((_widest(part, size) for part in (*own.values(), *others.values())), key=sum),
        )


def _widest(lengths: torch.Tensor, size: int) -> tuple[int, ...]:
    """Tokens of the longest text of each of the largest batches, one per core: batches have texts of like length."""
    return tuple(lengths.sort(descending=True).values[::size][: available_cores()].tolist())


def memory_of(bank: Sequence[RunSpec], tasks: Tasks) -> int:
    """Peak memory of training these runs together, in bytes; see :func:`memory_for`.

    Args:
        bank: the runs.
        tasks: where the sizes of their tasks are found.

    Raises:
        DatasetError: the data of a task is missing.
        NetworkFileError: the network that was imported is missing.
        LoRAError: adapters do not fit the network.
    """
    first = bank[0]
    if first.network.reads_tokens:
        source = tasks.get(first.source, network=first.network) if first.source else None
        task, size = tasks.get(first.task, network=first.network), first.network.evaluation_batch or 1
        texts = Sizes.of_texts(task, source, size)
        if texts is not None:
            return memory_for(bank, texts) + kernel_bytes(bank, task, source)
    other = tasks.outline(first.source) if first.source and first.source != first.task else None
    return memory_for(bank, Sizes.of(tasks.outline(first.task), other))


def memory_for(specs: Sequence[RunSpec], sizes: Sizes) -> int:
    """Peak memory of training these runs together, in bytes, without datasets and libraries.

    These are each run's weights, gradients, Adam's moments, best weights and the activations of a step; what a bank or
    frozen blocks keep for every example, once for all runs; the base; an evaluation; and the copies while a checkpoint
    or another file is made. The allocator uses the memory of activations for evaluations and checkpoints. Where several
    threads take steps, each has freed memory of its own: a checkpoint, which another thread makes, cannot use it.

    Args:
        specs: runs that can be trained together.
        sizes: of their data.

    Raises:
        LoRAError: adapters do not fit the network.
    """
    first = specs[0]
    copies = IMPORTED if first.network.brought is not None else SMALL
    shapes = [(spec.trained_network, spec.method.shape()) for spec in specs]
    plans = [plan(*shape) for shape in shapes]
    network = FLOAT * max(each.parameters for each in plans)
    trained = [FLOAT * each.trainable_parameters for each in plans]
    best = [size * (spec.optim.keep == "best") for size, spec in zip(trained, specs, strict=True)]
    is_fast = sharing_of(first).step != "autograd"
    kept, passing = _bank(specs, sizes) if is_fast else _side_by_side(specs, sizes)
    saved = (
        _adapter_file(specs, network * copies.adapter, sizes) if first.role is Role.ADAPTER else network * copies.saved
    )
    checkpoint = max(size * copies.checkpoint + 2 * own for size, own in zip(trained, best, strict=True))
    built = sum(_base(spec) != _base(specs[-1]) for spec in specs) if first.base else len(specs) - 1
    read = network * (built + (1 + copies.read if first.base else copies.imported))
    evaluated = _evaluated_base(first.network, (1 + len(specs)) * network, sizes) if first.base and is_fast else 0
    beside = 0 if is_fast or len(specs) == 1 else passing
    later = kept + sum(best) + max(passing, saved, beside + checkpoint)
    return int(max(read, evaluated, later)) + OVERHEAD


def _bank(specs: Sequence[RunSpec], sizes: Sizes) -> tuple[int, int]:
    """Bytes that a bank keeps with its networks, and those of a step on every core or of an evaluation."""
    orders = {seed: number for number, seed in enumerate(dict.fromkeys(spec.seed for spec in specs))}
    # In the order in which the bank forms shards; learning rates have no other effect on memory.
    members = sorted(specs, key=lambda spec: (orders[spec.seed], spec.optim.learning_rate))
    batch = min(specs[0].optim.batch_size, sizes.train)
    by_base: dict[object, list[RunSpec]] = {}
    for spec in members:  # no shard has members of two bases
        by_base.setdefault(_base(spec), []).append(spec)
    kept = 0
    for alike in by_base.values():
        shapes = tuple((spec.trained_network, spec.method.shape()) for spec in alike)
        numbers = {seed: number for number, seed in enumerate(dict.fromkeys(spec.seed for spec in alike))}
        kept += _kept(shapes, tuple(numbers[spec.seed] for spec in alike), batch, sizes.train, sizes.held_out)
    rows = INDEX * sizes.train * len(orders)  # of an epoch
    networks = [_perceptron(spec.trained_network, spec.method.shape()) for spec in members]
    step, evaluation = passing_bytes(networks, batch, max(sizes.held_out))
    return kept + rows, max(step, evaluation, 2 * rows)


def _base(spec: RunSpec) -> object:
    """What tells bases apart; a form does not know yet those that it will train, of which each seed has another."""
    return spec.base, spec.seed if spec.own_base else None


@lru_cache(maxsize=256)
def _kept(
    shapes: tuple[tuple[NetworkSpec, MethodSpec], ...],
    orders: tuple[int, ...],
    batch: int,
    train: int,
    held_out: tuple[int, ...],
) -> int:
    """Bytes that a bank keeps for the members of one base; cached, since where each seed has a base, they are alike."""
    networks = [_perceptron(*shape) for shape in shapes]
    batches = sorted({batch, train % batch} - {0})
    kept = bank_bytes(networks, orders, batches, train) + sum(outputs_bytes(networks, n) for n in held_out)
    return kept + FLOAT * sum(map(count_parameters, networks))


def _evaluated_base(network: NetworkSpec, built: int, sizes: Sizes) -> int:
    """Bytes of the networks that are built, and of a base that is evaluated on many examples at once beside them."""
    widest = max(outputs for outputs, _ in map(sizes_of, linears(_perceptron(network, FullSpec()))))
    return built + FLOAT * 2 * min(max(sizes.held_out), BATCH) * widest


def _side_by_side(specs: Sequence[RunSpec], sizes: Sizes) -> tuple[int, int]:
    """Bytes that runs keep which autograd trains, and those of a step of each or of evaluations on every core."""
    first, kept, steps, known = specs[0], 0, list[int](), dict[object, int]()
    for spec in specs:
        optim, method = spec.optim, spec.method.shape()
        batch = optim.part_size if sizes.trained else min(optim.part_size, sizes.train)
        step, training = step_bytes(spec.trained_network, method, optim, batch, sizes.trained)
        steps.append(step)
        kept += training
        states = frozen_blocks(spec.trained_network, method).kept_bytes(sizes.tokens)
        known[_base(spec)] = max(states, known.get(_base(spec), 0))
    activations = sum(sorted(steps)[-available_cores() :])
    kept += sum(known.values())  # runs on one base share what its frozen blocks give
    if not sizes.widest:
        return kept, max(activations, _evaluation(first.network, min(BATCH, max(sizes.held_out)), None))
    evaluation = sum(_evaluation(first.network, first.network.evaluation_batch or 1, width) for width in sizes.widest)
    return kept, max(activations, evaluation)


def _adapter_file(specs: Sequence[RunSpec], copies: float, sizes: Sizes) -> float:
    """Bytes while an adapter file is made: copies of the network, in which each adapted weight is there twice more, as
    its sum with the adapter and as it was; and texts on which both are computed.
    """
    first, adapted = specs[0], max(_adapted(spec.trained_network, spec.method.shape()) for spec in specs)
    batch = first.network.evaluation_batch or 1
    probe = _evaluation(first.network, batch, sizes.widest[0]) if sizes.widest else 0
    return copies + 2 * FLOAT * adapted + probe


@lru_cache(maxsize=256)
def _adapted(network: NetworkSpec, method: MethodSpec) -> int:
    return sum(layer.linear.weight.numel() for layer in adapted_layers(untrained(network, method)).values())


@lru_cache(maxsize=256)
def _perceptron(network: NetworkSpec, method: MethodSpec) -> MultilayerPerceptron:
    return cast(MultilayerPerceptron, untrained(network, method))


@lru_cache(maxsize=256)
def _evaluation(spec: NetworkSpec, count: int, longest: int | None) -> int:
    """Peak memory of evaluating a network on one batch, in addition to its weights and the examples."""
    network, examples = spec.build(), spec.examples(count, None, longest)
    with Ledger([*examples.tensors(), *network.parameters(), *network.buffers()]) as ledger, torch.no_grad():
        predict(network, examples)
    return int(ledger.peak)
