"""Adam for one network: AdamW's decay of weights, the norm of gradients clipped, a rate for each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from core.run_spec import OptimSpec
from core.training.schedule import rate_at

MOMENTS = ("exp_avg", "exp_avg_sq")
"""Names of the moments in the state of torch.optim.AdamW."""


class Optimizer:
    """Updates trained parameters from their gradients."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        optim: OptimSpec,
        total: int,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        """Args:
        parameters: what is trained, by name, all on one device.
        optim: the settings.
        total: number of updates of the whole run.
        rates: see :attr:`core.methods.method.MethodSpec.tensor_rates`; None for none.
        """
        self.updates = 0
        """Updates done."""
        self.parameters = list(parameters.values())
        self._optim, self._total = optim, total
        factors = {name: _factor(name, rates or {}) for name in parameters}
        self.factors = list(factors.values())
        """On the learning rate of each parameter."""
        # Biases and the gains of normalizations are vectors. Decaying them regularizes nothing, as the Trainer has it.
        groups = [
            {
                "params": [p for name, p in parameters.items() if (p.ndim >= 2, factors[name]) == (decays, factor)],
                "weight_decay": optim.weight_decay if decays else 0.0,
                "factor": factor,
            }
            for decays in (True, False)
            for factor in dict.fromkeys(factors.values())
        ]
        # One fused kernel for all tensors: the default loop over many small ones takes longer than the matrix products.
        fused = self.parameters[0].device.type in ("cpu", "cuda")
        # Without decay AdamW is Adam, bit for bit.
        self._adam = torch.optim.AdamW([group for group in groups if group["params"]], fused=fused)

    def clear(self) -> None:
        """Forget all gradients."""
        self._adam.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Update the parameters by their gradients."""
        if self._optim.clip:
            nn.utils.clip_grad_norm_(self.parameters, self._optim.clip)
        for group in self._adam.param_groups:
            group["lr"] = rate_at(self._optim, self.updates, self._total) * group["factor"]
        self._adam.step()
        self.updates += 1

    def moments(self) -> list[list[Tensor]]:
        """Copies of the first and of the second moments of each parameter; zeros before the first step."""
        known: list[tuple[nn.Parameter, dict[str, Any]]] = [(p, self._adam.state.get(p, {})) for p in self.parameters]
        return [[state[key].clone() if state else torch.zeros_like(p) for p, state in known] for key in MOMENTS]

    def resume(self, first: Sequence[Tensor], second: Sequence[Tensor], updates: int) -> None:
        """Continue with these moments, which it keeps, after this many updates."""
        self.updates = updates
        for p, *moments in zip(self.parameters, first, second, strict=True):
            step = torch.tensor(float(updates), dtype=torch.float32, device=p.device)
            self._adam.state[p] = {"step": step, **dict(zip(MOMENTS, moments, strict=True))}


def _factor(name: str, rates: Mapping[str, float]) -> float:
    """The factor on the rate of a parameter, by the end of its name."""
    return next((factor for end, factor in rates.items() if f".{name}".endswith(f".{end}")), 1.0)
