"""Estimates the peak memory of a bank before it is trained.

The code that builds the real bank builds it on the ``meta`` device, whose tensors have shapes but no memory, and a
ledger counts the bytes. It is always laid out as on a CPU. Memory outside of tensors, as when files are read and
written, is counted in copies of the network. ``tests/soak/test_memory_plans.py`` compares the estimate with measured
memory.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import torch
from torch import nn

from core.data.task import EvaluationPart, Task
from core.data.task_spec import TaskSpec
from core.engine.jobs.build import untrained
from core.engine.jobs.run_memory import run_memory
from core.methods.method import MethodSpec, Role
from core.methods.parameters import count_parameters
from core.networks.network import NetworkSpec
from core.networks.perceptron import MultilayerPerceptron, PerceptronSpec
from core.objectives.classification import tally
from core.objectives.registry import CLASSIFICATION
from core.run_spec import RunSpec
from core.tasks.views.split import Outline
from core.training.bank.bank import Bank
from core.training.evaluation import predict
from core.training.ledger import Ledger
from core.training.sharing import sharing_of
from core.training.threads import available_cores

READ_COPIES = 3
"""Copies of a network in memory while its file is read: the bytes, the tensors in them, and those that are kept."""

SAVED_COPIES = 2
"""Extra copies of tensors in memory while safetensors serialises them."""

ADAPTER_COPIES = 5
"""Copies of the base in memory while an adapter file is made and checked: the network, the base under it, the network
read back from the file, and its sums W + ΔW with the weights that they replace."""

OVERHEAD = 12 * 2**20
"""Bytes that every bank needs in addition: buffers of the matrix libraries, the compiled step, and fragmentation of the
allocator. Measured: 4 to 16 MiB in banks of 40 to 2700 runs."""

PARTS: tuple[EvaluationPart, ...] = ("validation", "test")


@dataclass(frozen=True)
class Sizes:
    """Number of images in each part of a task, and its labels."""

    train: int
    validation: int
    test: int
    classes: tuple[int, ...]

    @classmethod
    def of(cls, outline: Outline) -> Self:
        """The sizes of the task that has this outline."""
        return cls(len(outline.train), len(outline.validation), len(outline.test), outline.classes)


@dataclass(frozen=True)
class _Member:
    """Properties of a run that its bank's memory depends on."""

    method: MethodSpec
    """Its method, with those settings that the sizes of its tensors depend on."""
    order: int
    """Index of its data order; runs with the same seed share one."""
    keeps_best: bool


def bank_memory(specs: Sequence[RunSpec], task: Sizes, source: Sizes | None = None) -> int:
    """Peak memory of training these runs together, in bytes, excluding datasets and libraries.

    Args:
        specs: runs that one bank can train.
        task: sizes of their task.
        source: sizes of their source task, if they have one.

    Raises:
        LoRAError: adapters do not fit the network.
    """
    orders = {seed: number for number, seed in enumerate(dict.fromkeys(spec.seed for spec in specs))}
    members = tuple(
        _Member(
            spec.method.shape(),
            orders[spec.seed],
            spec.optim.keep == "best",
        )
        # In the order in which the bank forms shards; learning rates have no other effect on memory.
        for spec in sorted(specs, key=lambda spec: (orders[spec.seed], spec.optim.learning_rate))
    )
    first = specs[0]
    if sharing_of(first).step == "autograd" or not isinstance(first.network, PerceptronSpec):
        return _side_by_side(specs, task)
    other = None if first.source == first.task else source
    return _simulate(first.network, first.base is not None, members, first.optim.batch_size, task, other)


def _side_by_side(specs: Sequence[RunSpec], task: Sizes) -> int:
    """Peak memory of runs that autograd trains: the training of each, their base, and what takes most beside them:
    evaluation, or the copies while a file is made.
    """
    first = specs[0]
    networks = [_bytes(untrained(spec.network, spec.method)) for spec in specs]
    copies = ADAPTER_COPIES if first.role is Role.ADAPTER else max(SAVED_COPIES, READ_COPIES if first.base else 0)
    training = sum(
        run_memory(spec.network, spec.method, spec.optim.part_size, task.train, spec.objective.without_choices())
        for spec in specs
    )
    evaluation = _evaluation_bytes(first.network, max(task.validation, task.test))
    return training + bool(first.base) * networks[0] + max(copies * max(networks), evaluation) + OVERHEAD


@lru_cache(maxsize=256)
def _evaluation_bytes(spec: NetworkSpec, examples: int) -> int:
    """Peak memory of evaluating a network, in addition to its weights and the examples."""
    network, part = spec.build(), spec.examples(examples)
    with Ledger([*part.tensors(), *network.parameters(), *network.buffers()]) as ledger, torch.no_grad():
        predict(network, part)
    return int(ledger.peak)


@lru_cache(maxsize=256)
def _simulate(
    model: PerceptronSpec, has_base: bool, members: tuple[_Member, ...], batch: int, task: Sizes, other: Sizes | None
) -> int:
    """Peak memory of a bank; ``other`` has the sizes of the source task if it differs from the task."""
    base = model.build()
    kinds = {method: _network(base, method) for method in {member.method for member in members}}
    networks = [kinds[member.method] for member in members]
    target = _task(task, model)
    source = _task(other, model) if other else target if has_base else None
    tasks = [target] if source is None or source is target else [target, source]
    known = [*target.tensors(), *(source.tensors() if source else []), *base.parameters()]
    with Ledger(known + [p for network in kinds.values() for p in network.parameters()]) as ledger:
        if has_base:
            ledger.pass_by(READ_COPIES * _bytes(base))
            ledger.keep(_bytes(base))
        ledger.keep(sum(map(_bytes, networks)))
        if has_base:
            _evaluate_base(networks[0], max(tasks, key=lambda task: len(task.test)))
        _train(ledger, networks, members, batch, tasks, source)
    return int(ledger.peak) + OVERHEAD


@torch.no_grad()
def _evaluate_base(network: nn.Module, task: Task) -> None:
    outputs, targets = predict(network, task.test), task.test.labels
    tally(outputs, targets, task.classes)
    CLASSIFICATION.predict(outputs)
    CLASSIFICATION.losses(outputs, targets)


def _train(
    ledger: Ledger,
    networks: Sequence[MultilayerPerceptron],
    members: Sequence[_Member],
    batch: int,
    tasks: Sequence[Task],
    source: Task | None,
) -> None:
    """Build a bank, and run once everything that allocates memory in training, evaluation and writing."""
    bank = Bank(networks, [1e-3] * len(members), [member.order for member in members], tasks[0], source)
    n = tasks[0].num_train
    # Row indices of an epoch, one set per data order; the last epoch's stay until the next one's are stacked.
    ledger.keep(8 * n * len(set(bank.seeds)))
    ledger.pass_by(2 * 8 * n * len(set(bank.seeds)))
    for size in {min(batch, n), n % batch} - {0}:
        _step(ledger, bank, size)
    ledger.keep(
        sum(_bytes(network, True) for network, member in zip(networks, members, strict=True) if member.keeps_best)
    )
    for part in PARTS:
        for task in tasks:
            tally(*bank.logits(0, task, part), task.classes)
    for network, member in zip(networks, members, strict=True):
        kept = 3 * _bytes(network, True)
        ledger.pass_by(kept + SAVED_COPIES * (kept + (_bytes(network, True) if member.keeps_best else 0)))
        ledger.pass_by((ADAPTER_COPIES if member.method.role is Role.ADAPTER else SAVED_COPIES) * _bytes(network))


def _step(ledger: Ledger, bank: Bank, batch: int) -> None:
    """Allocate the step buffers of every shard, and count one step per thread, since threads step at the same time."""
    made: dict[Hashable, int] = {}
    for shard in range(bank.shards):
        layout, before = bank.layout(shard), ledger.live
        if layout in made:
            ledger.keep(made[layout])
        else:
            bank.program(shard, batch)
            made[layout] = ledger.live - before
    live, peak = ledger.live, ledger.peak
    ledger.peak = live
    with torch.inference_mode():
        for call in bank.program(0, batch).tape.calls:
            call()
    passing, ledger.peak = ledger.peak - live, max(peak, ledger.peak)
    ledger.pass_by(passing * min(available_cores(), bank.shards))


def _network(base: MultilayerPerceptron, method: MethodSpec) -> MultilayerPerceptron:
    """A run's network on ``meta``; it shares the base's parameters, which spares comparing them."""
    network = copy.deepcopy(base, {id(parameter): parameter for parameter in base.parameters()})
    method.prepare(network)
    return network


def _task(sizes: Sizes, network: NetworkSpec) -> Task:
    """A task on ``meta``."""
    parts = [network.examples(count) for count in (sizes.train, sizes.validation, sizes.test)]
    return Task(TaskSpec.of(), sizes.classes, (), *parts)


def _bytes(network: nn.Module, trainable: bool = False) -> int:
    """Bytes of a network's parameters in float32."""
    return 4 * count_parameters(network, trainable)
