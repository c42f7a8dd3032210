"""What a page offers is there for whoever has its address, as long as the page's session is, and no longer."""

from __future__ import annotations

import gc
from unittest.mock import Mock
from urllib.parse import unquote

import pytest
from starlette.applications import Starlette

from app import is_signed_in
from core.artifacts.exports import ONNX, ExportCertificate
from core.errors import ExportError
from core.files import write_atomically
from core.lab import Lab
from core.run_spec import RunSpec
from core.web import downloads
from core.web.chain import chain
from core.web.downloads import CLOSED, MAX_OFFERS, Offer, Offers
from core.web.guard import Access
from core.web.request_checks import Limits
from tests.conftest import DIGITS, finish, short
from tests.web.asking import TOKEN, ask

APP = Starlette(routes=downloads.routes(lambda path: path))


def test_a_file_is_made_when_it_is_asked_for_and_comes_as_an_attachment_that_nobody_keeps() -> None:
    offers, made = Offers(), list[int]()
    path = offers.put("table", Offer("e-1 ü.csv", "text/csv", lambda: made.append(1) or "1"))
    assert made == []
    status, body, headers = ask(APP, path)
    assert (status, body, made) == (200, "1", [1])
    assert headers["content-disposition"] == "attachment; filename*=utf-8''e-1%20%C3%BC.csv"
    assert headers["content-type"].startswith("text/csv")
    assert headers["cache-control"] == "no-store"
    assert ask(APP, path, "HEAD")[0] == 200
    for method in ("POST", "PUT", "DELETE"):
        assert ask(APP, path, method)[0] == 405


def test_an_address_stays_over_redraws_and_gives_what_was_drawn_last() -> None:
    offers = Offers()
    path = offers.put("layer/0 ü", Offer("a.txt", "text/plain", lambda: "whatever is in a key"))
    assert ask(APP, unquote(path))[:2] == (200, "whatever is in a key")  # a server decodes it for the application
    offers.put("chart", Offer("a.txt", "text/plain", lambda: "old"))
    path = offers.put("chart", Offer("a.txt", "text/plain", lambda: "new"))
    assert ask(APP, path)[1] == "new"
    assert Offers().put("chart", Offer("a.txt", "text/plain", lambda: "")) != path


def test_with_its_session_a_file_is_gone_and_its_link_says_so() -> None:
    offers = Offers()
    path = offers.put("table", Offer("a.csv", "text/csv", lambda: "1"))
    assert ask(APP, path)[0] == 200
    assert ask(APP, f"{path}-other")[0] == 404
    del offers
    gc.collect()
    status, body, _ = ask(APP, path)
    assert (status, body) == (404, f'{{"error":"{CLOSED}"}}')
    page = ask(APP, path, Accept="text/html")[1]
    assert CLOSED in page
    assert "<a " not in page


def test_a_session_keeps_what_was_drawn_last() -> None:
    offers = Offers()
    paths = [offers.put(f"{n}", Offer("a", "text/plain", lambda: "1")) for n in range(MAX_OFFERS)]
    offers.put("0", Offer("a", "text/plain", lambda: "1"))  # drawn again
    offers.put("more", Offer("a", "text/plain", lambda: "1"))
    assert [ask(APP, path)[0] for path in paths[:3]] == [200, 404, 200]


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (ExportError("The file of run r-1 has changed."), 404, "The file of run r-1 has changed."),
        (OSError(28, "No space left on device"), 500, "The file a.csv could not be made: No space left on device."),
    ],
)
def test_why_there_is_no_file_is_a_sentence(error: Exception, status: int, sentence: str) -> None:
    offers = Offers()
    path = offers.put("table", Offer("a.csv", "text/csv", Mock(side_effect=error)))
    found, body, headers = ask(APP, path, Accept="text/html,*/*")
    assert found == status
    assert sentence in body
    assert "content-disposition" not in headers


@pytest.mark.parametrize("environment", [{}, {"LORA_LAB_TOKEN": TOKEN}])
@pytest.mark.parametrize("base", ["", "/lab"])
def test_who_may_not_see_the_pages_gets_no_file_of_theirs(environment: dict[str, str], base: str) -> None:
    offers = Offers()
    path = base + offers.put("table", Offer("a.csv", "text/csv", lambda: "secret"))
    for login in (False, True):
        access = Access.decide("0.0.0.0" if environment else "127.0.0.1", environment, ["localhost"], login=login)
        closed = [f"{base}/download/"]
        doors = chain(access, Limits("/", 10), None, base, closed=closed, is_signed_in=is_signed_in)
        app = Starlette(routes=downloads.routes(lambda path: base + path), middleware=doors)
        admitted = {"Authorization": f"Bearer {TOKEN}"} if environment else {}
        expected = 200 if environment or not login else 401  # without a token, a login is the only way in
        assert ask(app, path, **admitted)[0] == expected
        status, body, _ = ask(app, path, client=("10.0.0.5", 5000))
        assert status in {401, 403}
        assert "secret" not in body
        assert ask(app, path, **admitted, Host="rebound.example")[0] == 400


def test_a_file_for_another_tool_has_an_address_once_it_is_made(current_lab: Lab) -> None:
    (run,) = finish(
        current_lab, current_lab.launcher.launch(RunSpec.of(method="pretrain", task=DIGITS, optim=short())).id
    )
    path, folder = f"/download/{run.id}/{ONNX}", current_lab.settings.runs / run.id
    assert "not been made" in ask(APP, path)[1]
    sha256 = write_atomically(folder / ONNX, b"a network")
    write_atomically(folder / f"{ONNX}.json", ExportCertificate("onnx", "a tool", sha256, 1, 1.0, 0.0, 1).to_json())
    current_lab.store.add_file(run.id, ONNX, sha256)
    status, body, headers = ask(APP, path)
    assert (status, body) == (200, "a network")
    assert f'filename="{run.id}-{ONNX}"' in headers["content-disposition"]
    (folder / ONNX).write_bytes(b"another")
    assert ask(APP, path)[0] == 404
