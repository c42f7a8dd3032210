"""The training step of full fine-tuning and pretraining, with every weight trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from core.networks.perceptron import MultilayerPerceptron
from core.training.bank.adam import FlatAdam, Rates
from core.training.bank.algebra import linear
from core.training.bank.shard import Activation, Forward, Part, Program, Shard, transposed


def linears(network: MultilayerPerceptron) -> list[nn.Module]:
    """The layers with weights, adapted or not, in order."""
    return [layer for layer in network.layers if not isinstance(layer, nn.ReLU)]


def trains_head(network: MultilayerPerceptron) -> bool:
    """Whether the last layer is trained whole: by full fine-tuning, or beside adapters on the others."""
    last = linears(network)[-1]
    return isinstance(last, nn.Linear) and last.weight.requires_grad


class FullShard(Shard):
    """Perceptrons with all layers trained."""

    def __init__(
        self, networks: Sequence[MultilayerPerceptron], rates: Rates, orders: Sequence[int], train: Part
    ) -> None:
        """Args:
        networks: the members.
        rates: learning rates of the members.
        orders: number of each member's data order; equal ones are adjacent.
        train: the training part.
        """
        layers = linears(networks[0])
        super().__init__(networks, orders, train, layers[-1].out_features)  # type: ignore[arg-type]
        shapes = [tuple(p.shape) for layer in layers for p in layer.parameters()]
        weight = layers[0].weight
        rest, head = zip(*rates, strict=True)
        by_segment = [rest] * (len(shapes) - 2) + [head] * 2
        self.adam = FlatAdam(shapes, by_segment, weight.dtype, weight.device)  # type: ignore[arg-type]
        values, gradients = self.adam.segments(self.adam.values), self.adam.segments(self.adam.gradients)
        self._weights, self._biases = values[::2], values[1::2]
        self._weight_grads, self._bias_grads = gradients[::2], gradients[1::2]
        for member in range(len(networks)):
            self.load(member)

    def trained(self, member: int) -> list[nn.Parameter]:
        return [p for layer in linears(self.networks[member]) for p in layer.parameters()]  # type: ignore[arg-type]

    def views(self, member: int, flat: Tensor) -> list[Tensor]:
        return [segment[member] for segment in self.adam.segments(flat)]

    def forward(self, member: int) -> Forward:
        weights = [weight[member] for weight in self._weights]
        biases = [bias[member] for bias in self._biases]

        @torch.inference_mode()
        def logits(part: Part) -> Tensor:
            x = part.x
            for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
                x = torch.relu_(linear(x, weight, bias))
            return linear(x, weights[-1], biases[-1])

        return logits

    def _record_forward(self, program: Program) -> list[Activation]:
        tape, algebra = program.tape, self.algebra
        members, batch = program.members, program.batch
        h = program.buffer(members, batch, self.train.x.shape[1])
        rows = program.member_rows.view(-1)
        tape.add("gather", torch.index_select, self.train.x, 0, rows, out=h.view(members * batch, -1))
        seen = [Activation(h)]
        for i, (weight, bias) in enumerate(zip(self._weights[:-1], self._biases[:-1], strict=True), 1):
            z = program.buffer(members, batch, weight.shape[1])
            algebra.affine(tape, f"forward {i}", h, weight, bias, z, relu=True)
            seen.append(Activation(z))
            h = z
        weight, bias = self._weights[-1], self._biases[-1]
        last = f"forward {len(self._weights)}"
        algebra.add_product(tape, last, bias.unsqueeze(-1), weight, transposed(h), program.logits)
        return seen

    def _record_backward(self, program: Program, seen: list[Activation], grad: Tensor) -> None:
        tape, algebra = program.tape, self.algebra
        algebra.sum_columns(tape, "bias", grad, self._bias_grads[-1])
        self._record_gradient(program, len(self._weights) - 1, grad, seen[-1].x)
        grad = transposed(grad)  # (members, batch, outputs), as below the last layer
        for i in range(len(self._weights) - 1, 0, -1):
            h = seen[i].x
            below = torch.zeros_like(h)
            algebra.product(tape, f"backward {i + 1}", grad, self._weights[i], below)
            tape.add("relu", torch.ops.aten.threshold_backward.grad_input, below, h, 0, grad_input=below)
            grad = below
            algebra.sum_columns(tape, "bias", transposed(grad), self._bias_grads[i - 1])
            self._record_gradient(program, i - 1, transposed(grad), seen[i - 1].x)

    def _record_gradient(self, program: Program, i: int, grad: Tensor, x: Tensor) -> None:
        """The gradient of weight i: grad x, of shapes (members, outputs, batch) and (members, batch, inputs)."""
        name = f"gradient {i + 1}"
        apart = self.algebra.product_apart(program.tape, name, grad, x)
        if apart is None:
            self.algebra.product(program.tape, name, grad, x, self._weight_grads[i])
        else:
            program.apart[2 * i] = apart  # weights and biases alternate
