"""What people give to networks: a test example, an image of their own or a text of their own, as a batch of one row."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.data.dataset import SIDE
from core.data.examples import Batch
from core.data.language_examples import SCORED, LanguageExamples
from core.data.passage import Passage
from core.data.task import Task
from core.data.task_spec import TaskSpec
from core.data.text_examples import TextExamples
from core.objectives.language import BYTES
from core.serving.request import TextScore, TokenBits
from core.tasks.views.image import as_seen, images_of
from core.tasks.views.language import scored_examples
from core.tasks.views.view import TextTokenizer
from core.training.side_by_side import pool_of

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
