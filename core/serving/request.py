"""Requests for predictions and their answers, as JSON; the same models describe both in OpenAPI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.data.uploads.limits import MAX_TEXT
from core.errors import ServingError

MAX_ROWS = 1024
"""Maximum number of rows per request."""

MAX_INPUTS = 4096
"""Maximum number of pixels per row: what the largest network reads."""

MAX_BYTES = 24 * 2**20
"""Maximum size of a request: that many rows of 784 pixels with all digits of a float64."""

MAX_LISTED = 1000
"""Maximum number of adapters per list."""

RunId = Annotated[str, Field(min_length=1, max_length=64)]

BaseName = Annotated[str, Field(min_length=1, max_length=96)]
"""A run, or the digest of a network that was brought with its number of outputs."""


class Row(BaseModel):
    """One example, and who answers it: an image for a base that reads images, a text for one that reads texts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pixels: list[Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]] | None = Field(
        None,
        min_length=1,
        max_length=MAX_INPUTS,
        description="Pixels from 0 to 1, row by row, preprocessed as in training.",
    )
    text: str | None = Field(
        None,
        max_length=MAX_TEXT,
        description="A text, which is cut where the adapter was trained to.",
    )
    adapter: RunId | None = Field(None, description="Run whose adapter answers; null for the base alone.")


class PredictRequest(BaseModel):
    """Rows to be answered in one batch, each with another adapter of the same base, or none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: list[Row] = Field(min_length=1, max_length=MAX_ROWS)
    base: BaseName | None = Field(
        None,
        description="Base of all rows, as the list of adapters names it. Where no row names an adapter, it must be a "
        "pretrain run.",
    )


class Prediction(BaseModel):
    """The answer to one row."""

    label: int = Field(description="The class with the highest probability.")
    name: str = Field(description="Its name in the dataset of the task.")
    probabilities: list[float] = Field(description="Of each class; they add up to 1.")


class PredictResponse(BaseModel):
    """The answers, in the order of the rows."""

    predictions: list[Prediction]


class ServedAdapter(BaseModel):
    """An adapter that can be named in a row."""

    adapter: str = Field(description="Id of its run.")
    base: str = Field(
        description="Run of its base, or DIGEST/OUTPUTS of the network that was brought: the rows of a request name "
        "adapters of one base."
    )
    reads: str = Field(description="What its rows are: image or text.")
    label: str = Field(description="Method and rank, such as LoRA r=4.")
    method: str
    rank: int
    seed: int
    task: str = Field(description="What it has learnt, in words.")
    accuracy: float = Field(description="On the test part of that task, in percent.")
    bytes: int = Field(description="Size of its file.")
    held: bool = Field(description="Whether it is in memory.")


class AdaptersResponse(BaseModel):
    """Adapters of finished and stopped runs, the newest first."""

    adapters: list[ServedAdapter]
    next: str | None = Field(None, description="The list goes on with before=NEXT; null at its end.")


class AdaptersQuery(BaseModel):
    """Which part of the list of adapters is asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(MAX_LISTED, ge=1, le=MAX_LISTED, description="Maximum number of adapters in the answer.")
    before: RunId | None = Field(None, description="What next of the answer before says.")


class ErrorResponse(BaseModel):
    """Why a request was not answered, in one sentence."""

    error: str


def parse(content: bytes) -> PredictRequest:
    """Read a request.

    Raises:
        ServingError: not JSON, or not a request; the message names the first field that is wrong.
    """
    try:
        return PredictRequest.model_validate_json(content)
    except ValidationError as error:
        raise ServingError(_sentence(error)) from error


def parse_query(fields: Mapping[str, str]) -> AdaptersQuery:
    """Read the query of a request for adapters.

    Raises:
        ServingError: a field is wrong; the message names it.
    """
    try:
        return AdaptersQuery.model_validate(dict(fields))
    except ValidationError as error:
        raise ServingError(_sentence(error)) from error


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ""
    for part in first["loc"]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
    if first["type"] == "json_invalid":
        return "The request is not valid JSON."
    message = first["msg"].rstrip(".")
    return f"{place[:120] or 'The request'} is wrong: {message[0].lower()}{message[1:200]}."
