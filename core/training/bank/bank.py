"""Train several perceptrons together, full or with LoRA, with closed-form gradients.

A bank is split into shards of few members. Each shard runs many steps before the next one, so that its data stays in a
core's cache. Shards are spread over threads that never wait for each other within a step, so that a busy core slows
down only its own share. A member's results do not depend on the other members or on the number of threads, as long as
the shards are split in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice

import torch
from torch import Tensor, nn

from core.data.examples import EvaluationPart, Examples, Task
from core.errors import CheckpointError, SpecError
from core.methods.adapted import adapted_layers, plain_linear
from core.methods.layers import LinearWithLoRA, LinearWithLoRAMerged
from core.networks.perceptron import MultilayerPerceptron
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.training.bank.adam import Rates
from core.training.bank.algebra import CPU_LIKE, PRODUCTS, linear
from core.training.bank.full import FullShard, linears, trains_head
from core.training.bank.low_rank import LowRankShard, first_adapted
from core.training.bank.shard import Part, Program, Shard, no_denormals
from core.training.checkpoint import TrainState, copy_into
from core.training.evaluation import Evaluation, judge_part
from core.training.sharing import Step
from core.training.side_by_side import Found, Item, pool_of, side_by_side
from core.training.threads import Cores

MIN_MEMBERS, MAX_MEMBERS = 4, 8
"""LoRA members per shard on a CPU: larger shards share more work per product, smaller ones fit the cache and keep more
threads busy."""

SHARDS = 4
"""Shards that a bank is split into before they grow beyond the minimum size."""


def shard_size(members: int, low_rank: bool, device: str) -> int:
    """Number of members per shard. It depends on nothing that differs between machines, so neither do the results."""
    if device not in CPU_LIKE:
        return members  # launching a kernel costs more than its work
    if not low_rank:
        return 1  # members share nothing, and the weights and moments of one fill a core's cache
    return min(MAX_MEMBERS, max(MIN_MEMBERS, -(-members // SHARDS)))


class Bank:
    """Perceptrons trained in lockstep; see :class:`core.training.stepper.Stepper`."""

    def __init__(
        self,
        networks: Sequence[MultilayerPerceptron],
        rates: Sequence[float],
        seeds: Sequence[int],
        task: Task,
        source: Task | None = None,
        objectives: Sequence[ObjectiveSpec] = (),
        head_rates: Sequence[float | None] = (),
    ) -> None:
        """Copy the networks' weights; :meth:`write_back` copies the trained ones back.

        Args:
            networks: the members, of the same sizes and on the task's device: either all with adapters, or all without
                and with every weight trainable. Only those on equal frozen weights share a shard.
            rates: learning rate of each member.
            seeds: seed of each member; members with the same seed see the data in the same order.
            task: the task to train on.
            source: the task that the base was trained on, to measure forgetting.
            objectives: classification with the primary measure of each member; empty for the default.
            head_rates: learning rate of each member's last layer, where it is trained whole; empty or None for the
                member's other one.

        Raises:
            SpecError: the networks cannot be trained together.
        """
        self.networks = list(networks)
        self.members = len(self.networks)
        self.seeds = tuple(seeds)
        self.task = task
        self.source = source
        heads = head_rates or [None] * self.members
        self.rates: Rates = [(rate, head or rate) for rate, head in zip(rates, heads, strict=True)]
        self._objectives = list(objectives) or [CLASSIFICATION] * self.members
        self._threads = self._evaluation_threads = 1
        self._cores = Cores()
        self._pool: ThreadPoolExecutor | None = None
        self.device = task.device
        low_rank = bool(adapted_layers(self.networks[0]))
        self.step: Step = "low-rank" if low_rank else "full"
        _check(self.networks, low_rank)
        self._parts: dict[tuple[int, EvaluationPart, bool], Part] = {}
        orders = {seed: i for i, seed in enumerate(dict.fromkeys(self.seeds))}
        self._ended: set[int] = set()
        self._shards: list[Shard] = []
        self._members: list[list[int]] = []
        self._slots: dict[int, tuple[Shard, int]] = {}
        """Shard of each member, and its index in the shard."""
        self._stems: list[_Stem] = []
        self._stem_of: dict[int, int] = {}
        """Number of each member's stem."""
        for number, alike in enumerate(_on_equal_weights(self.networks, low_rank)):
            first = first_adapted([self.networks[k] for k in alike]) if low_rank else None
            self._stems.append(_Stem(self.networks[alike[0]], first))
            self._stem_of |= dict.fromkeys(alike, number)
            train = self._stems[number].part(task.train)
            # Members with the same seed are adjacent, and among them those with the same learning rate.
            sequence = sorted(alike, key=lambda k: (orders[self.seeds[k]], self.rates[k], k))
            size = shard_size(len(alike), low_rank, self.device.type)
            for start in range(0, len(alike), size):
                own = sequence[start : start + size]
                shard = self._shard(
                    [self.networks[k] for k in own],
                    [self.rates[k] for k in own],
                    [orders[self.seeds[k]] for k in own],
                    train,
                    first,
                )
                self._shards.append(shard)
                self._members.append(own)
                self._slots |= {k: (shard, i) for i, k in enumerate(own)}

    @property
    def shards(self) -> int:
        """Number of groups of members that can be trained in parallel."""
        return len(self._shards)

    def program(self, shard: int, batch: int) -> Program:
        """A shard's step for this batch size, with its buffers; created now unless it exists."""
        return self._shards[shard].program(batch)

    def products(self, shard: int, batch: int) -> Callable[[], None]:
        """A function that does only the matrix products of a shard's step; for benchmarks."""
        return self.program(shard, batch).tape.only(PRODUCTS)

    def profile(self, shard: int, batch: int, runs: int) -> list[tuple[str, float]]:
        """Seconds that each part of a shard's step takes; this trains the weights."""
        program, n = self.program(shard, batch), self.task.num_train
        with torch.inference_mode(), no_denormals():
            # New rows each time, so that they come from memory, as in training, and not from the cache.
            parts = program.tape.profile(runs, before=lambda: program.rows.random_(n))
            return parts + program.update.profile(runs)

    @staticmethod
    def _shard(
        networks: Sequence[MultilayerPerceptron],
        rates: Rates,
        orders: Sequence[int],
        train: Part,
        first: int | None,
    ) -> Shard:
        if first is None:
            return FullShard(networks, rates, orders, train)
        return LowRankShard(networks, rates, orders, train, first)

    def advance(self, rows: Tensor) -> Tensor:
        return self._run(rows, update=True)

    @property
    def threads(self) -> int:
        return max(self._threads, self._cores.count)

    def use_threads(self, count: int, slowest: float = math.inf, evaluation: int | None = None) -> None:
        """Spread several shards over the threads, or let a single one split its products among them."""
        self._threads = min(count, len(self._shards))
        self._cores.use(1 if self._threads > 1 else count, slowest)
        self._evaluation_threads = evaluation or count
        self._pool = pool_of(self._evaluation_threads) if self._evaluation_threads > 1 else None

    def rehearse(self, rows: Tensor) -> None:
        self._run(rows, update=False)

    def _run(self, rows: Tensor, update: bool) -> Tensor:
        losses = self._shards[0].adam.values.new_empty(rows.shape[1], self.members)
        parts = [losses.new_empty(rows.shape[1], len(own)) for own in self._members]

        def work(number: int) -> None:
            shard, done = self._shards[number], 0
            for chunk in self._cores.chunks(rows[shard.orders]):
                shard.run(chunk, parts[number][done : done + chunk.shape[1]], update)
                done += chunk.shape[1]

        active = [number for number, own in enumerate(self._members) if not self._ended.issuperset(own)]
        side_by_side(work, active, self._threads, pool=self._pool)
        for own, part in zip(self._members, parts, strict=True):
            losses[:, own] = part
        return losses

    def evaluate(
        self,
        member: int,
        part: EvaluationPart = "validation",
        source: bool = True,
        look: Callable[[], None] = lambda: None,
    ) -> tuple[Evaluation, Evaluation | None]:
        look()
        tasks = [self.task] if self.source is None or not source else [self.task, self.source]
        parts = [self._part(member, task, part) for task in tasks]
        outputs = self._outputs(member, parts)

        def judged(number: int) -> Evaluation:
            task, objective = tasks[number], self._objectives[member]
            return judge_part(outputs[number], parts[number].y, task.classes, objective, part, number > 0)

        found = self._at_once(judged, range(len(tasks)))
        return found[0], found[1] if len(found) > 1 else None

    def logits(self, member: int, task: Task, part: EvaluationPart) -> tuple[Tensor, Tensor]:
        """A member's logits of shape (n, classes) on a part of the task or of the source task, and the labels."""
        images = self._part(member, task, part)
        return self._outputs(member, [images])[0], images.y

    def _part(self, member: int, task: Task, part: EvaluationPart) -> Part:
        stem = self._stem_of[member]
        key = stem, part, task is self.source
        if key not in self._parts:  # layers that no member trains are computed once for all of them
            self._parts[key] = self._stems[stem].part(task.part(part))
        return self._parts[key]

    def _outputs(self, member: int, parts: Sequence[Part]) -> list[Tensor]:
        """A member's logits on some parts, whose blocks are spread over the threads."""
        shard, i = self._slots[member]
        blocks = [part.blocks() for part in parts]
        found = iter(self._at_once(shard.forward(i), list(chain(*blocks))))
        return [torch.cat(list(islice(found, len(own)))) for own in blocks]

    def _at_once(self, work: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]:
        return side_by_side(work, items, self._evaluation_threads, pool=self._pool)

    def trained(self, member: int) -> list[Tensor]:
        return [value.detach().clone() for _, value in self._parameters(member)]

    def restore(self, member: int, trained: list[Tensor]) -> None:
        for (_, value), kept in zip(self._parameters(member), trained, strict=True):
            value.copy_(kept)

    def train_state(self, member: int) -> TrainState:
        shard, i = self._slots[member]
        buffers = (shard.adam.values, shard.adam.first, shard.adam.second)
        values, first, second = ([view.clone() for view in shard.views(i, flat)] for flat in buffers)
        return TrainState(values, first, second, shard.adam.updates)

    def resume(self, states: Sequence[TrainState]) -> None:
        if len({own.updates for own in states}) > 1:
            raise CheckpointError("Runs in one bank must resume from the same step: train these separately.")
        for member, own in enumerate(states):
            shard, i = self._slots[member]
            adam = shard.adam
            for tensors, flat in ((own.values, adam.values), (own.first, adam.first), (own.second, adam.second)):
                copy_into(tensors, shard.views(i, flat))
            adam.resume(own.updates)

    @torch.no_grad()
    def write_back(self, member: int) -> None:
        for parameter, value in self._parameters(member):
            parameter.copy_(value)

    def retire(self, member: int) -> None:
        self._ended.add(member)

    def _parameters(self, member: int) -> list[tuple[nn.Parameter, Tensor]]:
        shard, i = self._slots[member]
        return shard.parameters(i)


class _Stem:
    """The first layers, which no member trains; their outputs are computed once per part of a task."""

    def __init__(self, network: MultilayerPerceptron, first: int | None) -> None:
        """Args: network: any member; first: the first layer that any member adapts; None if every layer is trained."""
        layers = linears(network)
        self._dtype = plain_linear(layers[0]).weight.dtype
        self._layers = [] if first is None else [plain_linear(layer) for layer in layers[: first + 1]]

    @torch.no_grad()
    def part(self, examples: Examples) -> Part:
        """One part of a task, as inputs of the first trained layer."""
        x, y = examples.all_pixels().to(self._dtype), examples.labels
        if not self._layers:
            return Part(x, None, y)
        for layer in self._layers[:-1]:
            x = torch.relu_(linear(x, layer.weight, layer.bias))
        return Part(x, linear(x, self._layers[-1].weight, self._layers[-1].bias), y)


def _is_known(network: MultilayerPerceptron) -> bool:
    """Whether the shards have the closed form of this network: LoRA on frozen weights, the last layer perhaps trained
    whole, or all weights trained.

    Types are compared exactly, since a subclass of a layer may compute something else.
    """
    if not all(type(layer) in (nn.Linear, LinearWithLoRA, LinearWithLoRAMerged) for layer in linears(network)):
        return False
    plain = [p for layer in linears(network) for p in plain_linear(layer).parameters()]
    if adapted_layers(network):
        return [p.requires_grad for p in plain] == [False] * (len(plain) - 2) + [trains_head(network)] * 2
    return all(p.requires_grad for p in plain)


def _check(networks: Sequence[MultilayerPerceptron], low_rank: bool) -> None:
    """Check that the members can be trained together. Raises: SpecError: they cannot."""
    first = [plain_linear(layer) for layer in linears(networks[0])]
    for network in networks:
        own = [plain_linear(layer) for layer in linears(network)]
        alike = bool(adapted_layers(network)) == low_rank and trains_head(network) == trains_head(networks[0])
        if not (_is_known(network) and alike):
            raise SpecError("A bank trains runs of one method: put full and LoRA runs into separate banks.")
        if [layer.weight.shape for layer in own] != [layer.weight.shape for layer in first]:
            raise SpecError("A bank trains networks of the same sizes: put other sizes into another bank.")


def _on_equal_weights(networks: Sequence[MultilayerPerceptron], low_rank: bool) -> list[list[int]]:
    """Members by their frozen weights, which those of a shard share; all members, where none are frozen."""
    if not low_rank:
        return [list(range(len(networks)))]
    groups: list[list[int]] = []
    for member, network in enumerate(networks):
        for group in groups:
            if _have_equal_weights(network, networks[group[0]]):
                group.append(member)
                break
        else:
            groups.append([member])
    return groups


def _have_equal_weights(one: MultilayerPerceptron, other: MultilayerPerceptron) -> bool:
    pairs = zip(linears(one), linears(other), strict=True)
    return all(
        a is b or torch.equal(a, b)
        for mine, others in pairs
        for a, b in zip(plain_linear(mine).parameters(), plain_linear(others).parameters(), strict=True)
    )
