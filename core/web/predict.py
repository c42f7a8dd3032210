"""The API: predictions with adapters, the adapters there are, and a description of both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache, partial
from http import HTTPStatus
from typing import Any

import msgspec
from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from core import lab
from core.errors import LabError, ServingBusyError, ServingError, SpecError, UnknownRunError
from core.lab import Lab
from core.objectives.registry import objectives_for
from core.serving.request import (
    MAX_BYTES,
    AdaptersQuery,
    AdaptersResponse,
    ErrorResponse,
    NumbersResponse,
    PredictRequest,
    PredictResponse,
    ScoresResponse,
    parse,
    parse_query,
)
from core.store.record import Run

PREDICT, ADAPTERS, OPENAPI = "/api/predict", "/api/adapters", "/api/openapi.json"

AT_ONCE = 64
"""Maximum number of requests that are answered at once; others wait."""

_limiters: dict[asyncio.AbstractEventLoop, CapacityLimiter] = {}


Offered = Callable[[Lab], Run | None]
"""The adapter that a lab offers to begin with."""


def routes(at: Callable[[str], str], offered: Offered) -> list[Route]:
    """The routes of this module.

    Args:
        at: prepends the base path of the application to a path.
        offered: named in the list of adapters.
    """
    return [
        Route(at(PREDICT), predict, methods=["POST"]),
        Route(at(ADAPTERS), partial(adapters, offered)),
        Route(at(OPENAPI), lambda _: JSONResponse(description(at("")))),
    ]


def limits(at: Callable[[str], str]) -> dict[str, int]:
    """Paths that accept large bodies, and how many bytes. Args: as in :func:`routes`."""
    return {at(PREDICT): MAX_BYTES}


async def predict(request: Request) -> Response:
    """Answer rows in one batch."""
    content = await request.body()
    answered = await to_thread.run_sync(lambda: _answer(content), limiter=_limiter())
    if isinstance(answered, LabError):
        headers = {"retry-after": "1"} if isinstance(answered, ServingBusyError) else {}
        return JSONResponse({"error": str(answered)}, _status(answered), {"cache-control": "no-store", **headers})
    return Response(answered, media_type="application/json", headers={"cache-control": "no-store"})


def adapters(offered: Offered, request: Request) -> Response:
    """The adapters that rows can name, and the one to begin with."""
    try:
        asked = parse_query(request.query_params)
        found = lab.current().predictor.adapters(asked.limit, asked.before)
        if first := offered(lab.current()):
            found = msgspec.structs.replace(found, offered=first.id)
    except LabError as error:
        return JSONResponse({"error": str(error)}, _status(error), {"cache-control": "no-store"})
    return Response(msgspec.json.encode(found), media_type="application/json", headers={"cache-control": "no-store"})


def _answer(content: bytes) -> bytes | LabError:
    """The answer to a request, or why there is none.

    An error is returned: one that a thread raises refers to the frame that awaits it, and that to the error, so that
    the request would stay in memory until such cycles are looked for.
    """
    try:
        asked = parse(content)
        return msgspec.json.encode(lab.current().predictor.predict(asked))
    except LabError as error:
        return error


def _limiter() -> CapacityLimiter:
    """The limit on requests at once; a limiter belongs to the event loop that it was made in."""
    return _limiters.setdefault(asyncio.get_running_loop(), CapacityLimiter(AT_ONCE))


def _status(error: LabError) -> int:
    match error:
        case UnknownRunError():
            return HTTPStatus.NOT_FOUND
        case ServingBusyError():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case ServingError() | SpecError():
            return HTTPStatus.BAD_REQUEST
    return HTTPStatus.INTERNAL_SERVER_ERROR


@cache
def description(base: str = "") -> dict[str, Any]:
    """OpenAPI 3.1 of this API, from the types that requests are checked with.

    Args:
        base: path that the application is served under, without a trailing slash.
    """
    answers: list[type[msgspec.Struct]] = [PredictResponse]
    answers += [NumbersResponse] if objectives_for("numbers") else []
    answers += [ScoresResponse] if objectives_for("texts") else []
    types = [PredictRequest, *answers, AdaptersQuery, AdaptersResponse, ErrorResponse]
    _, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    query = schemas.pop(AdaptersQuery.__name__)["properties"]
    return {
        "openapi": "3.1.0",
        "info": {"title": "LoRA Lab", "version": "1", "description": "Many adapters on one base, in one batch."},
        "servers": [{"url": base or "/"}],
        "security": [{"token": []}, {}],
        "paths": {
            PREDICT: {
                "post": {
                    "summary": "Answer rows in one batch, each with another adapter of the same base, or with none.",
                    "requestBody": {"required": True, "content": _json(PredictRequest)},
                    "responses": {
                        "200": {"description": "The answers.", "content": _json(*answers)},
                        "400": _error("The request is wrong, or names a host that is not the server's."),
                        "404": _error("A run does not exist, or has no adapter."),
                        "413": _error(f"The body has more than {MAX_BYTES:,} bytes."),
                        "503": _again("Too many rows are waiting, or too many bytes of requests are in memory."),
                        **COMMON,
                    },
                }
            },
            ADAPTERS: {
                "get": {
                    "summary": "List the adapters that rows can name, the newest first.",
                    "parameters": [{"name": name, "in": "query", "schema": schema} for name, schema in query.items()],
                    "responses": {
                        "200": {"description": "The adapters.", "content": _json(AdaptersResponse)},
                        "400": _error("The query is wrong, or the request names a host that is not the server's."),
                        "404": _error("There is no run to go on after."),
                        **COMMON,
                    },
                }
            },
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The server's token. A server without one answers programs on its own machine, or "
                    "visitors who have signed in on its pages.",
                }
            },
        },
    }


def _json(*kinds: type[msgspec.Struct]) -> dict[str, Any]:
    """OpenAPI's description of a body that is one of these."""
    schemas = [{"$ref": f"#/components/schemas/{kind.__name__}"} for kind in kinds]
    return {"application/json": {"schema": schemas[0] if len(schemas) == 1 else {"oneOf": schemas}}}


def _error(why: str) -> dict[str, Any]:
    return {"description": why, "content": _json(ErrorResponse)}


def _again(why: str) -> dict[str, Any]:
    """OpenAPI's description of a temporary error, with the header that says when to try again."""
    seconds = {"description": "Seconds after which to send the request again.", "schema": {"type": "integer"}}
    return _error(why) | {"headers": {"Retry-After": seconds}}


COMMON = {
    "401": _error("The server requires its token, or a login."),
    "403": _error("The request comes from another machine or site, which has no access."),
    "500": _error("A file is missing or damaged, or something unexpected went wrong."),
}
"""Errors of every path."""
