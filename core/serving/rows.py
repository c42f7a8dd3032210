"""The adapters of one layer, held as rows, so that each row of a batch can have another adapter of any rank.

An adapter of rank r is r rows of A, of shape (in,) each, and r rows of B, of shape (out,) each. For a batch, the
product x A is a sampled product: of all products of the batch's rows with all rows of A, only those are computed that
are wanted. The product with B is a weighted sum of rows of B. Neither copies an adapter.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import torch
from torch import Tensor
from torch.nn import functional as F

with warnings.catch_warnings():
    # torch says once per process that this layout is in beta; it is the first place that uses it.
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0], torch.zeros(0, dtype=torch.int64), torch.zeros(0), (0, 0))

FIRST_ROWS = 64
"""Number of rows that there is room for at first; the room is doubled when it is full."""


@dataclass(frozen=True, eq=False)
class Terms:
    """What an adapter adds to the output y of a layer with bias b: (x A) B, and ``gain`` times y - b."""

    A: Tensor
    """(r, in)."""
    B: Tensor
    """(r, out), with the adapter's factor."""
    gain: Tensor | None = None
    """(out,); None for zero."""

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return self.A.nbytes + self.B.nbytes + (self.gain.nbytes if self.gain is not None else 0)


@dataclass(frozen=True, eq=False)
class Selection:
    """Which rows of a batch have an adapter in a layer, and which."""

    rows: Tensor | None
    """(k,) int64, the rows of the batch, ascending; None for all of them."""
    columns: Tensor
    """Places of the adapters' rows, one row of the batch after another."""
    starts: Tensor
    """(k + 1,) int64: where in ``columns`` each row begins."""
    gains: Tensor | None
    """(k, out), or None where no adapter has a gain."""


class Rows:
    """The rows of all adapters of one layer. Not thread-safe."""

    def __init__(self, in_features: int, out_features: int) -> None:
        self.A = torch.zeros(0, in_features)
        self.B = torch.zeros(0, out_features)
        self._free: list[int] = []
        self._places: dict[str, list[int]] = {}
        """Places of each adapter's rows."""
        self._gains: dict[str, Tensor] = {}

    def put(self, key: str, terms: Terms) -> None:
        """Hold an adapter. Args: key: a name of its own; terms: of this layer."""
        rank = len(terms.A)
        while len(self._free) < rank:
            self._grow()
        places = [self._free.pop() for _ in range(rank)]
        self.A[places], self.B[places] = terms.A, terms.B
        self._places[key] = places
        if terms.gain is not None:
            self._gains[key] = terms.gain

    def drop(self, key: str) -> None:
        """Forget an adapter; nothing happens if this layer has none of this name."""
        places = self._places.pop(key, None)
        self._gains.pop(key, None)
        if places is not None:
            self._free += places

    def select(self, keys: Sequence[str | None]) -> Selection | None:
        """Find the adapters of a batch. Args: keys: of each row. Returns: None if no row has one in this layer."""
        rows = [row for row, key in enumerate(keys) if key in self._places]
        if not rows:
            return None
        places = [self._places[str(keys[row])] for row in rows]
        starts = torch.tensor([0, *accumulate(map(len, places))])
        gains = None
        if self._gains:
            none = torch.zeros(self.B.shape[1])
            gains = torch.stack([self._gains.get(str(keys[row]), none) for row in rows])
        everything = len(rows) == len(keys)
        return Selection(None if everything else torch.tensor(rows), torch.tensor(list(chain(*places))), starts, gains)

    def add(self, x: Tensor, y: Tensor, bias: Tensor | None, selected: Selection) -> None:
        """Add what the adapters contribute to the layer's output, in place; other rows of it stay bit for bit.

        Args:
            x: (n, in) input of the layer.
            y: (n, out) output of the layer without adapters.
            bias: (out,) of the layer.
            selected: which rows have which adapter.
        """
        inputs = x if selected.rows is None else x[selected.rows]
        shape = (len(inputs), len(self.A))
        wanted = torch.sparse_csr_tensor(
            selected.starts, selected.columns, torch.zeros(len(selected.columns)), shape, check_invariants=False
        )
        weights = torch.sparse.sampled_addmm(wanted, inputs, self.A.T, beta=0.0).values()
        added = F.embedding_bag(selected.columns, self.B, selected.starts[:-1], mode="sum", per_sample_weights=weights)
        if selected.gains is not None:
            plain = y if selected.rows is None else y[selected.rows]
            added += selected.gains * (plain if bias is None else plain - bias)
        if selected.rows is None:
            y += added
        else:
            y.index_add_(0, selected.rows, added)

    def _grow(self) -> None:
        before = len(self.A)
        room = max(FIRST_ROWS, before)
        self.A = torch.cat([self.A, torch.zeros(room, self.A.shape[1])])
        self.B = torch.cat([self.B, torch.zeros(room, self.B.shape[1])])
        self._free += range(before, before + room)
