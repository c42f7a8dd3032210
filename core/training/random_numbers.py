"""Random numbers of one run's steps, in place of torch's global generator.

What layers draw in a step, such as the units that dropout leaves out, is a function of the run's seed and the number of
the step. So a checkpoint needs no state of a generator, a resumed run draws what an uninterrupted one would, and runs
that train side by side in one process do not disturb each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from core.networks.own_generator import GLOBAL_GENERATOR, TAKE_GENERATOR

LANES = 2**16
"""Probabilities of dropout are rounded to multiples of 1/65536: a random number of 64 bits decides on four units."""

_Function = Callable[..., Any]

_SHAPES = {F.dropout: 0, torch.dropout: 0, F.dropout1d: 1, F.dropout2d: 2, F.dropout3d: 3, torch.feature_dropout: 2}
"""Kinds of dropout. All but the plain one leave out whole channels: the number is that of dimensions behind them."""

_TAKE_NONE = frozenset(
    {
        F.alpha_dropout,
        F.feature_alpha_dropout,
        F.fractional_max_pool2d_with_indices,
        F.fractional_max_pool3d_with_indices,
        F.gumbel_softmax,
        F.multi_head_attention_forward,
        F.rrelu,
        torch.alpha_dropout,
        torch.feature_alpha_dropout,
        torch.gru,
        torch.lstm,
        torch.rnn_relu,
        torch.rnn_tanh,
        torch.rrelu,
    }
)
"""Functions that may draw random numbers inside, always from torch's global generator."""


class RandomNumbers(TorchFunctionMode):
    """While it is entered, what the calling thread draws are this run's numbers for the step that was begun."""

    def __init__(self, seed: int, device: torch.device) -> None:
        """Args: seed: of the run; device: of the tensors that are drawn."""
        super().__init__()
        self._seed, self._device = seed, device
        # Nothing is drawn on meta, where only shapes count.
        self._generator = torch.Generator("cpu" if device.type == "meta" else device)
        self._bits = np.random.SFC64(0)
        self.begin(0)

    def begin(self, step: int) -> None:
        """Draw the numbers of this step from now on."""
        entropy = np.random.SeedSequence([self._seed, step])
        self._bits = np.random.SFC64(entropy)
        # Any further stream of the same step, such as one on another device, has a seed of its own.
        self._generator.manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1))

    def repeated(self) -> AbstractContextManager[None]:
        """A context that draws what is drawn from now on once more; after it the numbers go on where they were."""

        @contextmanager
        def inside(wanted: tuple[Any, Tensor]) -> Iterator[None]:
            before, (self._bits.state, state) = self._state, wanted
            self._generator.set_state(state)
            try:
                with self:
                    yield
            finally:
                self._bits.state, state = before
                self._generator.set_state(state)

        return inside(self._state)

    @property
    def _state(self) -> tuple[Any, Tensor]:
        return self._bits.state, self._generator.get_state()

    def __torch_function__(
        self, func: _Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        known = kwargs or {}
        if func in _SHAPES:
            return self._dropout(func, *args, **known)
        if func is F.scaled_dot_product_attention:
            return self._attention(*args, **known)
        if func in TAKE_GENERATOR and known.get("generator") is None:
            return self._drawn(func, args, known)
        if func in _TAKE_NONE:
            return self._alone(lambda: func(*args, **known))
        return func(*args, **known)

    def kept(self, shape: torch.Size, p: float, dtype: torch.dtype) -> Tensor:
        """Factors of dropout: 0 with probability ``p``, else 1 / (1 − p)."""
        if self._device.type == "meta":
            return torch.empty(shape, dtype=dtype, device="meta")
        if self._device.type != "cpu":
            factors = torch.empty(shape, dtype=dtype, device=self._device)
            return factors.bernoulli_(1 - p, generator=self._generator).mul_(1 / (1 - p) if p < 1 else 0.0)
        count = math.prod(shape)
        lanes: NDArray[np.int16] = self._bits.random_raw(-(-count // 4)).view(np.int16)[:count]
        threshold = round((1 - p) * LANES) - LANES // 2
        if threshold >= LANES // 2:
            return torch.ones(shape, dtype=dtype)
        factors = torch.empty(count, dtype=dtype)
        torch.lt(torch.from_numpy(lanes), threshold, out=factors)
        return factors.mul_(1 / (1 - p) if p < 1 else 0.0).view(shape)

    def _dropout(
        self,
        func: _Function,
        input: Tensor,
        p: float = 0.5,
        training: bool = True,
        inplace: bool = False,
        *,
        train: bool | None = None,
    ) -> Tensor:
        training = training if train is None else train  # torch's own name of it, beside that of its modules
        if not 0 <= p <= 1 or inplace:  # also raises what torch raises
            return self._alone(lambda: func(input, p, training, inplace))  # type: ignore[no-any-return]
        if not training or p == 0:
            return input
        behind = _SHAPES[func]
        shape = torch.Size([*input.shape[: input.ndim - behind], *[1] * behind])
        return input * self.kept(shape, p, input.dtype)

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        if dropout_p == 0:
            return F.scaled_dot_product_attention(
                query, key, value, attn_mask, 0.0, is_causal, scale=scale, enable_gqa=enable_gqa
            )
        return attention(query, key, value, attn_mask, is_causal, scale, enable_gqa, dropout_p, self)

    def _drawn(self, func: _Function, args: tuple[Any, ...], known: dict[str, Any]) -> Any:
        devices = [arg.device for arg in (*args, *known.values()) if isinstance(arg, Tensor)]
        wanted = torch.device(known.get("device") or (devices[0] if devices else "cpu"))
        if wanted.type == self._device.type:
            return func(*args, **known, generator=self._generator)
        return self._alone(lambda: func(*args, **known))

    def _alone(self, work: Callable[[], Any]) -> Any:
        """Do some work with torch's global generator, seeded by this run's numbers; afterwards it is restored."""
        devices = [self._device] if self._device.type == "cuda" else []
        with GLOBAL_GENERATOR, torch.random.fork_rng(devices):
            torch.random.manual_seed(int(self._bits.random_raw() >> 1))
            return work()


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
    p: float,
    numbers: RandomNumbers,
) -> Tensor:
    """Scaled dot product attention with dropout on its weights; arguments as in torch's function of this name.

    Args:
        query: (..., heads, tokens, features).
        key: (..., heads, others, features).
        value: (..., heads, others, features).
        mask: bool, True where a token sees another, or a number that is added; broadcast.
        is_causal: whether a token sees only those up to itself.
        scale: factor of the products; None for 1 / √features.
        enable_gqa: whether several heads of the query share one of key and value.
        p: probability of dropout.
        numbers: draws what dropout leaves out.

    Returns:
        (..., heads, tokens, features).
    """
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query * scale) @ key.transpose(-2, -1)
    if is_causal:
        ones = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device)
        scores = scores.masked_fill(~ones.tril(), -math.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    exact = torch.promote_types(scores.dtype, torch.float32)
    # A token that sees none, as padding may, has zeros, as in torch's own.
    if mask is not None and not _each_sees_one(mask):
        weights = torch._safe_softmax(scores, -1, dtype=exact).to(value.dtype)
    else:
        weights = torch.softmax(scores, -1, dtype=exact).to(value.dtype)
    return (weights * numbers.kept(weights.shape, p, weights.dtype)) @ value


def _each_sees_one(mask: Tensor) -> bool:
    """Whether a mask leaves every token one that it sees; False where reading the mask would wait for a device."""
    if mask.device.type != "cpu":
        return False
    seen = mask if mask.dtype == torch.bool else mask > -math.inf
    return bool(seen.any(-1).all())
