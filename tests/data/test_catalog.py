"""Datasets: reading IDX files strictly, finding them, downloading them whole or not at all."""

import gzip
import hashlib
import io
import os
import resource
import struct
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from core.data.catalog import Catalog, _put_in_place
from core.data.idx import MAX_BYTES, SOURCES, Source, read_idx
from core.errors import DatasetError, DownloadError
from core.settings import Settings

MNIST = SOURCES[0]
LETTERS = SOURCES[3]
Files = dict[str, bytes]


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


def idx_files(source: Source, seed: int = 0, count: int = 60) -> Files:
    """Small files with the names that ``source`` wants, unpacked; every class occurs."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % len(source.class_names) + source.first_label
    images = draw.integers(0, 256, (count, 28, 28))
    contents = (idx(images), idx(labels), idx(images[::-1]), idx(labels[::-1]))
    return dict(zip(source.stems, contents, strict=True))


def zipped(files: Files) -> Files:
    return {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in files.items()}


def put(folder: Path, files: Files) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


# The reader


@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=3, max_side=9)), st.booleans(), st.integers(0, 2**32 - 1)
)
def test_idx_reads_back_what_was_written_and_refuses_every_cut_and_addition(
    values: np.ndarray, packed: bool, cut: int
) -> None:
    whole = idx(values)
    with TemporaryDirectory() as folder:
        path = Path(folder) / ("a-ubyte.gz" if packed else "a-ubyte")
        content = gzip.compress(whole) if packed else whole
        path.write_bytes(content)
        np.testing.assert_array_equal(read_idx(path, values.ndim), values)
        for damaged in (content[: cut % len(content)], gzip.compress(whole + b"x") if packed else whole + b"x"):
            path.write_bytes(damaged)
            with pytest.raises(DatasetError, match="a-ubyte"):
                read_idx(path, values.ndim)


@given(st.integers(0, 2**32 - 1), st.integers(1, 255))
def test_a_changed_byte_in_a_gzipped_file_never_changes_a_value_unnoticed(place: int, change: int) -> None:
    values = np.arange(200, dtype=np.uint8)
    content = bytearray(gzip.compress(idx(values), mtime=0))
    content[place % len(content)] ^= change
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a-ubyte.gz"
        path.write_bytes(content)
        try:
            read = read_idx(path, 1)
        except DatasetError:
            return
        np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize("shape", [(0,), (2**32 - 1,), (MAX_BYTES + 1,)])
def test_a_header_with_no_sane_size_is_refused_before_anything_is_unpacked(shape: tuple[int], tmp_path: Path) -> None:
    path = tmp_path / "a-ubyte.gz"
    path.write_bytes(gzip.compress(struct.pack(">4BI", 0, 0, 8, 1, *shape)))
    with pytest.raises(DatasetError, match="declares"):
        read_idx(path, 1)


def test_no_more_is_unpacked_than_the_header_announces(tmp_path: Path) -> None:
    path = tmp_path / "a-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.zeros(10)) + bytes(50_000_000)))
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match="too long"):
            read_idx(path, 1)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("stem", "content", "reason"),
    [
        (0, idx(np.zeros((60, 28, 27))), "28×27 pixels"),
        (0, idx(np.zeros((59, 28, 28))), "60 labels for 59 images"),
        (0, idx(np.zeros(60)), "not an IDX file"),
        (1, idx(np.full(60, 10)), "outside 0 to 9"),
        (3, b"\x00\x00\x0d\x01" + bytes(8), "not an IDX file"),
        (3, b"", "not an IDX file"),
    ],
)
def test_a_file_that_does_not_fit_is_named_in_one_sentence(
    stem: int, content: bytes, reason: str, tmp_path: Path
) -> None:
    put(tmp_path / "datasets/MNIST/raw", idx_files(MNIST) | {MNIST.stems[stem]: content})
    with pytest.raises(DatasetError, match=reason) as caught:
        Catalog(Settings(tmp_path)).load("mnist")
    assert MNIST.stems[stem][:5] in str(caught.value)
    assert "\n" not in str(caught.value)


# The catalog


def test_digits_are_always_there_and_always_the_same(tmp_path: Path) -> None:
    first, second = Catalog(Settings(tmp_path)).load("digits"), Catalog(Settings(tmp_path)).load("digits")
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        one = getattr(first, name)
        np.testing.assert_array_equal(one, getattr(second, name))
        assert not one.flags.writeable
    assert first.train_images.dtype == np.uint8
    assert first.train_images.shape[1:] == (28, 28)
    assert first.train_images.min() == 0
    assert first.train_images.max() > 240
    assert len(first.train_labels) + len(first.test_labels) == 1797
    train, test = np.bincount(first.train_labels, minlength=10), np.bincount(first.test_labels, minlength=10)
    assert (abs(test / (train + test) - 0.2) < 0.01).all()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["MNIST/raw", "MNIST", "mnist", "mnist/raw"])
@pytest.mark.parametrize("files", [idx_files(MNIST), zipped(idx_files(MNIST))], ids=["plain", "gzipped"])
@pytest.mark.parametrize("place", ["data", "home/datasets"])
def test_every_usual_layout_is_read_and_never_written_to(folder: str, files: Files, place: str, tmp_path: Path) -> None:
    put(tmp_path / place / folder, files)
    before = tree(tmp_path)
    catalog = Catalog(Settings(tmp_path / "home", data_folder=tmp_path / "data"))
    assert catalog.info("mnist").state == "ready"
    mnist = catalog.load("mnist")
    assert mnist.train_images.shape == (60, 28, 28)
    assert not any(part.flags.writeable for part in (mnist.train_images, mnist.train_labels, mnist.test_labels))
    assert tree(tmp_path) == before


@pytest.mark.parametrize("missing", MNIST.stems)
def test_a_dataset_with_a_missing_file_is_absent(missing: str, tmp_path: Path) -> None:
    files = idx_files(MNIST)
    del files[missing]
    put(tmp_path / "datasets/MNIST/raw", files)
    catalog = Catalog(Settings(tmp_path))
    assert catalog.info("mnist").state == "absent"
    with pytest.raises(DatasetError, match="download it, or set LORA_LAB_DATA"):
        catalog.load("mnist")


def test_torchvision_reads_the_same_images_and_labels(tmp_path: Path) -> None:
    put(tmp_path / "MNIST/raw", idx_files(MNIST))
    put(tmp_path / "EMNIST/raw", idx_files(LETTERS))
    catalog = Catalog(Settings(tmp_path / "home", data_folder=tmp_path))
    mnist, letters = catalog.load("mnist"), catalog.load("emnist-letters")
    for train in (True, False):
        part = "train" if train else "test"
        theirs = torchvision.datasets.MNIST(tmp_path, train=train)
        np.testing.assert_array_equal(getattr(mnist, f"{part}_images"), theirs.data.numpy())
        np.testing.assert_array_equal(getattr(mnist, f"{part}_labels"), theirs.targets.numpy())
        # torchvision leaves EMNIST lying on its side, and its labels from 1.
        theirs = torchvision.datasets.EMNIST(tmp_path, split="letters", train=train)
        np.testing.assert_array_equal(getattr(letters, f"{part}_images"), theirs.data.numpy().transpose(0, 2, 1))
        np.testing.assert_array_equal(getattr(letters, f"{part}_labels"), theirs.targets.numpy() - 1)
    assert letters.num_classes == 26
    assert [letters.class_names[0], letters.class_names[25]] == ["a", "z"]


@pytest.mark.parametrize("ask", [Catalog.info, Catalog.load, Catalog.download])
@pytest.mark.parametrize("name", ["cifar", "", "../mnist"])
def test_an_unknown_name_is_answered_with_the_known_ones(ask: Callable, name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="digits, mnist, fashion-mnist, kmnist, emnist-letters"):
        ask(Catalog(Settings(tmp_path)), name)


def test_the_best_dataset_is_the_best_of_those_that_are_here(tmp_path: Path) -> None:
    catalog = Catalog(Settings(tmp_path))
    assert [info.name for info in catalog.list() if info.state == "ready"] == ["digits"]
    for source, best in [(3, "digits"), (2, "kmnist"), (1, "fashion-mnist"), (0, "mnist")]:
        put(tmp_path / "datasets" / SOURCES[source].folder / "raw", idx_files(SOURCES[source]))
        assert catalog.best() == best
    assert {info.state for info in catalog.list()} == {"ready"}


def test_threads_share_one_copy_and_only_the_latest_datasets_stay(tmp_path: Path) -> None:
    put(tmp_path / "datasets/MNIST/raw", idx_files(MNIST))
    catalog = Catalog(Settings(tmp_path), keep=1)
    with ThreadPoolExecutor(8) as pool:
        copies = list(pool.map(catalog.load, ["mnist"] * 16))
    assert len({id(copy) for copy in copies}) == 1
    catalog.load("digits")
    assert catalog.load("mnist") is not copies[0]


# Downloads


Answer = bytes | int | tuple[int, bytes] | None
"""A body, a status, a body with the length that is announced for it, or silence."""


class Server:
    """A real web server on this machine: answers each path as told, 404 where told nothing."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.over = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                answer = outer.answers.get(self.path, 404)
                if answer is None:
                    outer.over.wait(20)
                    return
                length, body = answer if isinstance(answer, tuple) else (None, answer)
                if isinstance(body, int):
                    self.send_error(body)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body) if length is None else length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # a client that hangs up is part of the tests
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    yield server
    server.close()


def offered(server: Server, source: Source, files: Files, mirrors: tuple[str, ...] = ("good/",)) -> Source:
    """``source`` as ``server`` has it, ``files`` standing behind the mirror ``good/``."""
    server.answers |= {f"/good/{name}": content for name, content in files.items()}
    return replace(
        source,
        mirrors=tuple(server.url + mirror for mirror in mirrors),
        resources=tuple((name, hashlib.md5(content).hexdigest()) for name, content in files.items()),
        download_bytes=sum(map(len, files.values())),
    )


def letters_zip(files: Files) -> Files:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("gzip/emnist-digits-train-images-idx3-ubyte.gz", bytes(1000))
        archive.writestr("../escaped", b"no")
        for name, content in files.items():
            archive.writestr(f"gzip/{name}", content)
    return {"gzip.zip": buffer.getvalue()}


@pytest.mark.parametrize("source", [MNIST, LETTERS], ids=lambda source: source.name)
def test_a_download_ends_in_a_whole_dataset_and_nothing_else(source: Source, server: Server, tmp_path: Path) -> None:
    files = zipped(idx_files(source))
    offer = offered(server, source, letters_zip(files) if source is LETTERS else files, ("lost/", "good/"))
    catalog, shares = Catalog(Settings(tmp_path), (offer,)), []
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
    assert any(path.startswith("/lost/") for path in server.asked)


def test_a_download_takes_the_place_of_a_damaged_dataset_and_of_the_one_in_memory(
    server: Server, tmp_path: Path
) -> None:
    put(tmp_path / "datasets/MNIST/raw", idx_files(MNIST, seed=1))
    catalog = Catalog(Settings(tmp_path), (offered(server, MNIST, zipped(idx_files(MNIST, seed=2))),))
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
        ((len(WHOLE), WHOLE[:20]), "lost before the end"),
        (404, "the server answered 404"),
        (503, "the server answered 503"),
        (None, "the server does not answer"),
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
    catalog = Catalog(Settings(tmp_path), (offered(server, MNIST, PACKED),), timeout=0.3)
    server.answers[f"/good/{LAST}"] = answer
    with pytest.raises(DownloadError, match=f"^Could not download MNIST: .*{reason}.*Check the connection") as caught:
        catalog.download("mnist")
    assert str(tmp_path / "datasets/MNIST/raw") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert tree(tmp_path) == before


def test_damaged_files_of_other_mirrors_count_neither_as_progress_nor_against_the_limit(
    server: Server, tmp_path: Path
) -> None:
    mirrors = ("bad/", "worse/", "ugly/", "good/")
    server.answers |= {f"/{mirror}{FIRST}": bytes(len(PACKED[FIRST])) for mirror in mirrors}
    shares: list[float] = []
    Catalog(Settings(tmp_path), (offered(server, MNIST, PACKED, mirrors),)).download("mnist", shares.append)
    assert all(share < 1 for share in shares[:-2])


def test_a_move_that_fails_puts_back_what_was_moved_aside(tmp_path: Path) -> None:
    put(tmp_path / "raw", idx_files(MNIST))
    before = tree(tmp_path)
    with pytest.raises(FileNotFoundError):
        _put_in_place(tmp_path / "never written", tmp_path / "raw", aside=tmp_path / "before")
    assert tree(tmp_path) == before


def test_no_server_at_all_is_a_failed_download_that_can_be_tried_again(server: Server, tmp_path: Path) -> None:
    server.close()
    catalog = Catalog(Settings(tmp_path), (offered(server, MNIST, PACKED, ("good/", "lost/")),))
    for _ in range(2):
        with pytest.raises(DownloadError, match=r"MNIST: connection refused\. Check"):
            catalog.download("mnist")
    assert tree(tmp_path) == {"datasets": None}


@pytest.mark.parametrize(
    ("source", "files", "reason"),
    [
        (MNIST, PACKED | {LAST: gzip.compress(b"not IDX")}, "not an IDX file"),
        (MNIST, {FIRST: PACKED[FIRST]}, "lacks some of its files"),
        (LETTERS, letters_zip({}), "no item named 'gzip/emnist-letters-train-images"),
        (LETTERS, {"gzip.zip": b"not a zip"}, "not a zip file"),
        (LETTERS, letters_zip(dict.fromkeys(zipped(idx_files(LETTERS)), b"not gzip")), "damaged"),
    ],
    ids=["not IDX", "incomplete", "empty zip", "no zip", "zip of nonsense"],
)
def test_what_was_published_damaged_is_not_put_in_place(
    source: Source, files: Files, reason: str, server: Server, tmp_path: Path
) -> None:
    catalog = Catalog(Settings(tmp_path), (offered(server, source, files),))
    with pytest.raises(DownloadError, match=reason):
        catalog.download(source.name)
    assert tree(tmp_path) == {"datasets": None}


def test_a_stop_ends_a_download_at_the_next_piece_and_leaves_what_was_there(server: Server, tmp_path: Path) -> None:
    put(tmp_path / "datasets/MNIST/raw", idx_files(MNIST, seed=9))
    before, stop, shares = tree(tmp_path), threading.Event(), []
    catalog = Catalog(Settings(tmp_path), (offered(server, MNIST, PACKED),))

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
    catalog = Catalog(Settings(tmp_path), (offered(server, MNIST, PACKED),))
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
    catalog = Catalog(Settings(tmp_path), (offered(server, MNIST, PACKED),))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(DownloadError, match="MNIST: File too large"):
            catalog.download("mnist")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert tree(tmp_path) == before


def test_the_remains_of_a_killed_download_are_removed_by_a_later_one(server: Server, tmp_path: Path) -> None:
    abandoned, recent = (tmp_path / "datasets" / name for name in (".mnist.old.part", ".mnist.new.part"))
    for folder in (abandoned, recent):
        put(folder / "raw", {"half": b"a file"})
    os.utime(abandoned, (0, 0))
    Catalog(Settings(tmp_path), (offered(server, MNIST, PACKED),)).download("mnist")
    assert not abandoned.exists()
    assert recent.exists()


# The real files


@pytest.mark.full_size
def test_mnist_at_full_size_is_read_whole(tmp_path: Path) -> None:
    catalog = Catalog(replace(Settings.from_environment(), home=tmp_path))
    mnist = catalog.load("mnist")
    assert mnist.train_images.shape == (60_000, 28, 28)
    assert mnist.test_images.shape == (10_000, 28, 28)
    # The MD5 of the published training images, header included.
    assert hashlib.md5(idx(mnist.train_images)).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"
    assert np.bincount(mnist.train_labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert catalog.best() == "mnist"
