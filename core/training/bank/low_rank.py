"""The training step of LoRA: frozen weights shared by all members, and two small matrices per layer and member, with a
last layer of each member's own where it is trained whole.

A is stored as Aᵀ of shape (rank, in), so that the adapters of all members form one tall matrix, and a single product
x [A₁ … A_K] serves all members with the same data order. Ranks are padded with zeros to the largest: a zero column of
A together with a zero row of B gets zero gradient, so the padding stays exactly zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from core.methods.adapted import plain_linear
from core.methods.layers import LowRankLinear
from core.networks.perceptron import MultilayerPerceptron
from core.training.bank.adam import FlatAdam, Rates
from core.training.bank.algebra import linear
from core.training.bank.full import linears, trains_head
from core.training.bank.shard import Activation, Forward, Part, Program, Shard, transposed
from core.training.bank.tape import Tape


def rank_of(layer: nn.Module) -> int:
    """Rank of the layer's adapter, or 0."""
    return layer.lora.rank if isinstance(layer, LowRankLinear) else 0


def first_adapted(networks: Sequence[MultilayerPerceptron]) -> int:
    """Index of the first layer that any of them adapts."""
    ranks = [[rank_of(layer) for layer in linears(network)] for network in networks]
    return min(i for i in range(len(ranks[0])) if any(own[i] for own in ranks))


def sum_is_cheaper(outputs: int, inputs: int, batch: int) -> bool:
    """Whether x (W + s A B) takes fewer operations than x W + s (x A) B, forward and backward together.

    Computing the sum takes r · in · out operations; it saves the products with B in the forward pass and with A in
    the backward pass, batch · r · (in + out). The gradients cost the same either way.
    """
    return inputs * outputs < batch * (inputs + outputs)


class LowRankShard(Shard):
    """Perceptrons with adapters on one base."""

    def __init__(
        self,
        networks: Sequence[MultilayerPerceptron],
        rates: Rates,
        orders: Sequence[int],
        train: Part,
        first: int,
    ) -> None:
        """Args:
        networks: the members; their frozen weights are equal.
        rates: learning rates of the members.
        orders: number of each member's data order; equal ones are adjacent.
        train: the training part, as inputs of layer ``first``.
        first: index of the first layer that any member of the bank adapts.
        """
        members = [linears(network)[first:] for network in networks]
        base = [plain_linear(layer) for layer in members[0]]
        super().__init__(networks, orders, train, base[-1].out_features)
        self._first = first
        self._product: Tensor = train.product  # type: ignore[assignment]  # always set for a frozen layer
        self._weights = [layer.weight.detach() for layer in base]
        self._biases = [layer.bias.detach() for layer in base]
        # W is frozen, so keep Wᵀ as well: x Wᵀ is faster with both matrices in row-major order.
        self._transposed = [weight.T.contiguous() for weight in self._weights]
        ranks = [max(rank_of(layers[i]) for layers in members) for i in range(len(base))]
        self._adapted = [i for i, rank in enumerate(ranks) if rank]
        shapes: list[tuple[int, ...]] = [(ranks[i], base[i].in_features) for i in self._adapted]
        shapes += [(ranks[i], base[i].out_features) for i in self._adapted]
        rest, head = zip(*rates, strict=True)
        by_segment = [rest] * len(shapes)
        self._trains_head = trains_head(networks[0])
        if self._trains_head:
            shapes += [(base[-1].out_features, base[-1].in_features), (base[-1].out_features,)]
            by_segment += [head] * 2
        weight = self._weights[0]
        self.adam = FlatAdam(shapes, by_segment, weight.dtype, weight.device)
        count = len(self._adapted)
        self._A, self._B = self._pairs(self.adam.values)
        self._A_grad, self._B_grad = self._pairs(self.adam.gradients)
        # All B are contiguous, so one call scales them by s, and another one their gradients.
        self._flat_B = self.adam.span(self.adam.values, count, 2 * count - 1)
        self._flat_B_grad = self.adam.span(self.adam.gradients, count, 2 * count - 1)
        scaled, factors = torch.zeros_like(self.adam.values), torch.zeros_like(self.adam.values)
        self._scaled_B, factor_B = self._pairs(scaled)[1], self._pairs(factors)[1]
        self._flat_scaled_B = self.adam.span(scaled, count, 2 * count - 1)
        self._flat_factors = self.adam.span(factors, count, 2 * count - 1)
        for member, layers in enumerate(members):
            for i in self._adapted:
                layer = layers[i]
                if isinstance(layer, LowRankLinear):
                    factor_B[i][member] = layer.lora.scaling
            self.load(member)

    def _pairs(self, flat: Tensor) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Views of all A and of all B, by layer."""
        segments, count = self.adam.segments(flat), len(self._adapted)
        return (
            dict(zip(self._adapted, segments[:count], strict=True)),
            dict(zip(self._adapted, segments[count : 2 * count], strict=True)),
        )

    def _head(self, flat: Tensor) -> list[Tensor]:
        """Views of weight and bias of the members' own last layers; none where it is frozen."""
        return self.adam.segments(flat)[2 * len(self._adapted) :]

    def trained(self, member: int) -> list[nn.Parameter]:
        found = [parameter for _, layer in self._own(member) for parameter in (layer.lora.A, layer.lora.B)]
        return [*found, *(linears(self.networks[member])[-1].parameters() if self._trains_head else ())]  # type: ignore[arg-type]

    def views(self, member: int, flat: Tensor) -> list[Tensor]:
        A, B = self._pairs(flat)
        found = []
        for i, layer in self._own(member):
            found += [A[i][member, : layer.lora.rank].T, B[i][member, : layer.lora.rank]]
        return [*found, *(part[member] for part in self._head(flat))]

    def _own(self, member: int) -> list[tuple[int, LowRankLinear]]:
        """A member's adapted layers, numbered from the first that any member adapts."""
        layers = enumerate(linears(self.networks[member])[self._first :])  # type: ignore[arg-type]
        return [(i, layer) for i, layer in layers if isinstance(layer, LowRankLinear)]

    @torch.inference_mode()
    def forward(self, member: int) -> Forward:
        torch.mul(self._flat_B, self._flat_factors, out=self._flat_scaled_B)
        weights = [
            torch.addmm(weight, self._scaled_B[i][member].T, self._A[i][member]) if i in self._adapted else weight
            for i, weight in enumerate(self._weights)
        ]
        biases = list(self._biases)
        if self._trains_head:
            weights[-1], biases[-1] = (part[member] for part in self._head(self.adam.values))

        @torch.inference_mode()
        def logits(part: Part) -> Tensor:
            if part.product is None:
                z = linear(part.x, weights[0], biases[0])
            else:
                z = self._first_sum(member, part.x, part.product)
            for weight, bias in zip(weights[1:], biases[1:], strict=True):
                z = linear(torch.relu_(z), weight, bias)
            return z

        return logits

    def _first_sum(self, member: int, x: Tensor, product: Tensor) -> Tensor:
        """The first layer's x Wᵀ + b with what the member's adapter adds, in a new tensor: the product is kept."""
        if 0 not in self._adapted:
            return product.clone()
        return torch.addmm(product, x @ self._A[0][member].T, self._scaled_B[0][member])

    def _record_forward(self, program: Program) -> list[Activation]:
        tape = program.tape
        tape.add("scale", torch.mul, self._flat_B, self._flat_factors, out=self._flat_scaled_B)
        x = program.buffer(program.groups, program.batch, self.train.x.shape[1])
        if 0 in self._adapted:
            tape.add("gather", torch.index_select, self.train.x, 0, program.rows.view(-1), out=x.flatten(0, 1))
        seen: list[Activation] = []
        for i, weight in enumerate(self._weights):
            last = i == len(self._weights) - 1
            z = program.logits if last else program.buffer(program.members, program.batch, weight.shape[0])
            seen.append(
                self._record_first_layer(program, x, z, last) if i == 0 else self._record_layer(program, i, x, z)
            )
            if not last:
                tape.add("relu", torch.relu_, z)
            x = z
        return seen

    def _record_first_layer(self, program: Program, x: Tensor, z: Tensor, last: bool) -> Activation:
        """Record the first layer: its frozen product was computed in advance, and is only gathered."""
        tape = program.tape
        rows = program.buffer(program.members, program.batch, self._weights[0].shape[0]) if last else z
        own = program.member_rows.view(-1)
        tape.add("gather", torch.index_select, self._product, 0, own, out=rows.flatten(0, 1))
        if last:
            tape.add("gather", z.copy_, transposed(rows))
        if 0 not in self._adapted:
            return Activation(x)
        projected = program.buffer(program.members, self._A[0].shape[1], program.batch)
        self._record_by_order(tape, f"A {self._first + 1}", self._A[0], transposed(x), projected)
        self._record_update(program, 0, z, projected)
        return Activation(x, projected)

    def _record_layer(self, program: Program, i: int, x: Tensor, z: Tensor) -> Activation:
        """Record a later layer: x Wᵀ + b as one product for all members, or with each member's own sum W + ΔW."""
        tape, algebra = program.tape, self.algebra
        name, weight, bias = f"{self._first + i + 1}", self._weights[i], self._biases[i]
        last = z is program.logits
        summed = None
        outputs, inputs = weight.shape
        if i in self._adapted and sum_is_cheaper(outputs, inputs, program.batch):
            summed = program.buffer(program.members, *weight.shape)
            scaled = transposed(self._scaled_B[i])
            algebra.add_product(tape, f"sum {name}", weight.unsqueeze(0), scaled, self._A[i], summed)
        if last:
            each = weight.expand(program.members, -1, -1) if summed is None else summed
            start = bias.view(1, -1, 1)
            if self._trains_head:
                each, own_bias = self._head(self.adam.values)
                start = own_bias.unsqueeze(-1)
            algebra.add_product(tape, f"forward {name}", start, each, transposed(x), z)
        elif summed is not None:
            algebra.affine(tape, f"forward {name}", x, summed, bias.unsqueeze(0), z)
        else:
            algebra.affine_for_all(tape, f"forward {name}", x, weight, self._transposed[i], bias, z)
        if i not in self._adapted:
            return Activation(x)
        projected = program.buffer(program.members, self._A[i].shape[1], program.batch)
        algebra.product(tape, f"A {name}", self._A[i], transposed(x), projected)
        if summed is None:
            self._record_update(program, i, z, projected)
        return Activation(x, projected, summed)

    def _record_update(self, program: Program, i: int, z: Tensor, projected: Tensor) -> None:
        """Add s · (x A) B to z."""
        pair = transposed(projected), self._scaled_B[i]
        if z is program.logits:
            pair = transposed(self._scaled_B[i]), projected
        self.algebra.add_product(program.tape, f"B {self._first + i + 1}", z, *pair, z)

    def _record_backward(self, program: Program, seen: list[Activation], grad: Tensor) -> None:
        tape, algebra, last = program.tape, self.algebra, len(self._weights) - 1
        if self._trains_head:
            weight_grad, bias_grad = self._head(self.adam.gradients)
            algebra.sum_columns(tape, "bias", grad, bias_grad)
            algebra.product(tape, f"gradient {self._first + last + 1}", grad, seen[last].x, weight_grad)
        grad = transposed(grad)  # (members, batch, outputs), as below the last layer
        for i in range(last, self._adapted[0] - 1, -1):
            name = f"{self._first + i + 1}"
            x, projected, weight = seen[i].x, seen[i].projected, self._weights[i]
            back = None
            if projected is not None:
                back = torch.zeros_like(projected)
                algebra.product(tape, f"B back {name}", self._scaled_B[i], transposed(grad), back)
                algebra.product(tape, f"B gradient {name}", projected, grad, self._B_grad[i])
                if i == 0:
                    self._record_by_order(tape, f"A gradient {name}", back, x, self._A_grad[i])
                else:
                    algebra.product(tape, f"A gradient {name}", back, x, self._A_grad[i])
            if i == self._adapted[0]:
                break  # the layers below are not trained
            below = torch.zeros_like(x)
            own = self._head(self.adam.values)[0] if self._trains_head and i == last else seen[i].summed
            if own is not None:
                algebra.product(tape, f"backward {name}", grad, own, below)
            else:
                if grad.is_contiguous():
                    algebra.product_for_all(tape, f"backward {name}", grad, weight, below)
                else:
                    algebra.product(tape, f"backward {name}", grad, weight.expand(program.members, -1, -1), below)
                if back is not None:
                    algebra.add_product(tape, f"A back {name}", below, transposed(back), self._A[i], below)
            tape.add("relu", torch.ops.aten.threshold_backward.grad_input, below, x, 0, grad_input=below)
            grad = below
        tape.add("scale", self._flat_B_grad.mul_, self._flat_factors)

    def _record_by_order(self, tape: Tape, name: str, left: Tensor, right: Tensor, out: Tensor) -> None:
        """Record products of each member's ``left`` with ``right`` of its data order, as one product per order.

        Args:
            tape: the tape to add them to.
            name: name in profiles.
            left: (members, rank, k).
            right: (orders, k, n).
            out: (members, rank, n).
        """
        orders = len(self.counts)
        if orders > 1 and len(set(self.counts)) == 1:
            shape = (orders, -1, left.shape[2])
            tape.add(name, torch.bmm, left.view(shape), right, out=out.view(orders, -1, out.shape[2]))
            return
        end = list(accumulate(self.counts))
        for order, (count, stop) in enumerate(zip(self.counts, end, strict=True)):
            own = slice(stop - count, stop)
            tape.add(name, torch.mm, left[own].flatten(0, 1), right[order], out=out[own].flatten(0, 1))
