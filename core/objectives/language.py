"""Language modelling: each token of a text from those before it, learned by cross entropy, measured in bits per byte.

A network gives two numbers for each text: the nats of its scored tokens, and how many of these it predicts rightly. The
targets of a text are two numbers, too: how many of its tokens are scored, and how many bytes of UTF-8 they stand for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from core.errors import SpecError
from core.objectives.classification import LOSS as MEAN_LOSS
from core.objectives.measure import Answers, Measure, Values
from core.objectives.objective import ObjectiveSpec

NATS, RIGHT = 0, 1
"""Columns of the outputs: the sum of −ln p over the scored tokens of a text, and how many of them are most likely."""

TOKENS, BYTES = 0, 1
"""Columns of the targets: the number of scored tokens of a text, and the bytes of UTF-8 that they stand for."""

OUTPUTS = 2
"""Numbers that a network gives for a text."""


def _nats(answers: Answers) -> Values:
    return answers.known_losses


def _right(answers: Answers) -> Values:
    return answers.predicted.astype(np.float64)


class _Ratio:
    """A sum over all texts divided by another one: R = Σ a / Σ b.

    R is no mean over texts, since long ones count for more. What a text adds to it is the linearization at these
    answers, R + (a − R b) / mean b, whose mean over the texts is R (delta method for a ratio estimator; Cochran,
    "Sampling Techniques", 1977, section 6.3).
    """

    def __init__(self, above: Callable[[Answers], Values], below: int, factor: float) -> None:
        """Args: above: a of each text, (n,); below: column of the targets with b; factor: on the ratio."""
        self._above, self._below, self._factor = above, below, factor

    def whole(self, answers: Answers) -> float:
        """The ratio, NaN where nothing is scored."""
        below = float(answers.targets[:, self._below].astype(np.float64).sum())
        return self._factor * float(self._above(answers).sum()) / below if below else math.nan

    def each(self, answers: Answers) -> Values:
        """What each text adds, (n,)."""
        below = answers.targets[:, self._below].astype(np.float64)
        if not below.sum():
            return np.full(len(below), np.nan)
        ratio = self.whole(answers)
        return np.asarray(ratio + (self._factor * self._above(answers) - ratio * below) / below.mean())


_BITS, _HITS, _LOSS = _Ratio(_nats, BYTES, 1 / math.log(2)), _Ratio(_right, TOKENS, 100.0), _Ratio(_nats, TOKENS, 1.0)

BITS_PER_BYTE = replace(
    MEAN_LOSS,
    name="bits_per_byte",
    title="Bits per byte",
    each=_BITS.each,
    whole=_BITS.whole,
    about="−log₂ p of the scored tokens over the bytes of their text: comparable across tokenizers.",
    better="bits per byte better",
    worse="bits per byte worse",
    margin=0.01,
)
"""The margin is half a percent of the two bits that small models need, about what five percent more text to train on
are worth (Kaplan et al., "Scaling Laws for Neural Language Models", arXiv 2001.08361: the loss falls as D^−0.095)."""

TOKEN_ACCURACY = Measure(
    name="token_accuracy",
    title="Next-token accuracy",
    each=_HITS.each,
    whole=_HITS.whole,
    about="Percent of the scored tokens that the network finds most likely; depends on the tokenizer.",
    better="more accurate on the next token",
    worse="less accurate on the next token",
    margin=0.5,
    max_margin=10.0,
)

LOSS = replace(MEAN_LOSS, each=_LOSS.each, whole=_LOSS.whole, about="Nats per scored token; depends on the tokenizer.")


class LanguageSpec(ObjectiveSpec):
    """Learns to continue texts."""

    kind: Literal["language"] = "language"
    title = "Language"
    targets = "texts"
    problem_type = ""
    measures = (BITS_PER_BYTE, TOKEN_ACCURACY, LOSS)
    watched = ("loss", "token_accuracy")
    watched_on_source = ("loss",)

    def title_of(self, field: str, title: str) -> str:
        return {"num_classes": "", "classes": "Topics kept", "shots": "Shots"}.get(field, title)

    def check_outputs(self, outputs: int) -> None:
        if outputs != OUTPUTS:
            raise SpecError("This network does not continue texts: choose a language model.", ("num_classes",))

    def outputs_for(self, classes: int) -> int:
        return OUTPUTS

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs[:, NATS].sum() / self.weight(targets)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs[:, NATS]

    def weight(self, targets: Tensor) -> float:
        return max(float(targets[:, TOKENS].sum()), 1.0)

    def random_targets(self, count: int, outputs: int, generator: torch.Generator) -> Tensor:
        return torch.ones(count, OUTPUTS, device=generator.device)

    def compared(self, outputs: Tensor) -> Tensor:
        return outputs[:, : NATS + 1]  # which token is the most likely one may change by rounding

    def predict(self, outputs: Tensor) -> Tensor:
        return outputs[:, RIGHT].round().long()

    def judge(self, outputs: Tensor, targets: Tensor, classes: Sequence[int], names: Iterable[str]) -> dict[str, float]:
        outputs = outputs.detach().cpu()
        # Not through answers(), which has losses as they are stored, in float32.
        answers = Answers(self.predict(outputs).numpy(), targets.cpu().numpy(), outputs[:, NATS].double().numpy())
        return {name: self.all_measures[name].of(answers) for name in names}
