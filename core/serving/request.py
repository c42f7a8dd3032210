"""Requests for predictions and their answers, as JSON; the same types describe both in OpenAPI."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from core.data.uploads.limits import MAX_TEXT
from core.objectives.registry import CLASSIFICATION

MAX_ROWS = 1024
"""Maximum number of rows per request."""

MAX_INPUTS = 4096
"""Maximum number of pixels per row: what the largest network reads."""

MAX_BYTES = 4 * 2**20
"""Maximum size of a request: that many rows of 784 pixels with three digits, or 256 with all digits of a float64."""

MAX_LISTED = 1000
"""Maximum number of adapters per list."""

Pixels = Annotated[Sequence[Annotated[float, Meta(ge=0, le=1)]], Meta(min_length=1, max_length=MAX_INPUTS)]

Text = Annotated[str, Meta(max_length=MAX_TEXT)]

RunId = Annotated[str, Meta(min_length=1, max_length=64)]

BaseName = Annotated[str, Meta(min_length=1, max_length=96)]
"""A run, or the digest of a network that was imported with its number of outputs, or ``language`` where it continues
texts."""


class Row(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One example, and who answers it: an image for a base that reads images, a text for one that reads or continues
    texts.
    """

    pixels: Annotated[
        Pixels | None, Meta(description="Pixels from 0 to 1, row by row, preprocessed as in training.")
    ] = None
    text: Annotated[Text | None, Meta(description="A text, which is cut where the adapter was trained to.")] = None
    prompt: Annotated[
        Text | None,
        Meta(description="What stands before the text and is not scored, for a base that continues texts."),
    ] = None
    adapter: Annotated[RunId | None, Meta(description="Run whose adapter answers; null for the base alone.")] = None

    def __post_init__(self) -> None:
        """Keep pixels as an array of float32, an eighth of what the list takes."""
        if self.pixels is not None:
            force_setattr(self, "pixels", array("f", self.pixels))


class PredictRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Rows to be answered in one batch, each with another adapter of the same base, or none."""

    rows: Annotated[list[Row], Meta(min_length=1, max_length=MAX_ROWS)]
    base: Annotated[
        BaseName | None,
        Meta(
            description="Base of all rows, as the list of adapters names it. Where no row names an adapter, it must be "
            "a pretrain run."
        ),
    ] = None


class Prediction(Struct, frozen=True):
    """The answer to one row."""

    label: Annotated[int, Meta(description="The class with the highest probability.")]
    name: Annotated[str, Meta(description="Its name in the dataset of the task.")]
    probabilities: Annotated[list[float], Meta(description="Of each class; they add up to 1.")]


class PredictResponse(Struct, frozen=True):
    """The answers, in the order of the rows."""

    predictions: list[Prediction]


class NumberPrediction(Struct, frozen=True):
    """The answer to one row where an adapter has learned numbers."""

    number: Annotated[float, Meta(description="What the network answers.")]


class NumbersResponse(Struct, frozen=True):
    """The answers of adapters that have learned numbers, in the order of the rows."""

    predictions: list[NumberPrediction]


class TokenBits(Struct, frozen=True, gc=False):
    """A token of a text that is scored."""

    token: Annotated[str, Meta(description="As the tokenizer names it.")]
    bits: Annotated[float, Meta(description="−log₂ of the probability that the network gave it.")]


class TextScore(Struct, frozen=True):
    """The answer to one row where a network continues texts."""

    bits_per_byte: Annotated[
        float | None, Meta(description="The bits of all scored tokens over their bytes; null where nothing is scored.")
    ]
    bytes: Annotated[int, Meta(description="Bytes of UTF-8 that the scored tokens stand for.")]
    tokens: Annotated[list[TokenBits], Meta(description="The scored tokens in their order.")]


class ScoresResponse(Struct, frozen=True):
    """What texts cost networks that continue them, in the order of the rows."""

    predictions: list[TextScore]


class ServedAdapter(Struct, frozen=True, omit_defaults=True):
    """An adapter that can be named in a row."""

    adapter: Annotated[str, Meta(description="Id of its run.")]
    base: Annotated[
        str,
        Meta(
            description="Run of its base, or DIGEST/OUTPUTS of the network that was imported, DIGEST/language where it "
            "continues texts: the rows of a request name adapters of one base."
        ),
    ]
    reads: Annotated[str, Meta(description="What its rows are: image, text, or language for a text to continue.")]
    label: Annotated[str, Meta(description="Method and rank, such as LoRA r=4.")]
    method: str
    rank: int | None
    seed: int
    task: Annotated[str, Meta(description="What it has learned, in words.")]
    accuracy: Annotated[float | None, Meta(description="On the test part of that task, in percent.")]
    bytes: Annotated[int, Meta(description="Size of its file.")]
    held: Annotated[bool, Meta(description="Whether it is in memory.")]
    objective: Annotated[str, Meta(description="What it has learned to answer.")] = CLASSIFICATION.kind
    alpha: Annotated[float | None, Meta(description="By which its matrices were scaled.")] = None
    learning_rate: Annotated[float | None, Meta(description="At which it was trained.")] = None
    bits_per_byte: Annotated[float | None, Meta(description="On the test part, where it continues texts.")] = None


class AdaptersResponse(Struct, frozen=True):
    """Adapters of finished and stopped runs, the newest first."""

    adapters: list[ServedAdapter]
    next: Annotated[str | None, Meta(description="The list goes on with before=NEXT; null at its end.")] = None
    offered: Annotated[
        str | None, Meta(description="The adapter to begin with: the typical one of the latest answer; null for none.")
    ] = None


class AdaptersQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of the list of adapters is asked for."""

    limit: Annotated[int, Meta(ge=1, le=MAX_LISTED, description="Maximum number of adapters in the answer.")] = (
        MAX_LISTED
    )
    before: Annotated[RunId | None, Meta(description="What next of the answer before says.")] = None


class ErrorResponse(Struct, frozen=True):
    """Why a request was not answered, in one sentence."""

    error: str
