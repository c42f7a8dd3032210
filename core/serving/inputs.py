"""The inputs of rows: pixels, or texts as the tokens of their network, which may be scored; and what people give: a
test example, an image or a text of their own, as a batch of one row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.data.dataset import LANGUAGE, SIDE
from core.data.examples import SCORED, Batch, LanguageExamples, Task, TextExamples
from core.data.passage import Passage
from core.data.task_spec import TaskSpec
from core.errors import ServingError
from core.networks.network import NetworkSpec
from core.objectives.language import BYTES
from core.serving.request import Row, ScoresResponse, TextScore, TokenBits
from core.tasks.views.image import as_seen, images_of
from core.tasks.views.language import scored_examples
from core.tasks.views.view import TextTokenizer
from core.training.side_by_side import pool_of

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


_ALONE = pool_of(1)
"""One core for one image: with two, the rotation waits for the slower one, which may have something else to do."""


@dataclass(frozen=True, eq=False)
class Given:
    """One input for networks."""

    batch: Batch
    truth: float | None = None
    """Its label as an integer, or its number; None if nobody knows."""
    image: NDArray[np.uint8] | None = None
    """(28, 28) as the networks see it, 0 black to 255 white; None for a text."""
    tokens: int = 0
    """Number of tokens of a text, with the marks of its beginning and end."""
    size: int = 0
    """Bytes that the scored tokens of a text stand for, where a network continues it."""

    def scored_by(self, nats: Tensor, tokenizer: TextTokenizer) -> TextScore:
        """What the text costs a network that continues it.

        Args:
            nats: (tokens,) the text's row of :func:`core.networks.scoring.token_nats`, perhaps with padding behind it.
            tokenizer: of the network.
        """
        (ids,), (scored,) = self.batch["input_ids"], self.batch[SCORED]
        bits = nats[: len(ids)][scored].double() / math.log(2)
        words = tokenizer.words(ids[scored].tolist())
        return TextScore(
            bits_per_byte=float(bits.sum()) / self.size if self.size else None,
            bytes=self.size,
            tokens=[TokenBits(word, own) for word, own in zip(words, bits.tolist(), strict=True)],
        )


def given_example(task: Task, row: int) -> Given:
    """An example of a task's test part. Args: task: on the CPU; row: its index."""
    batch = task.test.batch(slice(row, row + 1))
    if isinstance(task.test, LanguageExamples):
        return _passage(task.test.at(torch.tensor([row])))
    label = task.test.labels[row].item()
    if "pixels" in batch:
        return Given(batch, label, images_of(task.test, torch.tensor([row]))[0])
    return Given(batch, label, tokens=batch["input_ids"].shape[1])


def own_image(pixels: NDArray[np.uint8], task: TaskSpec) -> Given:
    """An image, transformed as those of a task. Args: pixels: (28, 28), 0 black to 255 white; task: with transforms."""
    seen = _ALONE.submit(as_seen, pixels[None], task).result()
    image: NDArray[np.uint8] = (seen * 255).round().to(torch.uint8).view(SIDE, SIDE).numpy()
    return Given({"pixels": seen}, image=image)


def own_passage(text: str, tokenizer: TextTokenizer, length: int, prompt: str = "") -> Given:
    """A text that is scored as a whole. Args: prompt: what stands before it; for the others see :func:`own_text`."""
    passage = Passage.prompted(prompt, text) if prompt else Passage.whole(text)
    return _passage(scored_examples([passage], tokenizer, length))


def _passage(examples: LanguageExamples) -> Given:
    """The first of some passages."""
    batch = examples.batch(slice(0, 1))
    return Given(batch, tokens=batch["input_ids"].shape[1], size=int(examples.labels[0, BYTES]))


def own_text(text: str, tokenizer: TextTokenizer, length: int) -> Given:
    """A text as tokens.

    Args:
        text: what somebody wrote.
        tokenizer: of the network that is asked.
        length: maximum number of tokens.
    """
    (tokens,) = tokenizer.encode([text], length)
    examples = TextExamples.of([tokens], torch.zeros(1, dtype=torch.int64), tokenizer.padding)
    return Given(examples.batch(slice(None)), tokens=len(tokens))
