"""Doors asked as a server asks them, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.web.guard import Key

TOKEN = "a-token-of-my-own"
KEY = Key(TOKEN)


def complete(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run it in a thread of its own: Playwright keeps a loop going in the thread of the tests."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, coroutine).result()


async def inside(scope: Scope, receive: Receive, send: Send) -> None:
    """What the doors protect; it reads all that it is sent."""
    text = "inside"
    if scope["type"] == "http":
        text += f" {len(await Request(scope, receive).body())}"
    await PlainTextResponse(text)(scope, receive, send)


def ask(
    app: ASGIApp,
    path: str = "/",
    method: str = "GET",
    kind: str = "http",
    chunks: Iterable[bytes] = (b"",),
    ends: bool = True,
    **scope: Any,
) -> tuple[int, str, dict[str, str]]:
    """The status, body and headers of one answer; keywords in capitals are headers.

    Without ``ends``, more is announced after the last of the chunks and never comes.
    """
    headers = {name.lower().replace("_", "-"): value for name, value in scope.items() if name[0].isupper()}
    path, _, query = path.partition("?")
    fields: Scope = {
        "type": kind,
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in {"host": "localhost", **headers}.items()],
        "client": scope.get("client", ("127.0.0.1", 50000)),
        "scheme": scope.get("scheme", "http"),
        "extensions": {"websocket.http.response": {}},
    }
    bodies = list(chunks)
    sent: list[Message] = []

    async def receive() -> Message:
        if not bodies:
            await asyncio.Event().wait()  # the client stays until it has the answer
        return {"type": "http.request", "body": bodies.pop(0), "more_body": bool(bodies) or not ends}

    async def send(message: Message) -> None:
        sent.append(message)

    complete(app(fields, receive, send))  # type: ignore[arg-type]
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], body.decode(), {name.decode(): value.decode() for name, value in sent[0]["headers"]}
