"""Adapters held as rows, so that each row of a batch can have another adapter of any rank.

An adapter of rank r is r rows of A, of shape (in,) each, and r rows of B, of shape (out,) each, at the same places in
every layer. For a batch, the product x A is a sampled product: of all products of the batch's rows with all rows of A,
only those are computed that are wanted. These are the entries of a sparse matrix, whose product with all rows of B is
what the adapters add. Neither product copies an adapter.
Where a row of the batch has several tokens, all of them share its adapter: then both are products of small matrices,
for which the adapter's rows are gathered once for all tokens.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.methods.adapted import Terms

with warnings.catch_warnings():
    # torch says once per process that this layout is in beta; it is the first place that uses it.
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0], torch.zeros(0, dtype=torch.int64), torch.zeros(0), (0, 0))

FIRST_ROWS = 64
"""Number of rows that there is room for at first."""

GROWTH = 4
"""Room that is full grows by one part in so many, so that what is reserved is little more than what is used."""

ZERO = 0
"""The place whose rows are zeros: no adapter has it."""

PATTERNS = 16
"""Number of sparse matrices that are kept for the next batch of as many rows."""

UNEVEN = 4
"""Ratio of the largest rank of a batch to the mean rank, up to which smaller adapters are filled up with zeros."""


@dataclass(frozen=True, eq=False)
class Selection:
    """Which rows of a batch have an adapter, and which."""

    rows: Tensor | None
    """(k,) int64, the rows of the batch, ascending; None for all of them."""
    numbers: Sequence[int]
    """The adapter of each of these rows of the batch."""
    tokens: int
    """Rows of a layer's input per row of the batch."""
    batch: int
    """Number of rows of the batch."""
    padded: Tensor
    """(k, ranks) places of each adapter's rows, filled up with :data:`ZERO`."""
    wanted: Tensor
    """(k, places) sparse: the entries of the product with all rows of A that are computed, which are ``padded`` without
    what fills up. Each layer writes them here, so that no layer has to make a sparse tensor."""
    _spread: dict[int, Selection] = field(default_factory=dict, repr=False)

    @property
    def is_even(self) -> bool:
        """Whether the ranks are similar enough for :attr:`padded` to be small."""
        return self.padded.numel() <= UNEVEN * len(self.wanted.values())

    @cached_property
    def groups(self) -> dict[int, Tensor]:
        """The rows of the batch that have each adapter, by its number."""
        rows = range(self.batch) if self.rows is None else self.rows.tolist()
        found: dict[int, list[int]] = {}
        for row, number in zip(rows, self.numbers, strict=True):
            found.setdefault(number, []).append(row)
        return {number: torch.tensor(own) for number, own in found.items()}

    def spread(self, tokens: int) -> Selection:
        """The same for inputs that have several rows, one per token, for each row of the batch."""
        if tokens == self.tokens:
            return self
        if tokens not in self._spread:
            self._spread[tokens] = self._repeated(tokens)
        return self._spread[tokens]

    def _repeated(self, tokens: int) -> Selection:
        own = self.wanted.crow_indices()
        repeated = torch.diff(own).repeat_interleave(tokens)
        bounds = F.pad(repeated.cumsum(0), (1, 0))
        within = torch.arange(int(bounds[-1])) - bounds[:-1].repeat_interleave(repeated)
        places = self.wanted.col_indices()[own[:-1].repeat_interleave(tokens).repeat_interleave(repeated) + within]
        rows = None if self.rows is None else (self.rows[:, None] * tokens + torch.arange(tokens)).flatten()
        wanted = _wanted(bounds, places, self.wanted.shape[1])
        return Selection(rows, self.numbers, tokens, self.batch, self.padded, wanted)


class Places:
    """Where the rows of each adapter are, in every layer alike. An adapter has a number. Not thread-safe."""

    def __init__(self) -> None:
        self.count = FIRST_ROWS
        """Number of places there are."""
        self.selected: Selection | None = None
        """Adapters of the batch that is being answered; None if no row has one. Read it before the next is selected."""
        self._patterns: dict[tuple[int, int], Tensor] = {}
        """What :attr:`Selection.wanted` was for so many adapters of one rank, to be written again."""
        self._products: dict[nn.Module, Tensor] | None = None
        """What layers gave of an input that is the same for all adapters."""
        self._free = [place for place in range(FIRST_ROWS) if place != ZERO]
        self._unused = [0]
        """Numbers of no adapter."""
        self._ranks = [0]
        """By number."""
        self._table = np.full((1, 1), ZERO)
        """(numbers, ranks) places of each adapter, filled up with :data:`ZERO`."""

    def take(self, rank: int) -> tuple[int, Tensor]:
        """Find places for an adapter. Args: rank: number of places. Returns: its number, and the places."""
        if (missing := rank - len(self._free)) > 0:
            grown = self.count + max(missing, self.count // GROWTH)
            self._free += range(self.count, grown)
            self.count = grown
            self._patterns.clear()
        # Ascending, because memory is read ahead in that direction.
        places = sorted(self._free.pop() for _ in range(rank))
        if not self._unused:
            count = len(self._ranks)
            self._unused += range(count, 2 * count)
            self._ranks += [0] * count
        numbers, ranks = self._table.shape
        wider = len(self._ranks) - numbers, max(0, rank - ranks)
        if any(wider):
            self._table = np.pad(self._table, [(0, more) for more in wider], constant_values=ZERO)
        number = self._unused.pop()
        self._ranks[number], self._table[number, :rank] = rank, places
        return number, torch.tensor(places)

    def give_back(self, number: int) -> None:
        """Make the places of an adapter free."""
        self._free += self._table[number, : self._ranks[number]].tolist()
        self._table[number] = ZERO
        self._unused.append(number)

    def select(self, numbers: Sequence[int | None]) -> None:
        """Choose the adapters of the next batch. Args: numbers: of the adapter of each row; None for none."""
        own = [number for number in numbers if number is not None]
        if not own:
            self.selected = None
            return
        ranks = list(map(self._ranks.__getitem__, own))
        rank = max(ranks)
        if min(ranks) == rank:
            wanted = self._pattern(len(own), rank)
            padded = wanted.col_indices().view(len(own), rank)
            # "clip" writes to the tensor itself; all numbers are within bounds.
            np.take(self._table[:, :rank], own, 0, out=padded.numpy(), mode="clip")
        else:
            places = self._table[own, :rank]
            bounds = torch.tensor([0, *accumulate(ranks)])
            padded = torch.from_numpy(places)
            wanted = _wanted(bounds, torch.from_numpy(places[places != ZERO]), self.count)
        rows = None
        if len(own) < len(numbers):
            rows = torch.tensor([row for row, number in enumerate(numbers) if number is not None])
        self.selected = Selection(rows, own, 1, len(numbers), padded, wanted)

    def _pattern(self, rows: int, rank: int) -> Tensor:
        """A sparse matrix for so many adapters of one rank, whose places and values are any."""
        found = self._patterns.get((rows, rank))
        if found is None:
            if len(self._patterns) == PATTERNS:
                del self._patterns[next(iter(self._patterns))]
            bounds = torch.arange(0, rows * rank + 1, rank)
            found = _wanted(bounds, torch.full((rows * rank,), ZERO), self.count)
            self._patterns[rows, rank] = found
        return found

    @contextmanager
    def parallel(self) -> Iterator[None]:
        """Within it, no row has an adapter until :meth:`select` chooses one, and each layer is given the same input."""
        selected, patterns = self.selected, self._patterns
        self.selected, self._patterns, self._products = None, {}, {}
        try:
            yield
        finally:
            self.selected, self._patterns, self._products = selected, patterns, None

    def product(self, linear: nn.Linear, x: Tensor) -> Tensor:
        """What a layer of the base gives, to be changed in place."""
        if self._products is None:
            return linear(x)  # type: ignore[no-any-return]
        if linear not in self._products:
            self._products[linear] = linear(x)
        return self._products[linear].clone()


def _wanted(bounds: Tensor, columns: Tensor, places: int) -> Tensor:
    size = len(bounds) - 1, places
    return torch.sparse_csr_tensor(bounds, columns, torch.zeros(len(columns)), size, check_invariants=False)


class Rows:
    """The rows of all adapters in one layer. Not thread-safe."""

    def __init__(self, in_features: int, out_features: int) -> None:
        self._A = torch.zeros(0, in_features)
        self._B = torch.zeros(0, out_features)
        self.row_bytes = self._A.element_size() * (in_features + out_features)
        """Bytes of one row of A and one of B."""
        self._gains: dict[int, Tensor] = {}
        self._inputs: dict[int, Tensor] = {}
        self._rank = 0
        """Largest rank of an adapter here so far."""

    def put(self, number: int, places: Tensor, count: int, terms: Terms | None) -> None:
        """Hold an adapter.

        Args:
            number: of the adapter.
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
                self._gains[number] = terms.gain
            if terms.inputs is not None:
                self._inputs[number] = terms.inputs

    def drop(self, number: int) -> None:
        """Forget what an adapter has besides its rows, which the next one at its places replaces."""
        self._gains.pop(number, None)
        self._inputs.pop(number, None)

    def scaled(self, x: Tensor, selected: Selection) -> Tensor:
        """The layer's input with the rows scaled whose adapters scale it; ``x`` itself where none does.

        Args:
            x: (n, …, in) input of the layer.
            selected: which rows of the batch have which adapter.
        """
        gains = _by_row(selected, self._inputs, x.shape[-1])
        if gains is None:
            return x
        factors = 1 + gains.view(len(gains), *[1] * (x.ndim - 2), -1)
        if selected.rows is None:
            return x * factors
        return x.index_copy(0, selected.rows, x[selected.rows] * factors)

    def add(self, x: Tensor, y: Tensor, bias: Tensor | None, selected: Selection) -> None:
        """Add what the adapters contribute to the layer's output, in place; other rows of it stay bit for bit.

        Args:
            x: (n, in) input of the layer.
            y: (n, out) output of the layer without adapters.
            bias: (out,) of the layer.
            selected: which rows have which adapter.
        """
        inputs = x if selected.rows is None else x[selected.rows]
        wanted = selected.wanted
        torch.sparse.sampled_addmm(wanted, inputs, self._A.T, beta=0.0, out=wanted)
        gains = _by_row(selected, self._gains, y.shape[1])
        if gains is None and selected.rows is None:
            torch.addmm(y, wanted, self._B, out=y)
            return
        _add(y, wanted @ self._B, gains, bias, selected)

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
        gains = _by_row(selected, self._gains, y.shape[2])
        if gains is None and selected.rows is None:
            y.baddbmm_(weights, B)
            return
        _add(y, torch.bmm(weights, B), None if gains is None else gains[:, None], bias, selected)


def _add(y: Tensor, added: Tensor, gains: Tensor | None, bias: Tensor | None, selected: Selection) -> None:
    """Add what is computed for the selected rows, in place, with what their adapters scale the layer's output by."""
    if gains is not None:
        plain = y if selected.rows is None else y[selected.rows]
        added += gains * (plain if bias is None else plain - bias)
    if selected.rows is None:
        y += added
    else:
        y.index_add_(0, selected.rows, added)


def _by_row(selected: Selection, known: Mapping[int, Tensor], width: int) -> Tensor | None:
    """(k, width) the vector of each row's adapter, zeros for one that has none; None if none has one."""
    if not known or not any(number in known for number in selected.numbers):
        return None
    none = torch.zeros(width)
    found = torch.stack([known.get(number, none) for number in selected.numbers])
    return found if selected.tokens == 1 else found.repeat_interleave(selected.tokens, 0)
