"""What a bank takes in memory, from the sizes of its networks alone: the sum of what its shards allocate.

Nothing is built. Banks are counted as they are laid out on a CPU, whatever the device; tests compare the sums with the
tensors of real banks. What is kept for every example of an evaluation is not part of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from core.methods.adapted import adapted_layers, plain_linear
from core.networks.perceptron import MultilayerPerceptron
from core.training.bank.adam import padded
from core.training.bank.algebra import suits_onednn
from core.training.bank.bank import shard_size
from core.training.bank.full import linears, trains_head
from core.training.bank.low_rank import first_adapted, rank_of, sum_is_cheaper
from core.training.bank.shard import BLOCK
from core.training.threads import available_cores

FLOAT, INDEX = 4, 8
"""Bytes of a float32 number and of an index."""


def bank_bytes(networks: Sequence[MultilayerPerceptron], orders: Sequence[int], batches: Sequence[int], n: int) -> int:
    """Bytes that :class:`core.training.bank.bank.Bank` keeps for these networks while it trains, beside their own.

    Args:
        networks: the members in the order in which the bank forms shards; they may be on the ``meta`` device.
        orders: number of the data order of each member; equal ones are adjacent.
        batches: sizes of the batches that steps are made for.
        n: number of training examples.
    """
    low_rank = bool(adapted_layers(networks[0]))
    size = shard_size(len(networks), low_rank, "cpu")
    shards = [slice(start, start + size) for start in range(0, len(networks), size)]
    if not low_rank:
        return sum(_full(networks[own], orders[own], batches) for own in shards)
    first = first_adapted(networks)
    return _frozen(networks[0], first, n) + sum(_low_rank(networks[own], orders[own], batches, first) for own in shards)


def outputs_bytes(networks: Sequence[MultilayerPerceptron], n: int) -> int:
    """Bytes that a bank keeps to evaluate its members on ``n`` examples: the outputs of layers that none trains."""
    return _frozen(networks[0], first_adapted(networks), n) if adapted_layers(networks[0]) else 0


def passing_bytes(networks: Sequence[MultilayerPerceptron], batch: int, n: int) -> tuple[int, int]:
    """Bytes that a bank allocates and frees: in a step of as many shards as there are cores, and in the evaluation of a
    member on ``n`` examples.
    """
    sizes, low_rank = [sizes_of(layer) for layer in linears(networks[0])], bool(adapted_layers(networks[0]))
    members = shard_size(len(networks), low_rank, "cpu")
    shards = -(-len(networks) // members)
    widest, weights = max(outputs for outputs, _ in sizes), sum(outputs * inputs for outputs, inputs in sizes)
    step = FLOAT * members * batch * widest * min(available_cores(), shards)
    # Logits on both tasks, the losses of each and what they are made from; two layers of a block on each core; and with
    # adapters each sum W + ΔW.
    blocks = min(n, BLOCK) * available_cores()
    evaluation = FLOAT * (7 * n * sizes[-1][0] + 2 * blocks * widest + weights * low_rank)
    return step, evaluation


def sizes_of(layer: nn.Module) -> tuple[int, int]:
    """(outputs, inputs) of a layer, adapted or not."""
    outputs, inputs = plain_linear(layer).weight.shape
    return outputs, inputs


def _frozen(network: MultilayerPerceptron, first: int, n: int) -> int:
    outputs, inputs = sizes_of(linears(network)[first])
    return FLOAT * n * (outputs + (inputs if first else 0))


def _adam(sizes: Sequence[int], kept: int = 4) -> int:
    """Values, gradients and both moments of segments, and the number of updates."""
    return FLOAT * (kept * sum(map(padded, sizes)) + 1)


def _program(orders: Sequence[int], batch: int, classes: int) -> int:
    """Rows, labels, logits and losses of a step, and the step of Adam."""
    members, groups = len(orders), len(set(orders))
    indices = batch * (groups + members) + (0 if groups == members else batch * members)
    return INDEX * indices + FLOAT * (members + 3 * members * batch * classes + 2 * members * batch + 2 * batch + 1)


def _full(networks: Sequence[MultilayerPerceptron], orders: Sequence[int], batches: Sequence[int]) -> int:
    sizes, members = [sizes_of(layer) for layer in linears(networks[0])], len(networks)
    last = len(sizes) - 1
    total = _adam([members * count for outputs, inputs in sizes for count in (outputs * inputs, outputs)])
    for batch in batches:
        total += _program(orders, batch, sizes[-1][0])
        for i, (outputs, inputs) in enumerate(sizes):
            total += FLOAT * members * batch * inputs * (2 if i else 1)  # inputs, and their gradient
            total += FLOAT * batch * (members == 1)  # ones that sum the gradient of the bias
            if suits_onednn(outputs, batch, inputs):  # the gradient of the weight, and its factor in row-major order
                total += FLOAT * (outputs * inputs * (members == 1) + members * outputs * batch * (i < last))
            if i == last and suits_onednn(batch, outputs, inputs):
                total += FLOAT * members * batch * outputs
    return total


def _low_rank(
    networks: Sequence[MultilayerPerceptron], orders: Sequence[int], batches: Sequence[int], first: int
) -> int:
    layers = [linears(network)[first:] for network in networks]
    sizes, members = [sizes_of(layer) for layer in layers[0]], len(networks)
    ranks = [max(map(rank_of, own)) for own in zip(*layers, strict=True)]
    last, lowest = len(sizes) - 1, next(i for i, rank in enumerate(ranks) if rank)
    pairs = [members * rank * size[side] for side in (1, 0) for size, rank in zip(sizes, ranks, strict=True) if rank]
    own_last = trains_head(networks[0])
    if own_last:
        pairs += [members * sizes[-1][0] * sizes[-1][1], members * sizes[-1][0]]
    # Beside what Adam has, every B times s, and each s in the shape of its B.
    total = _adam(pairs, 6)
    total += sum(FLOAT * outputs * inputs for outputs, inputs in sizes)  # each W in the order of its transpose
    for batch in batches:
        total += _program(orders, batch, sizes[-1][0])
        total += FLOAT * len(set(orders)) * batch * sizes[0][1]  # inputs of the first layer
        for i, ((outputs, inputs), rank) in enumerate(zip(sizes, ranks, strict=True)):
            total += FLOAT * members * batch * outputs * (i < last or i == 0)
            total += 2 * FLOAT * members * rank * batch  # x A, and its gradient
            is_summed = bool(rank and i and sum_is_cheaper(outputs, inputs, batch))
            total += FLOAT * members * outputs * inputs * is_summed
            if i > lowest:
                total += FLOAT * members * batch * inputs  # the gradient of the inputs
                if i == last and suits_onednn(batch, outputs, inputs):
                    total += FLOAT * members * batch * outputs
        if own_last:
            total += FLOAT * batch * (members == 1)  # ones that sum the gradient of the bias
    return total
