"""Bodies of requests are bounded, each and all together."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import pytest
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from core.web import request_checks
from core.web.request_checks import FRAME_BYTES, FULL_OF_REQUESTS, MAX_FORM_BYTES, MIN_RATE, BodyLimit, Limits
from tests.web.asking import ask, inside


@pytest.mark.parametrize(
    ("path", "limit"), [("/access", MAX_FORM_BYTES), ("/up/s/f", 1000 + FRAME_BYTES), ("/up", MAX_FORM_BYTES)]
)
def test_a_body_is_bounded_with_and_without_a_length(path: str, limit: int) -> None:
    door = BodyLimit(inside, Limits("/up/", 1000))
    assert ask(door, path, "PUT", chunks=[b"0" * limit])[:2] == (200, f"inside {limit}")
    assert ask(door, path, "PUT", chunks=[b"0" * limit, b"0"])[0] == 413
    assert ask(door, path, "PUT", Content_Length=str(limit + 1))[0] == 413
    assert ask(door, path, "PUT", Content_Length="-1")[0] == 413


def test_a_body_that_stops_is_refused_and_one_that_comes_fast_enough_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_checks, "WAIT_SECONDS", 0.1)
    status, body, headers = ask(BodyLimit(inside, Limits("/up/", 1)), "/up/f", "PUT", chunks=[b"0" * 10], ends=False)
    assert (status, "took too long" in body, headers["connection"]) == (408, True, "close")

    async def patient(scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await inside(scope, receive, send)
        await PlainTextResponse("still arriving")(scope, receive, send)

    door = BodyLimit(patient, Limits("/up/", 2**20))
    assert ask(door, "/up/f", "PUT", chunks=[bytes(100 * MIN_RATE)], ends=False)[:2] == (200, "still arriving")


def test_all_uploads_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_checks, "MAX_HELD", 1500)
    held = 0
    door = BodyLimit(inside, Limits("/up/", 1000, lambda: held))
    assert ask(door, "/up/s/f", "PUT", Content_Length="900")[0] == 200
    held = 700
    status, body, headers = ask(door, "/up/s/f", "PUT", Content_Length="900")
    assert (status, "close some pages" in body, headers["retry-after"]) == (503, True, "60")
    assert ask(door, "/up/s/f", "DELETE")[0] == 200
    assert ask(door, "/")[0] == 200
    assert ask(door, "/up/s/f", "PUT", Content_Length="800", chunks=[b"0" * 800])[0] == 200
    assert door.reserved == 0


def test_a_program_is_told_to_send_its_request_again_and_not_to_close_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_checks, "MAX_HELD", 1500)
    held = 1400
    door = BodyLimit(inside, Limits("/up/", 1000, lambda: held, {"/api": 500}))
    status, body, headers = ask(door, "/api", "POST", Content_Length="200")
    assert (status, json.loads(body), headers["retry-after"]) == (503, {"error": FULL_OF_REQUESTS}, "5")
    assert "page" not in FULL_OF_REQUESTS
    held = 0
    assert ask(door, "/api", "POST", chunks=[b"0" * 200], Content_Length="200")[:2] == (200, "inside 200")
    assert door.reserved == 0


def test_what_is_declared_counts_as_held_before_it_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty uploads of 48 MiB that begin at once: as many are taken as fit."""
    size = 48 * 2**20
    monkeypatch.setattr(request_checks, "MAX_HELD", 512 * 2**20)
    seen: list[int] = []

    async def nested(scope: Scope, receive: Receive, send: Send) -> None:
        if len(seen) < 30:  # nothing of this body has come when the next begins
            seen.append(0)
            number = len(seen)
            seen[number - 1] = ask(door, "/up/s/g", "PUT", Content_Length=str(size))[0]
        await PlainTextResponse("inside")(scope, receive, send)

    door = BodyLimit(nested, Limits("/up/", size))
    assert ask(door, "/up/s/f", "PUT", Content_Length=str(size))[0] == 200
    assert (len(seen), seen.count(503)) == (10, 1)
    assert door.reserved == 0


def test_a_body_in_chunks_reserves_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_checks, "MAX_HELD", 1000 + FRAME_BYTES + 100)
    seen: list[int] = []

    async def nested(scope: Scope, receive: Receive, send: Send) -> None:
        other = BodyLimit(inside, Limits("/up/", 1000, lambda: door.reserved))
        seen.append(ask(other, "/up/s/g", "PUT", Content_Length="101")[0])
        await PlainTextResponse("inside")(scope, receive, send)

    door = BodyLimit(nested, Limits("/up/", 1000))
    assert ask(door, "/up/s/f", "PUT", Transfer_Encoding="chunked")[0] == 200
    assert seen == [503]


@pytest.mark.parametrize("error", [ClientDisconnect, RuntimeError, asyncio.CancelledError])
def test_what_was_reserved_is_free_again_however_the_upload_ends(error: type[BaseException]) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        assert door.reserved == 900
        raise error

    door = BodyLimit(failing, Limits("/up/", 1000))
    with suppress(error, IndexError):  # nothing was sent, where the client is gone
        ask(door, "/up/s/f", "PUT", Content_Length="900")
    assert door.reserved == 0
