"""Softmax over short rows is torch's, with its gradient."""

from __future__ import annotations

import math

import pytest
import torch

from core.training.softmax import SHORT, softmax


@pytest.mark.parametrize("width", [1, 2, SHORT - 1, SHORT, 40])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_values_and_gradients_are_torchs(width: int, masked: bool, size: float) -> None:
    generator = torch.Generator().manual_seed(width)
    x = size * torch.randn(3, 4, 5, width, generator=generator, dtype=torch.float64)
    if masked:
        x[..., width // 2 + 1 :] = -math.inf
    wanted = torch.randn(3, 4, 5, width, generator=generator, dtype=torch.float64)
    results = []
    for function in (softmax, lambda x: torch.softmax(x, -1)):
        own = x.clone().requires_grad_()
        weights = function(own)
        (gradient,) = torch.autograd.grad(weights, own, wanted)
        results.append((weights.detach(), gradient))
        assert torch.equal(own.detach(), x)
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
