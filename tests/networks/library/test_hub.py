"""Networks by their name at Hugging Face: checked against what the Hub says, resumed, cancelled, and refused clearly.

The Hub is a small server on this machine that answers the same few requests.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import LabError, NetworkFileError
from core.networks.library import partial
from core.networks.library.arrivals import Arrivals
from core.networks.library.hub import TIMEOUT, HubPlace, is_hub_name
from core.networks.library.networks import Networks
from core.settings import Settings
from tests.bad_files.sentences import refusal
from tests.conftest import wait_until
from tests.networks.library.hub_server import COMMIT, Drip, HubServer
from tests.networks.tiny import save_tiny
from tests.slow_servers import deaf_server, is_asking, slow_server, stopped

pytestmark = pytest.mark.usefixtures("read_here")

WEIGHTS = "model.safetensors"

AT_ONCE = TIMEOUT / 2
"""Seconds within which a stop acts on a busy machine, before a silent server is given up; mostly some 0.1 s."""


@pytest.fixture
def hub(sound: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    server = HubServer(sound)
    monkeypatch.setenv("HF_ENDPOINT", server.address + "/")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield server
    if server.hold:
        server.hold.set()
    server.ended.set()
    server.shutdown()
    server.server_close()


def left(networks: Networks) -> list[Path]:
    return [path for path in networks._settings.networks.rglob("*") if path.is_file() and path.suffix != ".lock"]


def refused(networks: Networks, name: str = "org/tiny") -> str:
    said = refusal(LabError, networks.import_known, name)
    assert networks.list() == []
    return said


def ranges(hub: HubServer) -> list[str]:
    return [wanted for path, wanted in hub.requests if path.endswith(WEIGHTS)]


def test_a_network_comes_with_its_commit_licence_and_progress(networks: Networks, hub: HubServer, sound: Path) -> None:
    shares: list[float] = []
    card = networks.import_known("org/tiny", shares.append)
    assert (card.name, card.revision, card.origin, card.licence) == ("org/tiny", COMMIT, "Hugging Face", "mit")
    assert card.digest == networks.import_folder(sound, "org/tiny").digest
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert not any("onnx" in path for path, _ in hub.requests)
    assert networks.find("org/tiny") is not None
    assert all(path.parent.name == card.digest for path in left(networks))


def test_a_revision_can_be_named(networks: Networks, hub: HubServer) -> None:
    assert networks.import_known(f"org/tiny@{COMMIT}").revision == COMMIT
    with pytest.raises(NetworkFileError, match="no such revision"):
        networks.import_known("org/tiny@v9")


def test_shards_are_downloaded(networks: Networks, tmp_path: Path, hub: HubServer) -> None:
    hub.folder = save_tiny(tmp_path / "sharded", shard="6KB")
    here = networks.import_folder(hub.folder)
    card = networks.import_known("org/tiny")
    assert (card.digest, card.title) == (here.digest, "sharded"), "it keeps the name that people read"
    assert networks.find("org/tiny") == card


@pytest.mark.parametrize("can_resume", [True, False])
def test_a_connection_that_breaks_is_taken_up_again(networks: Networks, hub: HubServer, can_resume: bool) -> None:
    size = (hub.folder / WEIGHTS).stat().st_size
    hub.break_after, hub.ranges = size // 2 + 1, can_resume
    if can_resume:
        networks.import_known("org/tiny")
        assert ranges(hub) == ["", f"bytes={size // 2 + 1}-"]
    else:  # it never gets beyond the half
        assert "was lost" in refused(networks)


@pytest.mark.parametrize(
    ("changes", "goes_on"),
    [({}, True), ({"ranges": False}, True), ({"commit": "d" * 40}, False)],
    ids=["as it was", "cannot resume", "has a new commit"],
)
def test_a_download_that_was_broken_off_goes_on_where_it_ended_unless_there_is_a_new_commit(
    networks: Networks, hub: HubServer, changes: dict[str, Any], goes_on: bool
) -> None:
    size = (hub.folder / WEIGHTS).stat().st_size
    hub.break_after = size // 10
    assert "to go on where it ended" in refused(networks)
    (part,) = (path for path in left(networks) if path.name == WEIGHTS)
    reached = part.stat().st_size
    assert reached == 4 * (size // 10)
    hub.break_after = None
    hub.requests.clear()
    for name, value in changes.items():
        setattr(hub, name, value)
    card = networks.import_known("org/tiny")
    assert card.revision == hub.commit
    assert ranges(hub) == [f"bytes={reached}-" if goes_on else ""]
    assert all(path.parent.name == card.digest for path in left(networks)) or not goes_on


def test_a_download_can_be_stopped_and_continued(settings: Settings, networks: Networks, hub: HubServer) -> None:
    hub.hold = threading.Event()
    arrivals = Arrivals(networks)
    arrivals.import_known("org/tiny")
    assert hub.waiting.wait(60)
    with pytest.raises(NetworkFileError, match="is being imported already"):
        networks.import_known("org/tiny")
    arrivals.stop("org/tiny")
    hub.hold.set()
    wait_until(lambda: not getattr(arrivals.state("org/tiny"), "running", True))
    state = arrivals.state("org/tiny")
    assert state is not None
    assert (state.error, state.progress < 1) == (None, True)
    assert networks.list() == []
    hub.hold = None
    arrivals.repeat("org/tiny")
    wait_until(lambda: not getattr(arrivals.state("org/tiny"), "running", True))
    assert [card.name for card in networks.list()] == ["org/tiny"]


def check_stopped(networks: Networks, waits: Callable[[], bool]) -> None:
    """Bringing a network that is stopped ends at once. Args: waits: whether it waits for a server."""
    took, error = stopped(lambda stop: networks.import_known("org/tiny", stop=stop), waits)
    assert took < AT_ONCE
    assert str(error) == "org/tiny was not imported: it was stopped."
    assert isinstance(error, partial.BrokenOffError)
    assert networks.list() == []


@pytest.mark.parametrize(
    "drip",
    [
        Drip("/revision/main"),
        Drip("/revision/main", headers=True),
        Drip("config.json"),
        Drip("config.json", headers=True),
        Drip(WEIGHTS),
        Drip(WEIGHTS, headers=True),
        Drip(WEIGHTS, size=1000, seconds=3600),
    ],
    ids=str,
)
def test_a_stop_acts_at_once_while_an_answer_drips_in(networks: Networks, hub: HubServer, drip: Drip) -> None:
    hub.drip = drip
    check_stopped(networks, hub.waiting.is_set)


def test_a_stop_acts_at_once_while_a_server_does_not_answer(
    networks: Networks, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slow_server("it never answers") as silent:
        monkeypatch.setenv("HF_ENDPOINT", silent.url)
        check_stopped(networks, silent.waiting.is_set)
    with deaf_server() as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        check_stopped(networks, is_asking)


def test_a_stop_acts_between_attempts(networks: Networks, hub: HubServer) -> None:
    stop = threading.Event()
    place = HubPlace("org/tiny", stop=stop)
    hub.break_after = 10
    pieces = place.pieces(WEIGHTS)
    assert len(next(pieces)) == 10
    stop.set()
    with pytest.raises(NetworkFileError, match=r"org/tiny was not imported: it was stopped\."):
        next(pieces)
    assert len(ranges(hub)) == 1


@pytest.mark.parametrize("headers", [True, False])
def test_a_description_that_drips_for_ever_is_one_sentence(hub: HubServer, headers: bool) -> None:
    hub.drip = Drip("/revision/main", headers=headers)
    said = refusal(NetworkFileError, HubPlace, "org/tiny", timeout=1.0)
    assert "cannot be reached (its answer was not complete after 1 s)" in said


def test_what_precedes_a_file_must_not_drip_for_ever_but_the_file_may_take_its_time(hub: HubServer) -> None:
    place = HubPlace("org/tiny", timeout=1.0)
    hub.drip = Drip(WEIGHTS, headers=True)
    with pytest.raises(NetworkFileError, match=r"was lost \(its answer was not complete after 1 s\)"):
        list(place.pieces(WEIGHTS))
    content = (hub.folder / WEIGHTS).read_bytes()
    hub.drip = Drip(WEIGHTS, size=len(content) // 20, seconds=0.1)
    hub.requests.clear()
    assert b"".join(place.pieces(WEIGHTS)) == content
    assert ranges(hub) == [""]


def test_a_redirection_to_another_kind_of_server_is_one_sentence(networks: Networks, hub: HubServer) -> None:
    hub.redirect = "ftp://127.0.0.1"
    assert "was lost" in refused(networks)


@pytest.mark.parametrize("file", [WEIGHTS, "tokenizer.json"])
def test_a_file_that_is_not_what_the_hub_says_is_refused_and_deleted(
    networks: Networks, hub: HubServer, file: str
) -> None:
    def altered(name: str, content: bytes) -> bytes:
        return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:] if name == file else content

    hub.alter = altered
    assert "did not arrive as" in refused(networks)
    assert left(networks) == []
    hub.alter = lambda name, content: content
    networks.import_known("org/tiny")


def test_a_longer_file_than_the_hub_says_ends_there(networks: Networks, hub: HubServer) -> None:
    hub.alter = lambda name, content: content + b"more" * 10**6
    networks.import_known("org/tiny")


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        ((401, "RepoNotFound"), "There is no network org/tiny at 127.0.0.1, or it is private"),
        ((404, ""), "There is no network"),
        ((401, ""), "There is no network"),
        ((403, "GatedRepo"), "have accepted its terms"),
        ((401, "GatedRepo"), "have accepted its terms"),
        ((404, "RevisionNotFound"), "no such revision"),
        ((429, ""), "cannot be reached (it answered 429)"),
        ((503, ""), "cannot be reached (it answered 503)"),
        ((418, ""), "answered 418"),
    ],
)
def test_a_refusal_is_one_sentence(networks: Networks, hub: HubServer, refusal: tuple[int, str], sentence: str) -> None:
    hub.refusal = refusal
    assert sentence in refused(networks)
    assert left(networks) == []


def test_a_gated_network_is_recognized_by_its_files(networks: Networks, hub: HubServer) -> None:
    hub.file_refusal = (403, "GatedRepo")
    assert "have accepted its terms" in refused(networks)
    assert left(networks) == []


def test_a_token_goes_to_the_hub_and_to_nobody_else(
    networks: Networks, hub: HubServer, sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    elsewhere = HubServer(sound)
    hub.redirect = elsewhere.address
    networks.import_known("org/tiny")
    assert set(hub.tokens) == {"Bearer hf_secret"}
    assert elsewhere.requests
    assert elsewhere.tokens == []
    elsewhere.shutdown()
    elsewhere.server_close()


def test_no_network_and_no_server_are_one_sentence(
    networks: Networks, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in refused(networks)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://no-such-host.invalid")
    assert "no-such-host.invalid cannot be reached" in refused(networks)
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc/passwd")
    assert "HF_ENDPOINT must begin with" in refused(networks)
    with slow_server("it never answers") as silent:
        monkeypatch.setenv("HF_ENDPOINT", silent.url)
        with pytest.raises(NetworkFileError, match="the server does not answer"):
            HubPlace("org/tiny", timeout=0.2)


@pytest.mark.parametrize(
    "description",
    [b"<html>a login page</html>", b"[]", b"{}", b"null", b'{"sha": "main", "siblings": []}', b"[" * 10**5],
)
def test_an_answer_that_is_not_the_hubs_is_one_sentence(networks: Networks, hub: HubServer, description: bytes) -> None:
    hub.description = description
    assert "is not that of Hugging Face" in refused(networks)


@pytest.mark.parametrize("size", [-5, -(10**12), True, False])
def test_a_size_that_no_file_has_is_not_the_hubs(networks: Networks, hub: HubServer, size: object) -> None:
    described = hub.described()
    described["siblings"][0]["size"] = size
    hub.description = json.dumps(described).encode()
    assert "is not that of Hugging Face" in refused(networks)
    assert len(hub.requests) == 1


def test_what_is_wrong_with_a_network_is_said_before_its_weights_are_downloaded(
    networks: Networks, hub: HubServer, tmp_path: Path
) -> None:
    hub.folder = Path(shutil.copytree(hub.folder, tmp_path / "bad"))
    (hub.folder / "config.json").write_text('{"model_type": "mpt9", "auto_map": {}}')
    assert "needs code that its authors wrote" in refused(networks)
    (hub.folder / WEIGHTS).rename(hub.folder / "pytorch_model.bin")
    assert "only pytorch_model.bin" in refused(networks)
    assert not any(path.endswith((WEIGHTS, ".bin")) for path, _ in hub.requests)


@pytest.mark.parametrize(
    "name", ["", "a/b/c", "../x", "a b", "org/tiny@../x", "http://a/b", "a/..", "-a/b", "é/b", "a" * 200]
)
def test_what_is_no_name_is_one_sentence(networks: Networks, name: str) -> None:
    assert not is_hub_name(name)
    assert "is not a name at Hugging Face" in refused(networks, name)


@pytest.mark.parametrize("name", ["gpt2", "org/tiny", "Org-1/Tiny_2.5", "org/tiny@main", "org/tiny@refs/pr/1"])
def test_names_are_recognized(name: str) -> None:
    assert is_hub_name(name)


def test_a_process_that_is_killed_leaves_a_download_that_goes_on(
    networks: Networks, hub: HubServer, settings: Settings
) -> None:
    hub.hold = threading.Event()
    code = (
        "import sys; from pathlib import Path\n"
        "from core.networks.library.networks import Networks\n"
        "from core.settings import Settings\n"
        "Networks(Settings(home=Path(sys.argv[1]))).import_known('org/tiny')"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(settings.home)], env=os.environ | {"PYTHONPATH": "."})
    assert hub.waiting.wait(120)
    size = (hub.folder / WEIGHTS).stat().st_size
    # In pieces of at most this size; what has arrived is at least half.
    wait_until(lambda: any(path.name == WEIGHTS for path in left(networks)))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert networks.list() == []
    networks.clean()  # young downloads stay
    hub.hold.set()
    hub.hold = None
    hub.requests.clear()
    card = networks.import_known("org/tiny")
    (wanted,) = ranges(hub)
    there = int(wanted.removeprefix("bytes=").removesuffix("-") or 0)
    assert 0 <= there < size
    assert all(path.parent.name == card.digest for path in left(networks))


def test_downloads_that_nobody_continues_are_deleted_after_a_week(networks: Networks, hub: HubServer) -> None:
    hub.break_after = 1000
    refused(networks)
    (folder,) = {path.parent for path in left(networks)}
    old = time.time() - partial.KEPT - 10
    os.utime(folder, (old, old))
    networks.clean()
    assert left(networks) == []
    assert not folder.exists()
