"""One optimiser step of a network."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Stepper(Protocol):
    """What the training loop needs of whatever it trains."""

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """One step on x of shape (n, features) and labels y of shape (n,).

        Returns:
            The mean cross entropy before the step: a scalar, detached, still on the device.
        """
        ...

    def logits(self, x: Tensor) -> Tensor:
        """Outputs of shape (n, classes), with no gradient."""
        ...

    def trained(self) -> list[Tensor]:
        """Copies of the tensors that training changes."""
        ...

    def restore(self, trained: list[Tensor]) -> None:
        """Put back what :meth:`trained` gave."""
        ...

    def memory(self) -> int:
        """Bytes of weights, gradients and optimiser state."""
        ...


class AutogradStepper:
    """Trains any module by autograd, with Adam on whatever its ``requires_grad`` leaves trainable."""

    def __init__(self, network: nn.Module, learning_rate: float) -> None:
        """Args: network: on its device already; learning_rate: step size of Adam."""
        self.network = network
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        # One fused kernel over all tensors: the usual loop over twelve small ones costs more than their products.
        fused = self.parameters[0].device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.Adam(self.parameters, lr=learning_rate, fused=fused)

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        loss = F.cross_entropy(self.network(x), y)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.network(x)
        return outputs

    def trained(self) -> list[Tensor]:
        return [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def restore(self, trained: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, trained, strict=True):
            parameter.copy_(value)

    def memory(self) -> int:
        weights = sum(p.numel() * p.element_size() for p in self.network.parameters())
        gradients = sum(p.numel() * p.element_size() for p in self.parameters)
        state = sum(
            value.numel() * value.element_size()
            for tensors in self.optimizer.state.values()
            for value in tensors.values()
            if isinstance(value, Tensor)
        )
        return weights + gradients + state
