"""The inputs of rows: pixels, or texts as the tokens of their network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.data.examples import Batch
from core.data.text_examples import TextExamples
from core.errors import ServingError
from core.networks.network import NetworkSpec
from core.serving.request import Row
from core.tasks.views.view import TextTokenizer


@dataclass(frozen=True, eq=False)
class Images:
    """Rows of pixels."""

    pixels: Tensor
    """(n, pixels)."""

    @staticmethod
    def joined(parts: Sequence[Images]) -> Batch:
        """One batch of several requests."""
        return {"pixels": torch.cat([part.pixels for part in parts])}


@dataclass(frozen=True, eq=False)
class Texts:
    """Rows of tokens."""

    tokens: tuple[list[int], ...]
    padding: int
    """The token that fills up shorter texts."""

    @staticmethod
    def joined(parts: Sequence[Texts]) -> Batch:
        """One batch of several requests, padded to the longest text."""
        tokens = [own for part in parts for own in part.tokens]
        labels = torch.zeros(len(tokens), dtype=torch.int64)
        return TextExamples.of(tokens, labels, parts[0].padding).batch(slice(None))


Inputs = Images | Texts

TokenizerOf = Callable[[str], TextTokenizer]
"""Gives the tokenizer of texts of a network that somebody imported, by its digest."""


def read_images(rows: Sequence[Row], lengths: Sequence[int], network: NetworkSpec, tokenizer: TokenizerOf) -> Images:
    """Rows of a network that reads images. Raises: ServingError, SpecError: a row has no pixels, or too many or few."""
    given = [row.pixels for row in rows if row.pixels is not None]
    if len(given) < len(rows):
        raise ServingError("This base reads images: give each row its pixels.")
    for size in {len(pixels) for pixels in given}:
        network.check_fit("this request", {"pixels": (size,)}, [0])
    return Images(torch.stack([torch.frombuffer(pixels, dtype=torch.float32) for pixels in given]))


def read_texts(rows: Sequence[Row], lengths: Sequence[int], network: NetworkSpec, tokenizer: TokenizerOf) -> Texts:
    """Rows of a network that reads texts, cut at the length that each adapter was trained with.

    Raises:
        ServingError: a row has no text.
        NetworkFileError: the tokenizer is gone or damaged.
    """
    given = [row.text for row in rows if row.text is not None]
    if len(given) < len(rows) or network.brought is None:
        raise ServingError("This base reads texts: give each row its text.")
    own = tokenizer(network.brought)
    tokens = tuple(own.encode([text], length)[0] for text, length in zip(given, lengths, strict=True))
    return Texts(tokens, own.padding)


READ: dict[str, Callable[[Sequence[Row], Sequence[int], NetworkSpec, TokenizerOf], Inputs]] = {
    "image": read_images,
    "text": read_texts,
}
"""By what a network learns: rows, the maximum number of tokens of each, the network, and tokenizers to inputs."""
