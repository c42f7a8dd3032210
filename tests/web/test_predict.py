"""``python -m core serve`` answers with the adapters of a home folder, and says what it cannot answer."""

from __future__ import annotations

import gc
import json
import os
import random
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from starlette.applications import Starlette
from starlette.routing import Match

from core.adapter import apply_adapter
from core.engine.jobs.run_files import ADAPTER, NETWORK
from core.lab import Lab
from core.methods.dora import DoRASpec
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.networks.file import read_network
from core.serving.request import MAX_BYTES, MAX_ROWS
from core.settings import Settings
from core.web.predict import PREDICT, description, routes
from core.web.request_checks import FULL_OF_REQUESTS, MAX_HELD
from pages.experiment.use.code import curl, python
from tests import forked
from tests.browser.conftest import free_port
from tests.conftest import HANG, compared, finish, short, wait_until
from tests.web.asking import ask
from tests.web.conftest import Visitor, wait_for_answer

TOKEN = "correct-horse-battery-staple-41"


@dataclass(frozen=True)
class Served:
    """A server of the API, and the home folder behind it."""

    visitor: Visitor
    """One who has the token."""
    home: Path
    base: str
    full: str
    adapters: tuple[str, ...]

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        answer, content = self.visitor.ask(method, path, body, **headers)
        return answer.status, json.loads(content)

    def predict(self, rows: list[dict[str, Any]], **beside: Any) -> tuple[int, Any]:
        return self.ask("POST", "/api/predict", json.dumps({"rows": rows} | beside).encode())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("served") / "home"
    lab = Lab(Settings(home=home))
    lab.start()
    methods = [FullSpec(), LoRASpec.of(), LoRASpec.of(rank=1, scaling="alpha"), DoRASpec.of()]
    arms = [(short(epochs=1), method) for method in methods]
    experiment = compared(lab, "rotation-45", "digits", None, short(), arms, [0, 1])
    runs = finish(lab, *experiment.runs)
    lab.close()
    full = next(run.id for run in runs if run.spec.kind == "full")
    adapters = tuple(run.id for run in runs if run.spec.role == "adapter")
    port = free_port()
    command = ["-m", "core", "serve", "--home", str(home), "--port", str(port)]
    log = home.with_name("log")
    with log.open("wb") as out:
        process = forked.start(command, env=os.environ | {"LORA_LAB_TOKEN": TOKEN, "LORA_LAB_DATA": ""}, stderr=out)
    try:
        wait_for_answer(process, f"http://127.0.0.1:{port}/healthz", log)
        yield Served(Visitor(port, {"Authorization": f"Bearer {TOKEN}"}), home, experiment.base, full, adapters)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=HANG) == 128 + signal.SIGTERM
        assert not re.search("Traceback|Finish", log.read_text())
    finally:
        process.kill()


def pixels(rows: int) -> torch.Tensor:
    return torch.rand(rows, 784, generator=torch.Generator().manual_seed(rows))


def test_each_row_gets_the_answer_of_its_own_adapter(served: Served) -> None:
    names = [None, *served.adapters] * 3
    x = pixels(len(names))
    status, found = served.predict(
        [{"adapter": name, "pixels": row.tolist()} for name, row in zip(names, x, strict=True)]
    )
    assert status == 200
    lab = Lab(Settings(home=served.home))
    try:
        base = read_network(lab.artifacts.path(served.base, NETWORK))
        own = {name: apply_adapter(base, lab.artifacts.adapter(name)).eval() for name in served.adapters}
    finally:
        lab.close()
    for name, row, prediction in zip(names, x, found["predictions"], strict=True):
        with torch.no_grad():
            expected = (base if name is None else own[name])(row[None]).softmax(1)[0]
        torch.testing.assert_close(torch.tensor(prediction["probabilities"]), expected, rtol=1e-5, atol=1e-5)
        assert prediction["label"] == expected.argmax()
        assert prediction["name"] == str(int(expected.argmax()))


def test_the_base_alone_answers_where_it_is_named_beside_the_rows(served: Served) -> None:
    row = {"pixels": pixels(1)[0].tolist()}
    assert served.predict([row], base=served.base)[0] == 200
    assert served.predict([row, row | {"adapter": served.adapters[0]}], base=served.base)[0] == 200


@pytest.mark.parametrize("alone", [False, True])
def test_the_code_of_the_page_works_as_it_stands_there(
    served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    monkeypatch.setenv("LORA_LAB_TOKEN", TOKEN)
    asked: tuple[list[str | None], str | None] = ([None], served.base) if alone else ([*served.adapters[:2]], None)
    rows, base = asked
    exec(python(f"http://127.0.0.1:{served.visitor.port}", rows, base=base), {})
    assert len(capsys.readouterr().out.splitlines()) == len(rows)
    command = curl(f"http://127.0.0.1:{served.visitor.port}", rows, base=base) + " -sS"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=HANG, check=True)
    assert len(json.loads(done.stdout)["predictions"]) == len(rows)


def test_adapters_are_listed_with_what_they_have_learnt_whole_and_in_parts(served: Served) -> None:
    status, whole = served.ask("GET", "/api/adapters")
    assert (status, whole["next"]) == (200, None)
    assert {each["adapter"] for each in whole["adapters"]} == set(served.adapters)
    assert {each["base"] for each in whole["adapters"]} == {served.base}
    assert {each["label"] for each in whole["adapters"]} == {"LoRA r=4", "LoRA r=1", "DoRA r=4"}
    parts, before = [], ""
    while True:
        part = served.ask("GET", f"/api/adapters?limit=2{before}")[1]
        assert len(part["adapters"]) <= 2
        parts += part["adapters"]
        if part["next"] is None:
            break
        before = f"&before={part['next']}"
    assert [each["adapter"] for each in parts] == [each["adapter"] for each in whole["adapters"]]


@pytest.mark.parametrize(
    ("query", "status", "sentence"),
    [("limit=0", 400, "limit is wrong"), ("before=r-none", 404, "There is no run 'r-none'")],
)
def test_a_part_that_does_not_exist_is_one_sentence(served: Served, query: str, status: int, sentence: str) -> None:
    found = served.ask("GET", f"/api/adapters?{query}")
    assert found[0] == status
    assert found[1]["error"].startswith(sentence)
    assert found[1]["error"].endswith(".")


ROW = {"pixels": [0.5] * 784}


@pytest.mark.parametrize(
    ("rows", "beside", "status", "sentence"),
    [
        ([ROW], {}, 400, "No row names an adapter"),
        ([{"pixels": [0.5] * 783, "adapter": "ADAPTER"}], {}, 400, "783"),
        ([ROW | {"colour": 3}], {}, 400, "rows[0].colour is wrong"),
        ([ROW | {"adapter": "r-none"}], {}, 404, "There is no run 'r-none'"),
        ([ROW | {"adapter": "FULL"}], {}, 404, "has no adapter"),
        ([ROW | {"adapter": "BASE"}], {"base": "BASE"}, 404, "has no adapter"),
        ([ROW], {"base": "r-none"}, 404, "There is no base 'r-none'"),
        ([ROW], {"base": "FULL"}, 404, "is not a base"),
        ([ROW | {"adapter": "ADAPTER"}], {"base": "FULL"}, 400, "All rows of a request are on one base"),
    ],
)
def test_what_cannot_be_answered_is_one_sentence(
    served: Served, rows: list[dict[str, Any]], beside: dict[str, str], status: int, sentence: str
) -> None:
    names = {"ADAPTER": served.adapters[0], "FULL": served.full, "BASE": served.base}
    rows = [row | {"adapter": names.get(row["adapter"], row["adapter"])} if "adapter" in row else row for row in rows]
    found = served.predict(rows, **{name: names.get(value, value) for name, value in beside.items()})
    assert found[0] == status
    assert sentence in found[1]["error"]
    assert found[1]["error"].endswith(".")
    assert served.predict([ROW], base=served.base)[0] == 200  # and it goes on


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[1]", b"\xff\xfe", b'{"rows": ' + b"[" * 100_000, b'\xef\xbb\xbf{"rows": [{}]}'),
        *(b'{"rows": [{"pixels": [%s]}]}' % number for number in (b"NaN", b"1e999", b"9" * 5000, b"[")),
        *(b'{"rows": [{"%s": null}]}' % name for name in (b"\xff", b"\\ud800", b"a\n", "😀".encode() * 999)),
        *(b'{"rows": [{"text": "%s"}]}' % text for text in (b"\xff", b"\\ud800", b"\0", b'", "text": "')),
    ],
)
def test_what_is_no_request_is_one_sentence(served: Served, body: bytes) -> None:
    status, found = served.ask("POST", "/api/predict", body)
    assert status == 400
    assert found["error"].endswith(".")


def test_a_body_that_is_too_large_is_refused_before_it_is_read(served: Served) -> None:
    found = served.ask("POST", "/api/predict", None, Content_Length=str(MAX_BYTES + 1))
    assert found == (413, {"error": f"A request to this path may have at most {MAX_BYTES:,} bytes."})
    assert served.predict([ROW], base=served.base)[0] == 200


def test_bodies_that_never_come_make_others_wait_and_free_their_memory_when_they_end(served: Served) -> None:
    head = f"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
    with ExitStack() as stack:
        for _ in range(MAX_HELD // MAX_BYTES):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", served.visitor.port)))
            client.sendall(f"{head}Content-Length: {MAX_BYTES}\r\n\r\n".encode())
        body = json.dumps({"rows": [ROW] * MAX_ROWS, "base": served.base}).encode()
        large = body + b" " * (MAX_BYTES - len(body))
        wait_until(lambda: served.ask("POST", "/api/predict", large)[0] == 503)
        assert served.ask("POST", "/api/predict", large) == (503, {"error": FULL_OF_REQUESTS})
        assert served.ask("GET", "/api/adapters")[0] == 200
    wait_until(lambda: served.ask("POST", "/api/predict", large)[0] == 200)


def test_without_the_token_nothing_is_answered(served: Served) -> None:
    for method, path in (("POST", "/api/predict"), ("GET", "/api/adapters"), ("GET", "/api/openapi.json")):
        status, found = served.ask(method, path, b"{}" if method == "POST" else None, Authorization="Bearer wrong")
        assert status == 401
        assert "error" in found


def test_many_clients_at_once_get_their_own_answers(served: Served) -> None:
    x = pixels(1)[0].tolist()
    expected = {
        name: served.predict([{"adapter": name, "pixels": x}])[1]["predictions"][0]["probabilities"]
        for name in served.adapters
    }
    wrong: list[object] = []

    def client(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(20):
            names = draw.choices(served.adapters, k=draw.randint(1, 8))
            status, found = served.predict([{"adapter": name, "pixels": x} for name in names])
            for name, each in zip(names, found.get("predictions", []), strict=True):
                gap = max(abs(a - b) for a, b in zip(each["probabilities"], expected[name], strict=True))
                if status != 200 or gap > 1e-5:
                    wrong.append((status, gap))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client, range(8)))
    assert wrong == []


def test_the_description_names_what_is_sent_and_is_served(served: Served) -> None:
    status, found = served.ask("GET", "/api/openapi.json")
    assert status == 200
    assert found == json.loads(json.dumps(description()))
    schemas = found["components"]["schemas"]
    assert set(schemas["Row"]["properties"]) == {"pixels", "text", "prompt", "adapter"}
    text = json.dumps(found)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in schemas
    assert ADAPTER not in text
    assert {each["name"] for each in found["paths"]["/api/adapters"]["get"]["parameters"]} == {"limit", "before"}
    for path in found["paths"].values():
        for each in path.values():
            assert {"200", "400", "401", "403", "404", "500"} <= set(each["responses"])
    assert found["security"] == [{"token": []}, {}]
    assert found["servers"] == [{"url": "/"}]
    assert found["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


@pytest.mark.parametrize("base", ["", "/lab", "/lab/deep"])
def test_the_paths_of_the_description_are_under_its_server(base: str) -> None:
    app = Starlette(routes=routes(lambda path: f"{base}{path}", lambda lab: None))
    status, body, _ = ask(app, f"{base}/api/openapi.json")
    assert status == 200
    described = json.loads(body)
    (server,) = described["servers"]
    for path, methods in described["paths"].items():
        for method in methods:
            scope = {"type": "http", "method": method.upper(), "path": server["url"].rstrip("/") + path}
            assert any(route.matches(scope)[0] is Match.FULL for route in app.routes)


def test_a_request_that_is_refused_is_forgotten_at_once() -> None:
    app, body = Starlette(routes=routes(str, lambda lab: None)), b'{"rows":[' + bytes(MAX_BYTES - 9)
    ask(app, PREDICT, "POST", chunks=[body])
    gc.collect()
    gc.disable()  # it may be long until cycles are looked for
    try:
        before = psutil.Process().memory_info().rss
        for _ in range(16):
            assert ask(app, PREDICT, "POST", chunks=[body])[0] == 400
        assert psutil.Process().memory_info().rss - before < 8 * MAX_BYTES
    finally:
        gc.enable()
