"""Train only those rows of an embedding of words that the training texts have.

A row whose token no text has gets no gradient: Adam leaves it as it is, and decay of weights shrinks it by a factor
that follows from the rates alone. In a vocabulary of 30,000 that is most rows, and the update of the embedding takes
more time than any other. The rows that occur are trained as a parameter of their own, and written back when the
network's weights are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.data.task import Task
from core.data.text_examples import TextExamples

MAX_SHARE = 0.9
"""Share of rows that occur, above which all are trained."""


class TrainedRows:
    """The rows of an embedding that occur in the training texts."""

    def __init__(self, embedding: nn.Embedding, rows: Tensor, decays: bool) -> None:
        """Args:
        embedding: the module; its weight is trained.
        rows: (n,) int64, sorted: the rows that occur.
        decays: whether the other rows shrink.
        """
        self.embedding, self.rows = embedding, rows
        weight = embedding.weight.detach()
        self.weight = nn.Parameter(weight[rows])
        """(n, features): the rows, as they are trained."""
        self._places = torch.zeros(len(weight), dtype=torch.int64, device=weight.device)
        self._places[rows] = torch.arange(len(rows), device=weight.device)
        others = torch.ones(len(weight), dtype=torch.bool, device=weight.device)
        others[rows] = False
        self._others = others.nonzero().flatten()
        self._start = weight[self._others] if decays else None

    @classmethod
    def of(cls, network: nn.Module, task: Task, decays: bool) -> Self | None:
        """The rows that a task trains; None if that is not less than the whole embedding.

        Args:
            network: the network.
            task: the task.
            decays: whether weights decay.
        """
        embedding = _words(network)
        if embedding is None or not isinstance(task.train, TextExamples) or task.train.tokens.is_meta:
            return None
        padding = task.train.tokens.new_tensor([task.train.padding])
        rows = torch.unique(torch.cat([task.train.tokens, padding])).long()
        if not _pays(embedding, len(rows)):
            return None
        return cls(embedding, rows, decays)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Let the embedding compute with the rows as they are trained."""
        padding = self.embedding.padding_idx
        place = None if padding is None else int(self._places[padding])

        def forward(ids: Tensor) -> Tensor:
            return F.embedding(self._places[ids], self.weight, place)

        self.embedding.__dict__["forward"] = forward
        try:
            yield
        finally:
            del self.embedding.__dict__["forward"]

    @torch.no_grad()
    def write_back(self, shrunk: float) -> None:
        """Write the rows into the embedding's weight.

        Args:
            shrunk: what decay has left of a weight that had no gradient, as a factor.
        """
        self.embedding.weight.index_copy_(0, self.rows, self.weight.detach())
        if self._start is not None:
            self.embedding.weight.index_copy_(0, self._others, self._start * shrunk)

    @torch.no_grad()
    def read_back(self) -> None:
        """Read the rows from the embedding's weight."""
        self.weight.copy_(self.embedding.weight[self.rows])

    def whole(self, moments: Tensor) -> Tensor:
        """Moments of the whole weight from those of the rows; the others have none."""
        return torch.zeros_like(self.embedding.weight).index_copy_(0, self.rows, moments)


def unused_rows(network: nn.Module, words: int) -> int:
    """Number of weights in the rows of a trained embedding that are not trained, if the texts have so many words."""
    embedding = _words(network) if words else None
    if embedding is None or not _pays(embedding, words):
        return 0
    return (len(embedding.weight) - words) * embedding.embedding_dim


def _pays(embedding: nn.Embedding, words: int) -> bool:
    """Whether training so many rows takes less than training all."""
    return words <= MAX_SHARE * len(embedding.weight)


def _words(network: nn.Module) -> nn.Embedding | None:
    """The trained embedding of words, if it is a plain one whose weight nothing else uses."""
    inputs: Callable[[], Any] | None = getattr(network, "get_input_embeddings", None)
    found = inputs() if callable(inputs) else None
    if type(found) is not nn.Embedding or not found.weight.requires_grad:
        return None
    if found.max_norm is not None or found.scale_grad_by_freq or found.sparse:
        return None
    users = [module for module in network.modules() if any(p is found.weight for p in module.parameters(False))]
    return found if users == [found] else None
