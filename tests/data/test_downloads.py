"""Datasets are downloaded whole or not at all."""

from __future__ import annotations

import hashlib
import io
import resource
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from core.data.sources.catalog import Catalog
from core.data.sources.published import IdxDataset, Published
from core.errors import DownloadError
from core.files import put_in_place
from core.settings import Settings
from tests.conftest import HANG
from tests.data.idx_files import LETTERS, MNIST, Files, idx_files, put, tree, zipped

Answer = bytes | int | tuple[int, bytes] | None
"""A body, a status, a body with the length that is announced for it, or silence."""

AT_ONCE = 4.0
"""Seconds within which a stop acts on a busy machine; on an idle one, it takes a tenth of a second."""


class Server(ThreadingHTTPServer):
    """A real web server on this machine: answers each path as told, 404 where told nothing."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}).start()

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is part of the tests."""

    def close(self) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()


class _Answers(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        answer = self.server.answers.get(self.path, 404)
        if answer is None:
            self.server.over.wait(20)
        elif isinstance(answer, int):
            self.send_error(answer)
        else:
            length, body = answer if isinstance(answer, tuple) else (len(answer), answer)
            self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    yield server
    server.close()


def offered(server: Server, source: IdxDataset, files: Files) -> IdxDataset:
    """``source`` as ``server`` has it, ``files`` standing below ``good/``."""
    server.answers |= {f"/good/{name}": content for name, content in files.items()}
    return replace(
        source,
        url=f"{server.url}good/",
        resources=tuple((name, hashlib.md5(content).hexdigest()) for name, content in files.items()),
        download_bytes=sum(map(len, files.values())),
    )


def offering(home: Path, offer: IdxDataset, timeout: float = 15.0) -> Catalog:
    """A catalog that downloads one dataset."""
    return Catalog(Settings(home), [partial(Published, datasets=(offer,), timeout=timeout)])


def letters_zip(files: Files) -> Files:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("gzip/emnist-digits-train-images-idx3-ubyte.gz", bytes(1000))
        archive.writestr("../escaped", b"no")
        for name, content in files.items():
            archive.writestr(f"gzip/{name}", content)
    return {"gzip.zip": buffer.getvalue()}


@pytest.mark.parametrize("source", [MNIST, LETTERS], ids=lambda source: source.name)
def test_a_download_ends_in_a_whole_dataset_and_nothing_else(
    source: IdxDataset, server: Server, tmp_path: Path
) -> None:
    files = zipped(idx_files(source))
    offer = offered(server, source, letters_zip(files) if source is LETTERS else files)
    catalog, shares = offering(tmp_path, offer), []
    assert catalog.info(source.name).state == "absent"
    catalog.download(source.name, shares.append)
    assert tree(tmp_path) == {
        "datasets": None,
        f"datasets/{source.folder}": None,
        f"datasets/{source.folder}/raw": None,
        **{f"datasets/{source.folder}/raw/{name}": content for name, content in files.items()},
    }
    assert catalog.info(source.name).state == "ready"
    assert len(catalog.load(source.name).train_labels) == 60
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_download_takes_the_place_of_a_damaged_dataset_and_of_the_one_in_memory(
    server: Server, tmp_path: Path
) -> None:
    put(tmp_path / "datasets/MNIST/raw", idx_files(MNIST, seed=1))
    catalog = offering(tmp_path, offered(server, MNIST, zipped(idx_files(MNIST, seed=2))))
    old = catalog.load("mnist")
    (tmp_path / "datasets/MNIST/raw" / MNIST.stems[0]).write_bytes(b"damaged")
    catalog.download("mnist")
    assert (catalog.load("mnist").train_images != old.train_images).any()


PACKED = zipped(idx_files(MNIST))
FIRST, *_, LAST = PACKED
WHOLE = PACKED[LAST]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (PACKED[FIRST], "MD5 differs"),
        (WHOLE[:-1], "MD5 differs"),
        ((len(WHOLE), WHOLE[:20]), "connection failed"),
        (404, "the server answered 404"),
        (503, "the server answered 503"),
        (None, "the connection failed"),
        (bytes(4 * sum(map(len, PACKED.values()))), "sends more data than"),
    ],
    ids=["other file", "short file", "breaks off", "404", "503", "silent", "endless"],
)
@pytest.mark.parametrize("had", [{}, idx_files(MNIST, seed=9), {"train-images-idx3-ubyte": b"damaged"}])
def test_a_failed_download_says_why_in_one_line_and_leaves_what_was_there(
    answer: Answer, reason: str, had: Files, server: Server, tmp_path: Path
) -> None:
    put(tmp_path / "datasets/MNIST/raw", had)
    before = tree(tmp_path)
    patience = 0.3 if answer is None else HANG  # a busy machine may take long to answer
    catalog = offering(tmp_path, offered(server, MNIST, PACKED), timeout=patience)
    server.answers[f"/good/{LAST}"] = answer
    with pytest.raises(DownloadError, match=f"^Could not download MNIST: .*{reason}.*Check the connection") as caught:
        catalog.download("mnist")
    assert str(tmp_path / "datasets/MNIST/raw") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert tree(tmp_path) == before


def test_a_move_that_fails_puts_back_what_was_moved_aside(tmp_path: Path) -> None:
    put(tmp_path / "raw", idx_files(MNIST))
    before = tree(tmp_path)
    with pytest.raises(FileNotFoundError):
        put_in_place(tmp_path / "never written", tmp_path / "raw")
    assert tree(tmp_path) == before


def test_no_server_at_all_is_a_failed_download_that_can_be_tried_again(server: Server, tmp_path: Path) -> None:
    server.close()
    catalog = offering(tmp_path, offered(server, MNIST, PACKED))
    for _ in range(2):
        with pytest.raises(DownloadError, match=r"MNIST: the connection failed\. Check"):
            catalog.download("mnist")
    assert tree(tmp_path) == {"datasets": None}


def test_a_stop_ends_a_download_at_the_next_piece_and_leaves_what_was_there(server: Server, tmp_path: Path) -> None:
    put(tmp_path / "datasets/MNIST/raw", idx_files(MNIST, seed=9))
    before, stop, shares = tree(tmp_path), threading.Event(), []
    catalog = offering(tmp_path, offered(server, MNIST, PACKED))

    def stop_early(share: float) -> None:
        shares.append(share)
        stop.set()

    with pytest.raises(DownloadError, match="was stopped"):
        catalog.download("mnist", stop_early, stop)
    assert len(shares) == 1
    assert tree(tmp_path) == before


def test_a_second_download_of_the_same_dataset_is_refused_while_the_first_goes_on(
    server: Server, tmp_path: Path
) -> None:
    catalog = offering(tmp_path, offered(server, MNIST, PACKED))
    refusals = []

    def ask_again(share: float) -> None:
        with pytest.raises(DownloadError, match="already") as caught:
            catalog.download("mnist")
        refusals.append(caught)

    catalog.download("mnist", ask_again)
    assert refusals
    assert catalog.info("mnist").state == "ready"


def test_a_full_disk_is_a_failed_download_that_leaves_what_was_there(server: Server, tmp_path: Path) -> None:
    put(tmp_path / "datasets/MNIST/raw", idx_files(MNIST, seed=9))
    before = tree(tmp_path)
    catalog = offering(tmp_path, offered(server, MNIST, PACKED))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(DownloadError, match="MNIST: File too large"):
            catalog.download("mnist")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert tree(tmp_path) == before


def test_what_a_killed_download_left_is_not_received_again_if_it_is_whole(server: Server, tmp_path: Path) -> None:
    put(tmp_path / "datasets/.mnist.part/raw", {FIRST: PACKED[FIRST], LAST: WHOLE[:-1], "tmp123": b"half"})
    offering(tmp_path, offered(server, MNIST, PACKED)).download("mnist")
    assert server.asked == [f"/good/{name}" for name in PACKED if name != FIRST]
    assert tree(tmp_path / "datasets/MNIST/raw") == PACKED
    assert not (tmp_path / "datasets/.mnist.part").exists()
