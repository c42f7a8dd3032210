"""Adam on one flat buffer with the parameters of several members, each with its own learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby

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


class FlatAdam:
    """Parameters, gradients and moments, each in one flat buffer of segments of shape (members, ...).

    The update is torch's fused kernel, so results are bit-identical to torch.optim.Adam's. All members with the same
    learning rate are updated in one call; adjacent ones as one contiguous range.
    """

    def __init__(
        self, shapes: Sequence[tuple[int, ...]], rates: Sequence[float], dtype: torch.dtype, device: torch.device
    ) -> None:
        """Initialize all buffers with zeros.

        Args:
            shapes: shape of one member's part of each segment.
            rates: learning rate of each member.
            dtype: data type of all buffers.
            device: device of all buffers.
        """
        self._rates = tuple(rates)
        self.shapes = [(len(rates), *shape) for shape in shapes]
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
        for rate in dict.fromkeys(self._rates):
            flats = (self.values, self.gradients, self.first, self.second)
            buffers = [self._around(flat, apart) if apart else self._spans(flat, rate) for flat in flats]
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

    def _spans(self, flat: Tensor, rate: float) -> list[Tensor]:
        """The parts of a flat buffer that belong to the members with this learning rate."""
        if all(other == rate for other in self._rates):
            return [flat]
        found = []
        for own, neighbours in groupby(range(len(self._rates)), key=lambda member: self._rates[member] == rate):
            members = list(neighbours)
            if own:
                found += [segment[members[0] : members[-1] + 1].view(-1) for segment in self.segments(flat)]
        return found

    def _around(self, flat: Tensor, apart: Mapping[int, Tensor]) -> list[Tensor]:
        """Split a flat buffer into the segments whose gradients are stored elsewhere and the ranges between them."""
        found = []
        for lone, numbers in groupby(range(len(self.shapes)), key=lambda number: number if number in apart else None):
            own = list(numbers)
            piece = self.span(flat, own[0], own[-1])
            if lone is not None:
                piece = apart[lone] if flat is self.gradients else piece.view(apart[lone].shape)
            found.append(piece)
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
