"""Runs that are trained together: K perceptrons, all weights or low-rank adapters, by closed-form gradients.

A bank is cut into shards of few members. A shard goes through many steps before the next one has its
turn, so that all it needs stays in a core's cache; shards are spread over threads that never wait for
each other inside a step, so a busy core costs no more than its share. Whoever trains beside a member,
and on how many threads, does not change its numbers as long as the shards are cut alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from core.data.tasks import EvaluationPart, Task
from core.errors import CheckpointError, SpecError
from core.methods.lora import adapted_layers
from core.networks.perceptron import MultilayerPerceptron
from core.training.bank.algebra import CPU_LIKE, PRODUCTS, linear
from core.training.bank.full import FullShard, linears
from core.training.bank.low_rank import LowRankShard, first_adapted, frozen
from core.training.bank.shard import Part, Program, Shard, no_denormals
from core.training.checkpoint import Learnt, put
from core.training.cores import Cores
from core.training.evaluation import Evaluation, judge
from core.training.stepper import training_bytes

MIN_MEMBERS, MAX_MEMBERS = 4, 8
"""LoRA members per shard on a CPU: larger shards share more work per product, smaller ones fit the cache and keep more
threads busy."""

SHARDS = 4
"""Shards that a bank is split into before they grow beyond the minimum size."""


def shard_size(members: int, low_rank: bool, device: str) -> int:
    """How many members make a shard; it depends on nothing that would change a run's numbers between machines."""
    if device not in CPU_LIKE:
        return members  # a launch costs more than the work it starts
    if not low_rank:
        return 1  # nothing is shared, and one member's weights and moments fill a core's cache
    return min(MAX_MEMBERS, max(MIN_MEMBERS, -(-members // SHARDS)))


class Bank:
    """Perceptrons in lockstep; see :class:`core.training.stepper.Stepper`."""

    def __init__(
        self,
        networks: Sequence[MultilayerPerceptron],
        rates: Sequence[float],
        seeds: Sequence[int],
        task: Task,
        source: Task | None = None,
    ) -> None:
        """Take the networks' weights; they get the trained ones by :meth:`write_back`.

        Args:
            networks: the members, of one architecture and on the task's device: all with adapters on
                equal frozen weights, or none with adapters and every weight trainable.
            rates: their learning rates.
            seeds: their seeds; members of one seed see the data in one order.
            task: what to learn.
            source: the base's own task, watched for forgetting.

        Raises:
            SpecError: the networks do not fit together.
        """
        self.networks = list(networks)
        self.members = len(self.networks)
        self.seeds = tuple(seeds)
        self.task = task
        self.source = source
        self._threads = 1
        self._cores = Cores()
        self.device = task.train_x.device
        low_rank = bool(adapted_layers(self.networks[0]))
        _check(self.networks, low_rank)
        first = first_adapted(self.networks) if low_rank else 0
        self._stem = _Stem(self.networks[0], first if low_rank else None)
        train = self._stem.part(task.train_x, task.train_y)
        self._parts: dict[tuple[EvaluationPart, bool], Part] = {}
        # Members of one seed stand side by side, those of one learning rate within them too.
        orders = {seed: i for i, seed in enumerate(dict.fromkeys(self.seeds))}
        places = sorted(range(self.members), key=lambda k: (orders[self.seeds[k]], rates[k], k))
        size = shard_size(self.members, low_rank, self.device.type)
        self._ended: set[int] = set()
        self._shards: list[Shard] = []
        self._members: list[list[int]] = []
        self._place: dict[int, tuple[Shard, int]] = {}
        for start in range(0, self.members, size):
            own = places[start : start + size]
            shard = self._shard(
                [self.networks[k] for k in own],
                [rates[k] for k in own],
                [orders[self.seeds[k]] for k in own],
                train,
                first if low_rank else None,
            )
            self._shards.append(shard)
            self._members.append(own)
            self._place |= {k: (shard, i) for i, k in enumerate(own)}

    @property
    def shards(self) -> int:
        """Groups of members that take turns, or go to a thread each."""
        return len(self._shards)

    def program(self, shard: int, batch: int) -> Program:
        """A shard's step for this batch size, with its buffers; otherwise made at the first such step."""
        return self._shards[shard].program(batch)

    def layout(self, shard: int) -> Hashable:
        """Equal for shards whose steps have buffers of the same shapes."""
        return tuple(self._shards[shard].counts), tuple(self._shards[shard].adam.shapes)

    def products(self, shard: int, batch: int) -> Callable[[], None]:
        """The matrix products of a shard's step and nothing else, as a function; for benchmarks."""
        return self.program(shard, batch).tape.only(PRODUCTS)

    def profile(self, shard: int, batch: int, runs: int) -> list[tuple[str, float]]:
        """What each part of a shard's step takes, in seconds; the weights go on training meanwhile."""
        program, n = self.program(shard, batch), len(self.task.train_x)
        with torch.inference_mode(), no_denormals():
            # New rows each time: from memory, as in training, and not from the cache.
            parts = program.tape.profile(runs, before=lambda: program.rows.random_(n))
            return parts + program.update.profile(runs)

    @staticmethod
    def _shard(
        networks: Sequence[MultilayerPerceptron],
        rates: Sequence[float],
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

    def use_threads(self, count: int, slowest: float = math.inf) -> None:
        """Several shards are spread over the threads; a single one splits its products among them."""
        self._threads = min(count, len(self._shards))
        self._cores.use(1 if self._threads > 1 else count, slowest)

    def rehearse(self, rows: Tensor) -> None:
        self._run(rows, update=False)

    def _run(self, rows: Tensor, update: bool) -> Tensor:
        losses = self._shards[0].adam.values.new_empty(rows.shape[1], self.members)
        parts = [losses.new_empty(rows.shape[1], len(own)) for own in self._members]

        def work(number: int) -> None:
            shard, done = self._shards[number], 0
            for piece in self._cores.pieces(rows[shard.orders]):
                shard.run(piece, parts[number][done : done + piece.shape[1]], update)
                done += piece.shape[1]

        going = [number for number, own in enumerate(self._members) if not self._ended.issuperset(own)]
        if self._threads > 1:
            with ThreadPoolExecutor(self._threads, initializer=self._cores.enter) as pool:
                list(pool.map(work, going))
        else:
            for number in going:
                work(number)
        for own, part in zip(self._members, parts, strict=True):
            losses[:, own] = part
        return losses

    def evaluate(
        self, member: int, part: EvaluationPart = "validation", source: bool = True
    ) -> tuple[Evaluation, Evaluation | None]:
        found = self._judged(member, self.task, part)
        return found, self._judged(member, self.source, part) if self.source and source else None

    def _judged(self, member: int, task: Task, part: EvaluationPart) -> Evaluation:
        return judge(*self.logits(member, task, part), task.classes)

    def logits(self, member: int, task: Task, part: EvaluationPart) -> tuple[Tensor, Tensor]:
        """A member's outputs of shape (n, classes) on a part of the task or of the source task, and the labels."""
        key = part, task is self.source
        if key not in self._parts:  # what no member trains is computed once for all of them
            self._parts[key] = self._stem.part(*task.part(part))
        (shard, place), images = self._place[member], self._parts[key]
        return shard.outputs(place, images), images.y

    def trained(self, member: int) -> list[Tensor]:
        return [value.detach().clone() for _, value in self._parameters(member)]

    def restore(self, member: int, trained: list[Tensor]) -> None:
        for (_, value), kept in zip(self._parameters(member), trained, strict=True):
            value.copy_(kept)

    def learnt(self, member: int) -> Learnt:
        shard, place = self._place[member]
        buffers = (shard.adam.values, shard.adam.first, shard.adam.second)
        values, first, second = ([view.clone() for view in shard.views(place, flat)] for flat in buffers)
        return Learnt(values, first, second, shard.adam.updates)

    def go_on(self, learnt: Sequence[Learnt]) -> None:
        if len({own.updates for own in learnt}) > 1:
            raise CheckpointError("Runs of a bank go on from one step: train these apart.")
        for member, own in enumerate(learnt):
            shard, place = self._place[member]
            adam = shard.adam
            for tensors, flat in ((own.values, adam.values), (own.first, adam.first), (own.second, adam.second)):
                put(tensors, shard.views(place, flat))
            adam.go_on(own.updates)

    @torch.no_grad()
    def write_back(self, member: int) -> None:
        for parameter, value in self._parameters(member):
            parameter.copy_(value)

    def retire(self, member: int) -> None:
        self._ended.add(member)

    def memory(self, member: int) -> int:
        return training_bytes(self.networks[member])

    def _parameters(self, member: int) -> list[tuple[nn.Parameter, Tensor]]:
        shard, place = self._place[member]
        return shard.parameters(place)


class _Stem:
    """The layers that no member trains, whose outputs are computed once for each part of a task."""

    def __init__(self, network: MultilayerPerceptron, first: int | None) -> None:
        """Args:
        network: any member.
        first: the first layer that any member adapts; None where every layer is trained.
        """
        layers = linears(network)
        self._dtype = frozen(layers[0]).weight.dtype
        self._layers = [] if first is None else [frozen(layer) for layer in layers[: first + 1]]

    @torch.no_grad()
    def part(self, x: Tensor, y: Tensor) -> Part:
        """One part of a task, as it arrives at the first trained layer."""
        x = x.to(self._dtype)
        if not self._layers:
            return Part(x, None, y)
        for layer in self._layers[:-1]:
            x = torch.relu_(linear(x, layer.weight, layer.bias))
        return Part(x, linear(x, self._layers[-1].weight, self._layers[-1].bias), y)


def can_bank(network: nn.Module) -> bool:
    """Whether a bank can train this network: a perceptron with adapters, or with all weights trainable."""
    if not isinstance(network, MultilayerPerceptron):
        return False
    plain = [p for layer in linears(network) for p in frozen(layer).parameters()]
    if adapted_layers(network):
        return not any(p.requires_grad for p in plain)
    return all(p.requires_grad for p in plain)


def _check(networks: Sequence[MultilayerPerceptron], low_rank: bool) -> None:
    """See that the members fit together. Raises: SpecError: they do not."""
    first = [frozen(layer) for layer in linears(networks[0])]
    for network in networks:
        own = [frozen(layer) for layer in linears(network)]
        if not can_bank(network) or bool(adapted_layers(network)) != low_rank:
            raise SpecError("Runs of a bank are trained by one method: put full and LoRA runs into separate banks.")
        if [layer.weight.shape for layer in own] != [layer.weight.shape for layer in first]:
            raise SpecError("Runs of a bank have networks of one size: put other sizes into a bank of their own.")
        pairs = [
            (a, b)
            for mine, other in zip(own, first, strict=True)
            for a, b in zip(mine.parameters(), other.parameters(), strict=True)
        ]
        if low_rank and network is not networks[0] and not all(a is b or torch.equal(a, b) for a, b in pairs):
            raise SpecError("LoRA runs of a bank start from one base: put other bases into a bank of their own.")
