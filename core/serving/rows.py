"""Adapters held as rows, so that each row of a batch can have another adapter of any rank.

An adapter of rank r is r rows of A, of shape (in,) each, and r rows of B, of shape (out,) each, at the same places in
every layer. For a batch, the product x A is a sampled product: of all products of the batch's rows with all rows of A,
only those are computed that are wanted. The product with B is a weighted sum of rows of B. Neither copies an adapter.
Where a row of the batch has several tokens, all of them share its adapter: then both are products of small matrices,
for which the adapter's rows are gathered once for all tokens.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional as F

with warnings.catch_warnings():
    # torch says once per process that this layout is in beta; it is the first place that uses it.
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0], torch.zeros(0, dtype=torch.int64), torch.zeros(0), (0, 0))

FIRST_ROWS = 64
"""Number of rows that there is room for at first; the room is doubled when it is full."""

ZERO = 0
"""The place whose rows are zeros: no adapter has it."""

UNEVEN = 4
"""Ratio of the largest rank of a batch to the mean rank, up to which smaller adapters are filled up with zeros."""


@dataclass(frozen=True, eq=False)
class Terms:
    """What an adapter adds to the output y of a layer with bias b: (x A) B, ``gain`` times y - b, and ``shift``."""

    A: Tensor
    """(r, in)."""
    B: Tensor
    """(r, out), with the adapter's factor."""
    gain: Tensor | None = None
    """(out,); None for zero."""
    shift: Tensor | None = None
    """(out,), added to the output; None for zero."""

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in (self.A, self.B, self.gain, self.shift) if tensor is not None)


@dataclass(frozen=True, eq=False)
class Selection:
    """Which rows of a batch have an adapter, and which."""

    rows: Tensor | None
    """(k,) int64, the rows of the batch, ascending; None for all of them."""
    names: tuple[str, ...]
    """The adapter of each of these rows of the batch."""
    tokens: int
    """Rows of a layer's input per row of the batch."""
    batch: int
    """Number of rows of the batch."""
    padded: Tensor
    """(k, ranks) places of each adapter's rows, filled up with :data:`ZERO`."""
    columns: Tensor
    """The same places without those that fill up, one row of the batch after another."""
    starts: Tensor
    """(k,) int64: where in ``columns`` each row of the batch begins."""
    wanted: Tensor
    """(k, places) sparse: the entries of the product with all rows of A that are computed."""
    _spread: dict[int, Selection] = field(default_factory=dict, repr=False)

    @property
    def is_even(self) -> bool:
        """Whether the ranks are similar enough for :attr:`padded` to be small."""
        return self.padded.numel() <= UNEVEN * len(self.columns)

    def spread(self, tokens: int) -> Selection:
        """The same for inputs that have several rows, one per token, for each row of the batch."""
        if tokens == self.tokens:
            return self
        if tokens not in self._spread:
            self._spread[tokens] = self._repeated(tokens)
        return self._spread[tokens]

    def _repeated(self, tokens: int) -> Selection:
        counts = torch.diff(self.wanted.crow_indices())
        repeated = counts.repeat_interleave(tokens)
        bounds = F.pad(repeated.cumsum(0), (1, 0))
        within = torch.arange(int(bounds[-1])) - bounds[:-1].repeat_interleave(repeated)
        columns = self.columns[self.starts.repeat_interleave(tokens).repeat_interleave(repeated) + within]
        rows = None if self.rows is None else (self.rows[:, None] * tokens + torch.arange(tokens)).flatten()
        wanted = _wanted(bounds, columns, self.wanted.shape[1])
        return Selection(rows, self.names, tokens, self.batch, self.padded, columns, bounds[:-1], wanted)


class Places:
    """Where the rows of each adapter are, in every layer alike. Not thread-safe."""

    def __init__(self) -> None:
        self.count = FIRST_ROWS
        """Number of places there are."""
        self.selected: Selection | None = None
        """Adapters of the batch that is being answered; None if no row has one."""
        self._free = [place for place in range(FIRST_ROWS) if place != ZERO]
        self._numbers: dict[str, int] = {}
        """Of each adapter."""
        self._unused = [0]
        """Numbers of no adapter."""
        self._ranks = [0]
        """By number."""
        self._table = torch.full((1, 1), ZERO)
        """(numbers, ranks) places of each adapter, filled up with :data:`ZERO`."""

    def take(self, name: str, rank: int) -> Tensor:
        """Find places for an adapter. Args: name: of its own; rank: number of places."""
        while len(self._free) < rank:
            self._free += range(self.count, 2 * self.count)
            self.count *= 2
        # Ascending, because memory is read ahead in that direction.
        places = torch.tensor(sorted(self._free.pop() for _ in range(rank)))
        if not self._unused:
            count = len(self._ranks)
            self._unused += range(count, 2 * count)
            self._ranks += [0] * count
            self._table = F.pad(self._table, (0, 0, 0, count), value=ZERO)
        if rank > self._table.shape[1]:
            self._table = F.pad(self._table, (0, rank - self._table.shape[1]), value=ZERO)
        number = self._unused.pop()
        self._numbers[name], self._ranks[number], self._table[number, :rank] = number, rank, places
        return places

    def give_back(self, name: str) -> None:
        """Make the places of an adapter free."""
        number = self._numbers.pop(name)
        self._free += self._table[number, : self._ranks[number]].tolist()
        self._table[number] = ZERO
        self._unused.append(number)

    def select(self, adapters: Sequence[str | None]) -> None:
        """Choose the adapters of the next batch. Args: adapters: of each row."""
        names = tuple(name for name in adapters if name is not None)
        if not names:
            self.selected = None
            return
        numbers = [self._numbers[name] for name in names]
        ranks = [self._ranks[number] for number in numbers]
        padded = self._table.index_select(0, torch.tensor(numbers))[:, : max(ranks)]
        if min(ranks) == max(ranks):
            columns, bounds = padded.flatten(), torch.arange(0, padded.numel() + 1, ranks[0])
        else:
            columns, bounds = padded[padded != ZERO], torch.tensor([0, *accumulate(ranks)])
        wanted, rows = _wanted(bounds, columns, self.count), None
        if len(names) < len(adapters):
            rows = torch.tensor([row for row, name in enumerate(adapters) if name is not None])
        self.selected = Selection(rows, names, 1, len(adapters), padded, columns, bounds[:-1], wanted)


def _wanted(bounds: Tensor, columns: Tensor, places: int) -> Tensor:
    size = len(bounds) - 1, places
    return torch.sparse_csr_tensor(bounds, columns, torch.zeros(len(columns)), size, check_invariants=False)


class Rows:
    """The rows of all adapters in one layer. Not thread-safe."""

    def __init__(self, in_features: int, out_features: int) -> None:
        self._A = torch.zeros(0, in_features)
        self._B = torch.zeros(0, out_features)
        self._gains: dict[str, Tensor] = {}
        self._shifts: dict[str, Tensor] = {}
        self._rank = 0
        """Largest rank of an adapter here so far."""

    def put(self, name: str, places: Tensor, count: int, terms: Terms | None) -> None:
        """Hold an adapter.

        Args:
            name: of the adapter.
            places: of its rows, at least as many as it has in this layer; the others stay zero.
            count: number of places there are.
            terms: what it adds in this layer; None for nothing.
        """
        if missing := count - len(self._A):
            self._A = torch.cat([self._A, torch.zeros(missing, self._A.shape[1])])
            self._B = torch.cat([self._B, torch.zeros(missing, self._B.shape[1])])
        self._A[places], self._B[places] = 0.0, 0.0
        if terms is not None:
            own = places[: len(terms.A)]
            self._A[own], self._B[own] = terms.A, terms.B
            self._rank = max(self._rank, len(own))
            if terms.gain is not None:
                self._gains[name] = terms.gain
            if terms.shift is not None:
                self._shifts[name] = terms.shift

    def drop(self, name: str) -> None:
        """Forget what an adapter has besides its rows, which the next one at its places replaces."""
        self._gains.pop(name, None)
        self._shifts.pop(name, None)

    def add(self, x: Tensor, y: Tensor, bias: Tensor | None, selected: Selection) -> None:
        """Add what the adapters contribute to the layer's output, in place; other rows of it stay bit for bit.

        Args:
            x: (n, in) input of the layer.
            y: (n, out) output of the layer without adapters.
            bias: (out,) of the layer.
            selected: which rows have which adapter.
        """
        inputs = x if selected.rows is None else x[selected.rows]
        weights = torch.sparse.sampled_addmm(selected.wanted, inputs, self._A.T, beta=0.0).values()
        added = F.embedding_bag(selected.columns, self._B, selected.starts, mode="sum", per_sample_weights=weights)
        if (gains := _by_row(selected, self._gains, y.shape[1])) is not None:
            plain = y if selected.rows is None else y[selected.rows]
            added += gains * (plain if bias is None else plain - bias)
        if (shifts := _by_row(selected, self._shifts, y.shape[1])) is not None:
            added += shifts
        if selected.rows is None:
            y += added
        else:
            y.index_add_(0, selected.rows, added)

    def add_tokens(self, x: Tensor, y: Tensor, bias: Tensor | None, selected: Selection) -> None:
        """The same where a row of the batch has several tokens.

        Args:
            x: (n, tokens, in) input of the layer.
            y: (n, tokens, out) output of the layer without adapters.
            bias: (out,) of the layer.
            selected: which rows of the batch have which adapter.
        """
        inputs = x if selected.rows is None else x[selected.rows]
        places = selected.padded[:, : self._rank]
        A, B = F.embedding(places, self._A), F.embedding(places, self._B)
        weights = torch.bmm(A, inputs.transpose(1, 2)).transpose(1, 2)  # this order takes less time
        gains, shifts = (_by_row(selected, known, y.shape[2]) for known in (self._gains, self._shifts))
        if gains is None and shifts is None and selected.rows is None:
            y.baddbmm_(weights, B)
            return
        added = torch.bmm(weights, B)
        if gains is not None:
            plain = y if selected.rows is None else y[selected.rows]
            added += gains[:, None] * (plain if bias is None else plain - bias)
        if shifts is not None:
            added += shifts[:, None]
        if selected.rows is None:
            y += added
        else:
            y.index_add_(0, selected.rows, added)


def _by_row(selected: Selection, known: Mapping[str, Tensor], width: int) -> Tensor | None:
    """(k, width) the vector of each row's adapter, zeros for one that has none; None if none has one."""
    if not known or not any(name in known for name in selected.names):
        return None
    none = torch.zeros(width)
    found = torch.stack([known.get(name, none) for name in selected.names])
    return found if selected.tokens == 1 else found.repeat_interleave(selected.tokens, 0)
