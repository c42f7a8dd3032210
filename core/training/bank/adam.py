"""Adam on one flat buffer with the parameters of several members, each with its own learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, groupby

import torch
from torch import Tensor

from core.training.bank.tape import Tape

BETAS, EPSILON = (0.9, 0.999), 1e-8
"""torch.optim.Adam's defaults (Kingma & Ba 2015, arXiv 1412.6980)."""

ALIGNMENT = 16
"""Segments start at multiples of this many values: one cache line of float32."""


def padded(size: int) -> int:
    """Length of a segment of so many values."""
    return -(-size // ALIGNMENT) * ALIGNMENT


Rates = Sequence[tuple[float, float]]
"""Two learning rates of each member: that of all but its last layer, and that of a last layer that is trained whole."""


class FlatAdam:
    """Parameters, gradients and moments, each in one flat buffer of segments of shape (members, ...).

    The update is torch's fused kernel, so results are bit-identical to torch.optim.Adam's. All parts with the same
    learning rate are updated in one call; adjacent ones as one contiguous range.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, ...]],
        rates: Sequence[Sequence[float]],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        """Initialize all buffers with zeros.

        Args:
            shapes: shape of one member's part of each segment.
            rates: learning rate of each member, for each segment.
            dtype: data type of all buffers.
            device: device of all buffers.
        """
        self._rates = [tuple(own) for own in rates]
        self.shapes = [(len(own), *shape) for own, shape in zip(self._rates, shapes, strict=True)]
        """Shapes of the segments, with all members."""
        sizes = [math.prod(shape) for shape in self.shapes]
        lengths = [padded(size) for size in sizes]
        self._starts = [sum(lengths[:i]) for i in range(len(lengths))]
        self._sizes = sizes
        # The padding has zero gradients, so it stays zero.
        self.values, self.gradients, self.first, self.second = (
            torch.zeros(sum(lengths), dtype=dtype, device=device) for _ in range(4)
        )
        self._step = torch.zeros((), dtype=torch.float32, device=device)

    def segments(self, flat: Tensor) -> list[Tensor]:
        """Views of shape (members, ...) into one of the flat buffers."""
        return [
            flat[start : start + size].view(shape)
            for start, size, shape in zip(self._starts, self._sizes, self.shapes, strict=True)
        ]

    def span(self, flat: Tensor, first: int, last: int) -> Tensor:
        """The part of a flat buffer from segment ``first`` to segment ``last``, inclusive."""
        return flat[self._starts[first] : self._starts[last] + self._sizes[last]]

    def record(self, tape: Tape, apart: Mapping[int, Tensor] | None = None) -> None:
        """Add the update to a tape.

        Args:
            tape: the tape.
            apart: gradients stored outside the flat buffer, by segment number; for a single member only.
        """
        tape.add("adam", self._step.add_, torch.ones_like(self._step))
        flats = (self.values, self.gradients, self.first, self.second)
        for rate in dict.fromkeys(chain(*self._rates)):
            buffers = [self._parts(flat, rate, apart or {}) for flat in flats]
            tape.add(
                "adam",
                torch._fused_adam_,
                *buffers,
                [],
                [self._step] * len(buffers[0]),
                lr=rate,
                beta1=BETAS[0],
                beta2=BETAS[1],
                eps=EPSILON,
                weight_decay=0.0,
                amsgrad=False,
                maximize=False,
            )

    def _parts(self, flat: Tensor, rate: float, apart: Mapping[int, Tensor]) -> list[Tensor]:
        """What of a flat buffer has this learning rate, as few contiguous ranges; gradients that are stored elsewhere
        are those, and the other buffers are split alike.
        """
        have = [[own == rate for own in rates] for rates in self._rates]
        if not apart and all(map(all, have)):
            return [flat]
        found = []
        for (lone, members), numbers in groupby(
            range(len(self.shapes)), key=lambda number: (number if number in apart else None, tuple(have[number]))
        ):
            own = list(numbers)
            if lone is not None and any(members):
                piece = self.span(flat, lone, lone).view(apart[lone].shape)
                found.append(apart[lone] if flat is self.gradients else piece)
            elif all(members):
                found.append(self.span(flat, own[0], own[-1]))
            else:
                segments = self.segments(flat)[own[0] : own[-1] + 1]
                found += [segment[part].view(-1) for part in _runs(members) for segment in segments]
        return found

    @property
    def updates(self) -> int:
        """Number of updates so far."""
        return int(self._step.item())

    def resume(self, updates: int) -> None:
        """Set the number of updates; the caller restores values and moments."""
        self._step.fill_(updates)

    @property
    def state(self) -> tuple[Tensor, ...]:
        """Tensors that a step changes permanently."""
        return self.values, self.first, self.second, self._step


def _runs(members: Sequence[bool]) -> Iterator[slice]:
    """Adjacent members that are among those wanted."""
    for wanted, places in groupby(range(len(members)), key=members.__getitem__):
        own = list(places)
        if wanted:
            yield slice(own[0], own[-1] + 1)
