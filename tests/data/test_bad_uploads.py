"""Uploads that are not: one sentence each, in bounded memory, leaving nothing."""

from __future__ import annotations

import io
import re
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.data.uploads import Draft, limits, read_upload
from core.data.uploads import table as uploaded_table
from core.data.uploads.images import decode
from tests.data.bad_uploads import ALL, CSV, GOOD, NPZ, member, or_sentence, refusal
from tests.data.uploaded import (
    Make,
    flat,
    held,
    noise,
    npy,
    picture,
    zipped,
)
from tests.soak.sizes import full_or_short


def refused(content: bytes) -> str:
    """The sentence with which a file is refused."""
    return refusal(lambda: read_upload(content))


@pytest.mark.parametrize(("make", "sentence"), ALL.values(), ids=ALL.keys())
def test_a_bad_file_is_one_sentence_in_bounded_memory_and_leaves_nothing(
    make: Make, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = make()
    monkeypatch.chdir(tmp_path)
    read_upload(CSV)  # starts the reader, whose streams are opened to be written
    opened: list[str] = []
    _watch(opened)
    tracemalloc.start()
    try:
        said = refused(content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        _watch(None)
    assert re.search(sentence, said), said
    # A zip of very many small files costs what the zip module takes for each; 200,000 lines are 50 MB of arrays.
    assert peak < (96 if len(content) > 2**20 else 24) * 2**20
    assert opened == []
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_too_many_images_is_refused_at_the_first_that_is_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploaded_table, "MAX_IMAGES", 19)
    said = refusal(lambda: uploaded_table.read_table(CSV + b"\nno line"))
    assert said == "The file has more than 19 images: remove some."


def test_there_are_enough_bad_files() -> None:
    assert len(ALL) > 140


_opened: list[str] | None = None


def _watch(into: list[str] | None) -> None:
    global _opened
    _opened = into


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    """Take down every file that is opened to be written."""
    if _opened is not None and event == "open" and isinstance(arguments[2], int) and arguments[2] & 0o3:
        _opened.append(str(arguments[0]))


sys.addaudithook(_audit)


def test_unpacking_a_full_size_upload_never_holds_its_floats() -> None:
    """20,000 images of float32 are 63 MB; only their bytes, 16 MB, and one piece at a time stand in memory."""
    x = np.repeat(noise(5, (200, 28, 28)), 100, axis=0)
    content = zipped(*_members(x_train=x.astype(np.float32), y_train=np.arange(20_000) % 10))
    del x
    if len(content) > limits.MAX_BYTES:
        raise AssertionError("the example must fit into an upload")
    tracemalloc.start()
    try:
        assert sum(read_upload(content).train_counts) == 16_000
        assert tracemalloc.get_traced_memory()[1] < 72 * 2**20
    finally:
        tracemalloc.stop()


def _members(**values: np.ndarray) -> Iterator[tuple[str, bytes]]:
    for name, value in values.items():
        target = io.BytesIO()
        np.save(target, value)
        yield f"{name}.npy", target.getvalue()


def test_an_entry_that_hides_the_next_ones_in_its_comment_is_damage() -> None:
    """One bit of a header does that, and without its test part the file would still be a dataset."""
    content = bytearray(NPZ)
    header = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 4)
    content[header + 33] ^= 1  # the length of its comment, 256 more
    refused(bytes(content))


@settings(max_examples=full_or_short(300, 100), deadline=None)
@given(st.sampled_from(sorted(GOOD)), st.data())
def test_a_truncated_file_gives_a_sentence_or_fewer_lines(kind: str, data: st.DataObject) -> None:
    content = GOOD[kind][: data.draw(st.integers(0, len(GOOD[kind]) - 1))]
    if kind != "csv":
        refused(content)
    else:
        _read_or_refuse(content)


@settings(max_examples=full_or_short(600, 200), deadline=None)
@given(st.sampled_from(sorted(GOOD)), st.data())
def test_flipped_bits_change_nothing_or_give_a_sentence(kind: str, data: st.DataObject) -> None:
    content = bytearray(GOOD[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1) | st.integers(max(0, len(content) - 400), len(content) - 1))
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    draft = _read_or_refuse(bytes(content))
    if draft is not None and kind == "npz":
        # A checksum guards every value.
        assert held(*flat(draft)) == held(*flat(read_upload(NPZ)))


@settings(max_examples=full_or_short(300, 100), deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "WEBP"]), st.data())
def test_a_damaged_picture_gives_a_picture_or_a_sentence(form: str, data: st.DataObject) -> None:
    content = bytearray(picture(noise(3, (40, 30)), form))
    for _ in range(data.draw(st.integers(1, 3))):
        near_the_start = st.integers(0, min(60, len(content) - 1))
        content[data.draw(st.integers(0, len(content) - 1) | near_the_start)] = data.draw(st.integers(0, 255))
    cut = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    found = or_sentence(lambda: decode(bytes(content[:cut]), "x"))
    assert isinstance(found, str) or found.shape == (28, 28)


@settings(max_examples=full_or_short(300, 100), deadline=None)
@given(st.binary(max_size=300) | st.text(alphabet="0123456789,;\t\n\"'.-eElabn", max_size=300).map(str.encode))
@example(b"\xef\xbb\xbf")
@example(b'"')
def test_any_bytes_give_a_sentence(content: bytes) -> None:
    _read_or_refuse(content)


@settings(max_examples=full_or_short(300, 100), deadline=None)
@given(st.text(max_size=200), st.binary(max_size=50), st.sampled_from([b"\x01\x00", b"\x02\x00", b"\x03\x00"]))
@example("{'descr': '<f8', 'fortran_order': False, 'shape': (), }", b"12345678", b"\x01\x00")
@example("{'descr': '|u1', 'fortran_order': False, 'shape': (,), }", b"", b"\x01\x00")
def test_any_header_of_an_array_gives_a_sentence(header: str, data: bytes, version: bytes) -> None:
    refused(member("x_train", npy(header.encode("latin-1", "replace").decode("latin-1"), data, version)))


def _read_or_refuse(content: bytes) -> Draft | None:
    found = or_sentence(lambda: read_upload(content))
    return None if isinstance(found, str) else found
