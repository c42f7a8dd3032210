"""Answers of one sentence: a page for a person, JSON for a program, and a refusal for a websocket."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

from core.web.headers import SECURITY_HEADERS

PAGE = """<!doctype html>
<html lang="en">
<head>
<link rel="icon" href="data:,">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
{head}<title>LoRA Lab</title>
</head>
<body style="font: 1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 12vh auto; padding: 0 1rem">
<h1>LoRA Lab</h1>
<p>{sentence}</p>
{body}</body>
</html>
"""
"""A page without scripts, images or anything else that would have to be let in first."""


def wants_page(scope: Scope) -> bool:
    """Whether a browser asks for something to show, not a script or a program for data."""
    return scope["type"] == "http" and "text/html" in Headers(scope=scope).get("accept", "")


def page(
    sentence: str, status: int, body: str = "", head: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """A page of one sentence.

    Args:
        sentence: what to say, as plain text.
        status: HTTP status.
        body: HTML to follow the sentence.
        head: HTML for the head of the page.
        headers: further headers.
    """
    content = PAGE.format(sentence=escape(sentence), body=body, head=head)
    return HTMLResponse(content, status, {"cache-control": "no-store", **(headers or {})})


def answer(scope: Scope, sentence: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """A sentence in the form that the asker can read. Args: as of :func:`page`."""
    if wants_page(scope):
        return page(sentence, status, headers=headers)
    return JSONResponse({"error": sentence}, status, {"cache-control": "no-store", **(headers or {})})


async def refuse(scope: Scope, receive: Receive, send: Send, response: Response) -> None:
    """Send an answer instead of what was asked for; a websocket is refused before it opens."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
    else:
        await response(scope, receive, send)


async def server_error(request: Request, _: Exception) -> Response:
    """The answer where a route failed: the log has the cause, and the visitor does not."""
    # Starlette sends this one outside all middleware, so the headers are put on here.
    response = answer(request.scope, "Something went wrong here; the log of the server says what.", 500)
    response.headers.update(SECURITY_HEADERS)
    return response
