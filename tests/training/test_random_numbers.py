"""What dropout leaves out is a function of seed and step, and only in training."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.training.random_numbers import RandomNumbers

CPU = torch.device("cpu")


def drawn(work, seed: int = 1, step: int = 2):
    numbers = RandomNumbers(seed, CPU)
    numbers.begin(step)
    with numbers:
        return work()


LSTM, HEADS = nn.LSTM(8, 8, 2, dropout=0.3), nn.MultiheadAttention(8, 2, dropout=0.3, batch_first=True)
LAYERS = {
    "dropout": lambda x: F.dropout(x, 0.3),
    "torch.dropout": lambda x: torch.dropout(x, 0.3, True),
    "torch.dropout, by name": lambda x: torch.dropout(x, p=0.3, train=True),
    "torch.feature_dropout, by name": lambda x: torch.feature_dropout(x, p=0.3, train=True),
    "module": nn.Dropout(0.3),
    "channels": nn.Dropout2d(0.3),
    "alpha": nn.AlphaDropout(0.3),
    "rand": lambda x: torch.rand(x.shape) + torch.rand_like(x),
    "bernoulli_": lambda x: torch.empty_like(x).bernoulli_(0.5),
    "normal_": lambda x: torch.empty_like(x).normal_(),
    "bernoulli": lambda x: torch.bernoulli(torch.full_like(x, 0.5)),
    "gumbel": lambda x: F.gumbel_softmax(x),
    "rrelu": nn.RReLU(),
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.3),
    "lstm": lambda x: LSTM(x.flatten(0, 1))[0],
    "multi-head": lambda x: HEADS(x[0], x[0], x[0])[0],
}


@pytest.mark.parametrize("kind", LAYERS)
def test_what_a_layer_draws_depends_on_seed_and_step_alone(kind: str) -> None:
    layer, x = LAYERS[kind], torch.randn(2, 3, 5, 8)

    global_state = torch.get_rng_state()
    first = drawn(lambda: layer(x))
    assert torch.equal(first, drawn(lambda: layer(x)))
    assert not torch.equal(first, drawn(lambda: layer(x), step=3))
    assert not torch.equal(first, drawn(lambda: layer(x), seed=2))
    assert torch.equal(torch.get_rng_state(), global_state)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_dropout_leaves_out_its_share_and_keeps_mean_and_variance(p: float) -> None:
    n = 2**20
    factors = drawn(lambda: F.dropout(torch.ones(n), p))
    assert set(factors.unique().tolist()) <= {0.0, torch.tensor(1 / (1 - p) if p < 1 else 0.0).item()}
    share = (factors == 0).double().mean().item()
    assert abs(share - p) < 5 * math.sqrt(p * (1 - p) / n) + 2**-16
    if p < 1:
        assert abs(factors.double().mean().item() - 1) < 5 * math.sqrt(p / (1 - p) / n) + 2**-15
        covariance = ((factors[1:] - 1) * (factors[:-1] - 1)).double().mean().item()
        assert abs(covariance) <= 5 * p / (1 - p) / math.sqrt(n)


def test_dropout_that_is_off_leaves_out_nothing() -> None:
    x = torch.randn(2, 3, 5)
    for name in ("train", "training"):
        for dropout in (torch.dropout, torch.feature_dropout) if name == "train" else (F.dropout, F.dropout1d):
            assert torch.equal(drawn(lambda dropout=dropout, name=name: dropout(x, p=0.5, **{name: False})), x)


def test_whole_channels_are_left_out() -> None:
    kept = drawn(lambda: F.dropout2d(torch.ones(4, 64, 5, 5), 0.5))
    assert torch.equal(kept.amax((2, 3)), kept.amin((2, 3)))
    assert 0 < (kept == 0).double().mean() < 1


def test_gradients_are_those_of_the_same_units() -> None:
    x = torch.randn(50, 40, requires_grad=True)
    out = drawn(lambda: F.dropout(x, 0.4))
    out.sum().backward()
    assert torch.equal(x.grad, torch.where(out == 0, 0.0, torch.tensor(1 / 0.6)))


MASKS = {
    "none": None,
    "bool": torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(0)) > 0.3,
    "added": torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(0)),
    "a token that sees none": torch.arange(6)[None, None, :, None].expand(2, 1, 6, 6) > 0,
}


@pytest.mark.parametrize(("mask", "causal"), [*((mask, False) for mask in MASKS), ("none", True)])
@pytest.mark.parametrize("grouped", [False, True])
def test_attention_is_torchs_but_for_what_dropout_leaves_out(mask: str, grouped: bool, causal: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, 6, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    key, value = (torch.randn(2, 2 if grouped else 4, 6, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    given = MASKS[mask]
    given = given.double() if mask == "added" else given

    def attend(p: float) -> Tensor:
        return F.scaled_dot_product_attention(
            query, key, value, given, dropout_p=p, is_causal=causal, scale=0.3, enable_gqa=grouped
        )

    # A probability so small that no unit is left out.
    ours, theirs = drawn(lambda: attend(1e-6)), attend(0.0)
    assert (ours - theirs).abs().max() < 1e-5
    assert torch.equal(drawn(lambda: attend(0.0)), theirs)
    gradients = [torch.autograd.grad(out.sum(), query)[0] for out in (ours, theirs)]
    assert (gradients[0] - gradients[1]).abs().max() < 1e-5
    mean = sum(drawn(lambda: attend(0.2), step=step) for step in range(500)) / 500
    assert (mean - theirs).abs().max() < 0.1
