"""Passages as tokens, with those that are scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from core.data.examples import Batch
from core.data.text_examples import TextExamples

SCORED = "scored"
"""Name in a batch of what says which tokens are scored, beside the inputs of the network."""


@dataclass(frozen=True, eq=False)
class LanguageExamples(TextExamples):
    """Texts as token ids of which some are scored. Labels are (n, 2) float32: scored tokens, and their bytes."""

    scored: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))
    """(t,) bool: whether each of :attr:`tokens` is scored; the first token of a text never is, since none precedes."""

    @classmethod
    def of_passages(
        cls, texts: Sequence[Sequence[int]], scored: Sequence[Sequence[bool]], sizes: Sequence[int], padding: int
    ) -> Self:
        """Pack passages.

        Args:
            texts: token ids of each, at least one.
            scored: for each of these whether it is scored.
            sizes: bytes of UTF-8 that the scored tokens of each stand for.
            padding: the token that fills up shorter texts.
        """
        flat = torch.tensor([each for text in scored for each in text], dtype=torch.bool)
        counts = [sum(text) for text in scored]
        labels = torch.tensor([counts, sizes], dtype=torch.float32).T.contiguous()
        return replace(cls.of(texts, labels, padding), scored=flat)

    @classmethod
    def random(
        cls, count: int, length: int, vocabulary: int, padding: int, classes: int, generator: torch.Generator | None
    ) -> Self:
        """Texts of equal length with random tokens, all but the first of which are scored; see the base class."""
        made = super().random(count, length, vocabulary, padding, classes, generator)
        device = made.tokens.device
        labels = torch.full((count, 2), float(length - 1), device=device)
        scored = torch.ones(count * length, dtype=torch.bool, device=device)
        scored.view(count, length)[:, 0] = False
        return replace(made, labels=labels, scored=scored)

    def batch(self, rows: Tensor | slice) -> Batch:
        """The inputs of the network, and :data:`SCORED`, (k, tokens of the longest text) bool."""
        inputs = super().batch(rows)
        ids = inputs["input_ids"]
        if self.tokens.is_meta:
            return {**inputs, SCORED: torch.ones_like(ids, dtype=torch.bool)}
        places = self.offsets[:-1][rows][:, None] + torch.arange(ids.shape[1], device=self.device)
        flags = self.scored[places.clamp_max(max(len(self.tokens) - 1, 0))]
        return {**inputs, SCORED: flags & inputs["attention_mask"].bool()}

    def tensors(self) -> list[Tensor]:
        return [*super().tensors(), self.scored]

    def to(self, device: torch.device | str) -> Self:
        tokens, offsets, labels, scored = (tensor.to(device) for tensor in self.tensors())
        return replace(self, tokens=tokens, offsets=offsets, labels=labels, scored=scored)

    def first(self, count: int) -> Self:
        return replace(self, offsets=self.offsets[: count + 1], labels=self.labels[:count])

    def at(self, rows: Tensor) -> Self:
        spans = [self.offsets[row : row + 2].tolist() for row in rows.tolist()]
        texts, scored = ([tensor[slice(*span)].tolist() for span in spans] for tensor in (self.tokens, self.scored))
        sizes = self.labels[rows][:, 1].int().tolist()
        return self.of_passages(texts, scored, sizes, self.padding).to(self.device)
