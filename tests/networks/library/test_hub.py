"""Networks by their name at Hugging Face: checked against what the Hub says, resumed, cancelled, and refused clearly.

The Hub is a small server on this machine that answers the same few requests.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from core.errors import LabError, NetworkFileError
from core.networks.library.arrivals import Arrivals
from core.networks.library.card import ABOUT
from core.networks.library.hub import CHUNK, is_hub_name
from core.networks.library.importing import KEPT
from core.networks.library.networks import Networks
from core.networks.library.place import packages_text
from core.settings import Settings
from tests import forked
from tests.bad_files.sentences import refusal
from tests.conftest import HANG, wait_until
from tests.networks.library.hub_server import COMMIT, HubServer
from tests.networks.tiny import save_tiny

pytestmark = pytest.mark.usefixtures("read_here")

WEIGHTS = "model.safetensors"

POSITIONS = 2**16
"""Of a network with weights of more than four pieces of a download."""


@pytest.fixture
def hub(sound: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    server = HubServer(sound)
    monkeypatch.setenv("HF_ENDPOINT", server.address + "/")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield server
    if server.hold:
        server.hold.set()
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


@pytest.fixture
def large(hub: HubServer, tmp_path: Path) -> int:
    """Size of the weights of a network that arrives in several pieces."""
    hub.folder = save_tiny(tmp_path / "large", max_position_embeddings=POSITIONS)
    return (hub.folder / WEIGHTS).stat().st_size


def test_a_connection_that_breaks_is_taken_up_again(networks: Networks, hub: HubServer, large: int) -> None:
    hub.break_after = large - CHUNK
    networks.import_known("org/tiny")
    assert ranges(hub) == ["", f"bytes={hub.break_after // CHUNK * CHUNK}-"]


@pytest.mark.parametrize(
    ("changes", "goes_on"),
    [({}, True), ({"ranges": False}, True), ({"commit": "d" * 40}, False)],
    ids=["as it was", "cannot resume", "has a new commit"],
)
def test_a_killed_download_goes_on_where_it_ended_unless_there_is_a_new_commit(
    networks: Networks, hub: HubServer, settings: Settings, large: int, changes: dict[str, Any], goes_on: bool
) -> None:
    hub.hold = threading.Event()
    code = (
        "import sys; from pathlib import Path\n"
        "from core.networks.library.networks import Networks\n"
        "from core.settings import Settings\n"
        "Networks(Settings(home=Path(sys.argv[1]))).import_known('org/tiny')"
    )
    process = forked.start(["-c", code, str(settings.home)])
    assert hub.waiting.wait(HANG)
    reached = large // 2 // CHUNK * CHUNK
    assert reached
    wait_until(lambda: any(path.name == WEIGHTS and path.stat().st_size == reached for path in left(networks)))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert networks.list() == []
    networks.clean()  # young downloads stay
    hub.hold.set()
    hub.hold = None
    hub.requests.clear()
    for name, value in changes.items():
        setattr(hub, name, value)
    card = networks.import_known("org/tiny")
    assert (card.revision, ranges(hub)) == (hub.commit, [f"bytes={reached}-" if goes_on else ""])
    assert all(path.parent.name == card.digest for path in left(networks)) == goes_on
    assert card.digest == networks.import_folder(hub.folder).digest


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


def test_a_longer_file_than_the_hub_says_is_refused(networks: Networks, hub: HubServer) -> None:
    hub.alter = lambda name, content: content + b"more" * 10**6
    assert "sends more than it has" in refused(networks)
    assert left(networks) == []


def test_a_shorter_file_than_the_hub_says_is_refused(networks: Networks, hub: HubServer) -> None:
    hub.alter = lambda name, content: content[:-1]
    assert "is shorter at 127.0.0.1 than it describes" in refused(networks)
    assert left(networks) == []


def test_a_network_of_30_gb_is_refused_before_any_file_is_downloaded(networks: Networks, hub: HubServer) -> None:
    described = hub.described()
    described["siblings"] = [file for file in described["siblings"] if file["rfilename"] != WEIGHTS] + [
        {"rfilename": "model.safetensors.index.json", "size": 9999},
        *({"rfilename": f"model-0000{n}-of-00006.safetensors", "size": 5 * 10**9} for n in range(1, 7)),
    ]
    hub.description = json.dumps(described).encode()
    assert "has 30.0 GB, more than the 8.6 GB" in refused(networks)
    assert [path for path, _ in hub.requests] == ["/api/models/org/tiny/revision/main"]


def test_a_pickle_beside_safetensors_is_never_asked_for(networks: Networks, hub: HubServer, tmp_path: Path) -> None:
    hub.folder = Path(shutil.copytree(hub.folder, tmp_path / "both"))
    (hub.folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (hub.folder / "modeling_tiny.py").write_text("raise SystemExit")
    card = networks.import_known("org/tiny")
    asked = {path.rpartition("/")[2] for path, _ in hub.requests[1:]}
    assert asked == {*card.files, "README.md"}
    assert {path.name for path in left(networks)} == {*card.files, ABOUT}


@pytest.mark.parametrize("to", ["public", "private"])
def test_a_redirect_from_a_public_server_to_a_private_address_is_refused(
    settings: Settings, hub: HubServer, sound: Path, to: str
) -> None:
    """A proxy stands for the internet: it answers for every address."""
    elsewhere = HubServer(sound)
    hub.redirect = elsewhere.address if to == "private" else "http://1.0.0.1"
    done = forked.run(
        ["-m", "core", "networks", "org/tiny", "--home", str(settings.home)],
        env=os.environ | {"HF_ENDPOINT": "http://1.1.1.1", "HTTP_PROXY": hub.address, "NO_PROXY": ""},
    )
    assert hub.requests
    assert elsewhere.requests == []
    if to == "private":
        assert done.returncode == 1
        assert "1.1.1.1 redirects to the private address 127.0.0.1: check HF_ENDPOINT." in done.stderr
    else:
        assert done.returncode == 0, done.stderr
    elsewhere.shutdown()
    elsewhere.server_close()


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


def test_no_network_and_no_server_are_one_sentence_that_names_packages(
    networks: Networks, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as offline:
        offline.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # read from the environment once
        said = refused(networks)
        assert "HF_HUB_OFFLINE is set" in said
        assert packages_text() in said
    for endpoint in ("http://no-such-host.invalid", "file:///etc/passwd", "http://127.0.0.1:9"):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        said = refused(networks)
        assert "cannot be reached (" in said
        assert packages_text() in said


@pytest.mark.parametrize(
    "description",
    [b"<html>a login page</html>", b"[]", b"{}", b"null", b'{"sha": "main", "siblings": []}', b"[" * 10**5],
)
def test_an_answer_that_is_not_the_hubs_is_one_sentence(networks: Networks, hub: HubServer, description: bytes) -> None:
    hub.description = description
    assert "is not that of Hugging Face" in refused(networks)


def test_a_description_that_is_larger_than_any_is_not_read(networks: Networks, hub: HubServer) -> None:
    hub.description = b'{"siblings":[' + b"{}," * 2**23 + b"{}]}"
    tracemalloc.start()
    try:
        assert "has too many files" in refused(networks)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [-5, -(10**12), "large", [7]])
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
    "name", ["", "a/b/c", "../x", "a b", "org/tiny@", "http://a/b", "a/..", "-a/b", "é/b", "a" * 200]
)
def test_what_is_no_name_is_one_sentence(networks: Networks, name: str) -> None:
    assert not is_hub_name(name)
    assert "is not a name at Hugging Face" in refused(networks, name)


@pytest.mark.parametrize("name", ["gpt2", "org/tiny", "Org-1/Tiny_2.5", "org/tiny@main", "org/tiny@refs/pr/1"])
def test_names_are_recognized(name: str) -> None:
    assert is_hub_name(name)


def test_downloads_that_nobody_continues_are_deleted_after_a_week(networks: Networks, hub: HubServer) -> None:
    hub.file_refusal = (503, "")
    refused(networks)
    (folder,) = {path.parent for path in left(networks)}
    old = time.time() - KEPT - 10
    os.utime(folder, (old, old))
    networks.clean()
    assert left(networks) == []
    assert not folder.exists()
