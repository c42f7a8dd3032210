"""The inputs of rows: pixels, or texts as the tokens of their network, which may be scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.data.dataset import LANGUAGE
from core.data.examples import Batch
from core.data.language_examples import SCORED, LanguageExamples
from core.data.text_examples import TextExamples
from core.errors import ServingError
from core.networks.network import NetworkSpec
from core.serving.given import Given, own_passage
from core.serving.request import Row, ScoresResponse
from core.tasks.views.view import TextTokenizer

MAX_SCORED = 2**18
"""Maximum number of tokens of a request whose texts are scored token by token: an answer of some 10 MB."""


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


@dataclass(frozen=True, eq=False)
class Passages:
    """Texts to continue."""

    rows: tuple[Given, ...]
    tokenizer: TextTokenizer

    @staticmethod
    def joined(parts: Sequence[Passages]) -> Batch:
        """One batch of several requests, padded to the longest text."""
        batches = [row.batch for part in parts for row in part.rows]
        ids, scored = ([batch[name][0].tolist() for batch in batches] for name in ("input_ids", SCORED))
        sizes = [0] * len(batches)  # each row has its own
        return LanguageExamples.of_passages(ids, scored, sizes, parts[0].tokenizer.padding).batch(slice(None))

    def response(self, nats: Tensor) -> ScoresResponse:
        """The answer. Args: nats: (n, tokens) of :func:`core.networks.scoring.token_nats`."""
        return ScoresResponse([row.scored_by(own, self.tokenizer) for row, own in zip(self.rows, nats, strict=True)])


Inputs = Images | Texts | Passages

TokenizerOf = Callable[[NetworkSpec], TextTokenizer]
"""Gives the tokenizer of texts of a network."""


def read_images(rows: Sequence[Row], lengths: Sequence[int], network: NetworkSpec, tokenizer: TokenizerOf) -> Images:
    """Rows of a network that reads images. Raises: ServingError, SpecError: a row has no pixels, or too many or few."""
    _check_no_prompts(rows)
    given = [row.pixels for row in rows if row.pixels is not None]
    if len(given) < len(rows):
        raise ServingError('This base reads images: give each row its pixels, as in {"rows": [{"pixels": [0.5, …]}]}.')
    for size in {len(pixels) for pixels in given}:
        network.check_fit("this request", {"pixels": (size,)}, [0])
    return Images(torch.stack([torch.frombuffer(pixels, dtype=torch.float32) for pixels in given]))


def read_texts(rows: Sequence[Row], lengths: Sequence[int], network: NetworkSpec, tokenizer: TokenizerOf) -> Texts:
    """Rows of a network that reads texts, cut at the length that each adapter was trained with.

    Raises:
        ServingError: a row has no text.
        NetworkFileError: the tokenizer is gone or damaged.
    """
    _check_no_prompts(rows)
    given, own = _texts(rows), tokenizer(network)
    tokens = tuple(own.encode([text], length)[0] for text, length in zip(given, lengths, strict=True))
    return Texts(tokens, own.padding)


def read_passages(
    rows: Sequence[Row], lengths: Sequence[int], network: NetworkSpec, tokenizer: TokenizerOf
) -> Passages:
    """Rows of a network that continues texts; see :func:`read_texts`. Raises: ServingError: or they are too long."""
    texts, own, found, count = _texts(rows), tokenizer(network), [], 0
    for row, text, length in zip(rows, texts, lengths, strict=True):
        found.append(own_passage(text, own, length, row.prompt or ""))
        count += found[-1].tokens
        if count > MAX_SCORED:
            raise ServingError(f"The texts have more than {MAX_SCORED:,} tokens: send them in several requests.")
    return Passages(tuple(found), own)


def _texts(rows: Sequence[Row]) -> list[str]:
    """The text of each row. Raises: ServingError: a row has none."""
    given = [row.text for row in rows if row.text is not None]
    if len(given) < len(rows):
        raise ServingError('This base reads texts: give each row its text, as in {"rows": [{"text": "…"}]}.')
    return given


def _check_no_prompts(rows: Sequence[Row]) -> None:
    if any(row.prompt is not None for row in rows):
        raise ServingError("Only a base that continues texts takes a prompt: leave it out.")


READ: dict[str, Callable[[Sequence[Row], Sequence[int], NetworkSpec, TokenizerOf], Inputs]] = {
    "image": read_images,
    "text": read_texts,
    LANGUAGE: read_passages,
}
"""By what a network learns: rows, the maximum number of tokens of each, the network, and tokenizers to inputs."""
