"""Requests for predictions and their answers, as JSON, and how requests are read.

The same types describe both in OpenAPI; msgspec builds and checks requests by them.
"""

from __future__ import annotations

import re
import threading
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, ValidationError
from msgspec.structs import force_setattr

from core.data.uploads.limits import MAX_TEXT
from core.errors import ServingError
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


MAX_PLACE = 120
"""Maximum number of characters of an error that say where it is: the name of a field may have any length."""

INVALID = "The request is not valid JSON."

SHAPE = (
    'send {"rows": [{"adapter": "RUN", "text": "…"}]} to a base that reads or continues texts, and "pixels": [0.5, …] '
    'in place of "text" to one that reads images'
)
"""The shortest request of each kind of data, for errors of keys."""

WORDINGS = {
    r"Expected `(?:float|int)` >= (\d+).*": r"input should be greater than or equal to \1",
    r"Expected `(?:float|int)` <= (\d+).*": r"input should be less than or equal to \1",
    r"Expected `array` of length >= 1": "list should have at least 1 item",
    r"Expected `array` of length <= (\d+)": r"list should have at most \1 items",
    r"Expected `str` of length >= 1": "string should have at least 1 character",
    r"Expected `str` of length <= (\d+)": r"string should have at most \1 characters",
    r"Expected `object.*": f"input should be an object; {SHAPE}",
    r"Expected `array`.*": f"input should be a valid array; {SHAPE}",
    r"Expected `array.*": "input should be a valid array",
    r"Expected `str.*": "input should be a valid string",
    r"Expected `float.*": "input should be a valid number",
    r"Expected `int.*": "input should be a valid integer",
    r"Number out of range": "input should be a finite number",
}
"""What msgspec says of a value, and what a person reads."""

KEYS = {
    r"Object contains unknown field `(.*)`": "extra inputs are not permitted",
    r"Object missing required field `(.*)`": "field required",
}
"""What msgspec says of the fields of an object, and what a person reads of such a field."""

_MESSAGE = re.compile(r"(.*?)(?: - at `\$([\w.\[\]]*)`)?", re.DOTALL)
"""What msgspec says, and of which value: nothing for the whole request."""

_DECODER = msgspec.json.Decoder(PredictRequest)
_one_at_a_time = threading.Lock()
"""Held while a request is built: one of a million rows takes some 80 MB until it is refused."""


def parse(content: bytes) -> PredictRequest:
    """Read a request. Of a field that is there more than once, the last one counts.

    Raises:
        ServingError: not JSON, or not a request; the message names the first field that is wrong.
    """
    try:
        with _one_at_a_time:
            return _DECODER.decode(content)
    except ValidationError as error:
        raise _error(error, f"; {SHAPE}") from error
    except ValueError as error:  # malformed, truncated or not UTF-8
        raise ServingError(INVALID) from error


def parse_query(texts: Mapping[str, str]) -> AdaptersQuery:
    """Read the query of a request for adapters. Raises: ServingError: a field is wrong; the message names it."""
    try:
        return msgspec.convert(dict(texts), AdaptersQuery, strict=False)
    except ValidationError as error:
        raise _error(error) from error


def _error(error: ValidationError, shape: str = "") -> ServingError:
    """An error in words for people. Args: shape: what to say of fields that are unknown or missing."""
    found = _MESSAGE.fullmatch(str(error))
    reason, place = (found[1], found[2] or "") if found else (str(error), "")
    for pattern, wording in KEYS.items():
        if key := re.fullmatch(pattern, reason, re.DOTALL):
            place, reason = f"{place}.{key[1]}", f"{wording}{shape}"
    for pattern, wording in WORDINGS.items():
        if told := re.fullmatch(pattern, reason):
            reason = told.expand(wording)
            break
    where = place.removeprefix(".")[:MAX_PLACE] or "The request"
    return ServingError(f"{where} is wrong: {reason[0].lower()}{reason[1:]}.")


WINDOW = 60.0
"""Seconds that rates are computed over."""


@dataclass(frozen=True)
class Answered:
    """A request that was answered."""

    at: float
    """When, on a clock that never goes back."""
    rows: int
    seconds: float
    """From its arrival to its answer."""


@dataclass(frozen=True)
class Rate:
    """How much was answered per second."""

    requests: float
    rows: float


def rate_of(latest: Sequence[Answered], since: float, now: float) -> Rate:
    """The rate over the latest minute, or since the time from which on all requests are known.

    Args:
        latest: requests that were answered.
        since: all requests that were answered after this time are among them.
        now: the end of the minute.
    """
    start = max(since, now - WINDOW)
    if now <= start:
        return Rate(0.0, 0.0)
    counted = [each.rows for each in latest if start < each.at <= now]
    return Rate(len(counted) / (now - start), sum(counted) / (now - start))
