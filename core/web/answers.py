"""One-sentence responses, as HTML for browsers and JSON for programs; security headers."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        # Streamlit imports the modules of components from blobs, and Vega compiles expressions.
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "media-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
"""Pages may load resources from this server only, so that their content cannot be sent elsewhere."""

SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class SecurityHeaders:
    """Adds the security headers to every response; bodies and websockets are unchanged."""

    def __init__(self, app: ASGIApp) -> None:
        """Args: app: the application."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        await self.app(scope, receive, send_with_headers)


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
"""A page without scripts, images or other resources, which would need access as well."""


def wants_page(scope: Scope) -> bool:
    """Whether a browser requests a page, rather than a script or a program requesting data."""
    return scope["type"] == "http" and "text/html" in Headers(scope=scope).get("accept", "")


def page(
    sentence: str, status: int, body: str = "", head: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """A page with one sentence.

    Args:
        sentence: plain text.
        status: HTTP status.
        body: HTML after the sentence.
        head: HTML for the head of the page.
        headers: additional headers.
    """
    content = PAGE.format(sentence=escape(sentence), body=body, head=head)
    return HTMLResponse(content, status, {"cache-control": "no-store", **(headers or {})})


def answer(scope: Scope, sentence: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """A sentence as HTML or JSON, as the client accepts. Args: as in :func:`page`."""
    if wants_page(scope):
        return page(sentence, status, headers=headers)
    return JSONResponse({"error": sentence}, status, {"cache-control": "no-store", **(headers or {})})


async def server_error(request: Request, _: Exception) -> Response:
    """The response if a route raised an exception; only the log has the details."""
    # Starlette sends this response outside of all middleware, so add the headers here.
    response = answer(request.scope, "Something went wrong; the server's log has the details.", 500)
    response.headers.update(SECURITY_HEADERS)
    return response
