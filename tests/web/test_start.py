"""What somebody sees whose LoRA Lab cannot start: one sentence, and no traceback."""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from core.__main__ import main
from core.lab import Lab
from core.run_spec import RunSpec
from core.settings import Settings
from tests.browser.conftest import REPO, free_port
from tests.conftest import HANG
from tests.store.states import insert
from tests.web.conftest import launch

SENTENCE = re.compile(r"^LoRA Lab does not start: (.+\.)$", re.MULTILINE)


def a_file(folder: Path) -> dict[str, str]:
    (folder / "home").write_text("not a folder")
    return {}


def below_a_file(folder: Path) -> dict[str, str]:
    (folder / "file").write_text("not a folder")
    return {"LORA_LAB_HOME": str(folder / "file" / "home")}


def a_newer_store(folder: Path) -> dict[str, str]:
    Lab(Settings(folder / "home")).store.close()
    with closing(sqlite3.connect(folder / "home" / "lab.sqlite3")) as db:
        db.execute("PRAGMA user_version = 99")
    return {}


def a_newer_method(folder: Path) -> dict[str, str]:
    with closing(Lab(Settings(folder / "home")).store) as store, store.transaction() as db:
        spec = json.dumps(
            json.loads(RunSpec.of(method="pretrain").to_json()) | {"method": {"kind": "galore", "rank": 8}}
        )
        insert(db, id="r-1", spec=spec, method="galore", bank_key="k", state="finished", owner="o", created=1.0)
    return {}


UNWRITABLE = "/proc/lora-lab" if sys.platform == "linux" else "/dev/lora-lab"

Case = tuple[Callable[[Path], dict[str, str]], str]
"""A function that makes what is wrong in a folder and returns variables; and a part of the sentence."""

BAD_HOMES: dict[str, Case] = {
    "a file": (a_file, "LORA_LAB_HOME"),
    "below a file": (below_a_file, "LORA_LAB_HOME"),
    "a newer store": (a_newer_store, "newer LoRA Lab"),
    "a newer method": (a_newer_method, "There is no method 'galore'"),
    "nobody's home": (lambda _: {"LORA_LAB_HOME": "~nobody-of-that-name/lab"}, "LORA_LAB_HOME"),
    "not to be written": (lambda _: {"LORA_LAB_HOME": UNWRITABLE}, "LORA_LAB_HOME"),
}

OTHERS: dict[str, Case] = {
    "no number": (lambda _: {"LORA_LAB_MAX_GB": "x"}, "LORA_LAB_MAX_GB must be a number"),
    "a short token": (lambda _: {"LORA_LAB_TOKEN": "my password"}, "LORA_LAB_TOKEN must have 12 to 256"),
    "no proxy": (lambda _: {"LORA_LAB_PROXIES": "127.0.0.1, proxy"}, "LORA_LAB_PROXIES must be"),
}

COMMANDS = {"compare": ["--source", "digits"], "report": ["e-1", "report.html"], "run": ["--run", "r-1"]}


@pytest.mark.parametrize("case", [*BAD_HOMES, *OTHERS])
def test_what_cannot_be_used_or_meant_is_a_sentence_of_a_server_that_does_not_start(tmp_path: Path, case: str) -> None:
    make, sentence = (BAD_HOMES | OTHERS)[case]
    variables = make(tmp_path)
    process, _, log = launch(tmp_path, **variables)
    assert process.wait(timeout=HANG) != 0
    said = log.read_text()
    assert "Traceback" not in said, said
    (found,) = SENTENCE.findall(said)
    assert sentence in found
    assert variables.get("LORA_LAB_TOKEN", "no token") not in said
    assert case in BAD_HOMES or not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("command", "case"),
    [*(("compare", case) for case in BAD_HOMES), ("report", "a file"), ("run", "a file"), ("run", "a newer method")],
)
def test_the_command_line_says_it_in_a_sentence_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str, command: str
) -> None:
    make, sentence = BAD_HOMES[case]
    monkeypatch.setenv("LORA_LAB_HOME", str(tmp_path / "home"))
    for name, value in make(tmp_path).items():
        monkeypatch.setenv(name, value)
    assert main([command, *COMMANDS[command]]) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(r"error: .+\.\n", said), said
    assert sentence in said


def test_a_port_in_use_is_a_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        # The later of two flags counts.
        process, _, log = launch(tmp_path, "--server.port", str(port), "--server.address", "127.0.0.1")
        assert process.wait(timeout=HANG) != 0
    said = log.read_text().strip()
    assert said.endswith(f"Port {port} is not available")
    assert len(said.splitlines()) == 1


def test_another_launcher_without_a_token_says_it_in_a_sentence(tmp_path: Path) -> None:
    environment = {**os.environ, "LORA_LAB_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(free_port()), "--host", "0.0.0.0"]
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, timeout=HANG, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert len(SENTENCE.findall(done.stderr)) == 1
    assert not (tmp_path / "home").exists()
