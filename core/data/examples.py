"""Examples as tensors: the rows that a network is trained or evaluated on; a task has those of three parts.

Labelled ones of any kind; labelled texts as tokens, one after the other with the position at which each begins, so that
no padding is stored; and passages, tokens of which some are scored.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import torch
from torch import Tensor

from core.data.task_spec import TaskSpec
from core.errors import DatasetError

Batch = dict[str, Tensor]
"""Inputs of a network by name, such as ``pixels``; the first dimension of each tensor counts the examples."""


def shapes_of(batch: Batch) -> dict[str, tuple[int, ...]]:
    """Shape of each input of one example, by its name."""
    return {name: tuple(tensor.shape[1:]) for name, tensor in batch.items()}


class Examples(ABC):
    """Labelled examples that can be batched."""

    labels: Tensor
    """(n,) int64 labels, or float32 numbers in a task without classes."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        """The device that they are on."""
        return self.labels.device

    @abstractmethod
    def batch(self, rows: Tensor | slice) -> Batch:
        """The inputs of some examples, on their device. Args: rows: (k,) int64 indices, or a slice."""

    @abstractmethod
    def tensors(self) -> list[Tensor]:
        """Every tensor that they consist of, labels included."""

    @abstractmethod
    def to(self, device: torch.device | str) -> Self:
        """The same examples on another device; tensors that are already on it are shared."""

    @abstractmethod
    def first(self, count: int) -> Self:
        """The first examples, or all of them if there are not so many; their tensors are shared."""

    @abstractmethod
    def at(self, rows: Tensor) -> Self:
        """Some examples, copied; ``rows`` are (k,) int64 indices, at least one."""

    def with_targets(self, labels: Tensor) -> Self:
        """The same examples with other targets, (n,); the other tensors are shared."""
        return replace(self, labels=labels)  # type: ignore[type-var]  # every kind of examples is a dataclass

    def batched(self, order: Tensor, batch_size: int, epoch: int = 0) -> Tensor:
        """The order of training examples in one epoch, where batches are not to be cut from a random order as it is.

        Args:
            order: (n,) int64, a random order of all examples.
            batch_size: examples per batch; the last batch may have fewer.
            epoch: number of the epoch.
        """
        return order

    def by_length(self) -> Tensor | None:
        """(n,) int64: an order in which neighbours are of similar length; None if all examples are of one length."""
        return None

    def all_pixels(self) -> Tensor:
        """The inputs of all examples at once, (n, pixels) float32, for networks that take nothing but pixels.

        Raises:
            DatasetError: these examples are not images.
        """
        raise DatasetError("These examples are not images: choose a network for their kind of data.")


@dataclass(frozen=True, eq=False)
class ImageExamples(Examples):
    """Images as rows of values from 0 to 1."""

    pixels: Tensor
    """(n, pixels) float32."""
    labels: Tensor

    @classmethod
    def random(cls, count: int, pixels: int, num_classes: int, generator: torch.Generator | None) -> Self:
        """Noise with random labels.

        Args:
            count: number of images.
            pixels: number of pixels per image.
            num_classes: number of labels.
            generator: random number generator; None makes them on the ``meta`` device, with shapes only.
        """
        device = generator.device if generator else "meta"
        return cls(
            torch.rand(count, pixels, generator=generator, device=device),
            torch.randint(num_classes, (count,), generator=generator, device=device),
        )

    def batch(self, rows: Tensor | slice) -> Batch:
        return {"pixels": self.pixels[rows]}

    def tensors(self) -> list[Tensor]:
        return [self.pixels, self.labels]

    def to(self, device: torch.device | str) -> Self:
        return type(self)(self.pixels.to(device), self.labels.to(device))

    def first(self, count: int) -> Self:
        return type(self)(self.pixels[:count], self.labels[:count])

    def at(self, rows: Tensor) -> Self:
        return type(self)(self.pixels[rows], self.labels[rows])

    def all_pixels(self) -> Tensor:
        return self.pixels


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


EvaluationPart = Literal["validation", "test"]
"""The parts that are not trained on: one to choose settings by, one to report."""


@dataclass(frozen=True, eq=False)
class Task:
    """Examples to train on, to validate with and to test with."""

    spec: TaskSpec
    classes: tuple[int, ...]
    """Labels that occur, sorted; they keep the dataset's numbers. Empty without classes."""
    class_names: tuple[str, ...]
    """Name of each label of the dataset, including labels left out: ``class_names[label]``."""
    train: Examples
    validation: Examples
    test: Examples

    @classmethod
    def of_one_part(cls, examples: Examples, num_classes: int) -> Task:
        """A task of no dataset, with the same examples in each part, to time or count what training takes."""
        return cls(TaskSpec.of(), tuple(range(num_classes)), (), examples, examples, examples)

    @property
    def num_train(self) -> int:
        """Number of training examples."""
        return len(self.train)

    @property
    def device(self) -> torch.device:
        """The device that its examples are on."""
        return self.train.device

    def part(self, name: EvaluationPart) -> Examples:
        """The examples of one part."""
        return self.test if name == "test" else self.validation

    def tensors(self) -> list[Tensor]:
        """Every tensor of its examples."""
        return [tensor for part in (self.train, self.validation, self.test) for tensor in part.tensors()]

    def to(self, device: torch.device | str) -> Task:
        """The same task on another device; tensors already on it are shared."""
        return replace(
            self, train=self.train.to(device), validation=self.validation.to(device), test=self.test.to(device)
        )
