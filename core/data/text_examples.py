"""Labelled texts as tokens: flat, with the position at which each text begins, so that no padding is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from core.data.examples import Batch, Examples

BATCHES_SORTED = 50
"""Batches of training texts that are sorted by length together: enough that little is padded, few enough that batches
remain random."""


@dataclass(frozen=True, eq=False)
class TextExamples(Examples):
    """Texts as token ids. A batch is padded on the right, to its longest text."""

    tokens: Tensor
    """(t,) int32: the tokens of all texts, one text after the other."""
    offsets: Tensor
    """(n + 1,) int64: text i has ``tokens[offsets[i]:offsets[i + 1]]``."""
    labels: Tensor
    padding: int
    """The token that fills up shorter texts."""
    longest: int
    """Tokens of the longest text."""

    @classmethod
    def of(cls, texts: Sequence[Sequence[int]], labels: Tensor, padding: int) -> Self:
        """Pack texts.

        Args:
            texts: token ids of each, at least one.
            labels: (n,) int64 labels, or float32 numbers.
            padding: the token that fills up shorter texts.
        """
        lengths = torch.tensor([0, *map(len, texts)], dtype=torch.int64)
        flat = torch.tensor([token for text in texts for token in text], dtype=torch.int32)
        return cls(flat, lengths.cumsum(0), labels, padding, int(lengths.max()))

    @classmethod
    def random(
        cls, count: int, length: int, vocabulary: int, padding: int, classes: int, generator: torch.Generator | None
    ) -> Self:
        """Texts of equal length with random tokens, none of them padding, and random labels.

        Args:
            count: number of texts.
            length: tokens of each.
            vocabulary: number of tokens to draw from.
            padding: the token that pads.
            classes: number of labels.
            generator: random number generator; None makes them on the ``meta`` device, with shapes only.
        """
        device = generator.device if generator else "meta"
        others = max(vocabulary - 1, 1)
        tokens = torch.randint(others, (count * length,), generator=generator, device=device, dtype=torch.int32)
        tokens = tokens + (tokens >= padding) if vocabulary > 1 else tokens
        labels = torch.randint(classes, (count,), generator=generator, device=device)
        offsets = torch.arange(0, count * length + 1, max(length, 1), device=device)
        return cls(tokens.int(), offsets, labels, padding, length)

    @property
    def lengths(self) -> Tensor:
        """(n,) int64: tokens of each text."""
        return self.offsets.diff()

    def batch(self, rows: Tensor | slice) -> Batch:
        """``input_ids`` and ``attention_mask`` (1 for a token, 0 for padding), (k, tokens of the longest one) int64; on
        the ``meta`` device ``input_ids`` alone, as long as the longest text of all.
        """
        starts, ends = self.offsets[:-1][rows], self.offsets[1:][rows]
        if self.tokens.is_meta:
            # Without values there is no padding to hide, and transformers looks into the values of a mask.
            return {"input_ids": torch.empty(len(starts), self.longest, dtype=torch.int64, device="meta")}
        width = int((ends - starts).max()) if len(starts) else 0
        positions = starts[:, None] + torch.arange(width, device=self.device)
        inside = positions < ends[:, None]
        ids = self.tokens[positions.clamp_max(max(len(self.tokens) - 1, 0))].long()
        return {"input_ids": ids.masked_fill(~inside, self.padding), "attention_mask": inside.long()}

    def tensors(self) -> list[Tensor]:
        return [self.tokens, self.offsets, self.labels]

    def to(self, device: torch.device | str) -> Self:
        tokens, offsets, labels = (tensor.to(device) for tensor in self.tensors())
        return type(self)(tokens, offsets, labels, self.padding, self.longest)

    def first(self, count: int) -> Self:
        return type(self)(self.tokens, self.offsets[: count + 1], self.labels[:count], self.padding, self.longest)

    def at(self, rows: Tensor) -> Self:
        texts = [self.tokens[self.offsets[row] : self.offsets[row + 1]].tolist() for row in rows.tolist()]
        return self.of(texts, self.labels[rows].cpu(), self.padding).to(self.device)

    def batched(self, order: Tensor, batch_size: int, epoch: int = 0) -> Tensor:
        """Texts of similar length in one batch; which texts these are remains random.

        The batches of an epoch come in an order of lengths that is random, but the same for every random order of the
        texts: runs that train side by side, and wait for each other, then have batches of equal length at each step.
        """
        whole = len(order) // batch_size * batch_size
        lengths = self.lengths.to(order.device)
        sorted_ = [
            part[lengths[part].argsort(stable=True)] for part in torch.split(order[:whole], BATCHES_SORTED * batch_size)
        ]
        batches = torch.cat([*sorted_, order[whole:whole]]).view(-1, batch_size)
        shuffled = torch.randperm(len(batches), generator=torch.Generator().manual_seed(epoch))
        return torch.cat([batches[shuffled.to(order.device)].reshape(-1), order[whole:]])

    def by_length(self) -> Tensor:
        return self.lengths.argsort(stable=True)
