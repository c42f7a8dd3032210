"""IDX files are read strictly."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from core.data.sources.catalog import Catalog
from core.data.sources.published import MAX_BYTES, read_idx
from core.errors import DatasetError
from tests.data.idx_files import MNIST, idx, idx_files, put


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
    stem: int, content: bytes, reason: str, catalog: Catalog, tmp_path: Path
) -> None:
    put(tmp_path / "datasets/MNIST/raw", idx_files(MNIST) | {MNIST.stems[stem]: content})
    with pytest.raises(DatasetError, match=reason) as caught:
        catalog.load("mnist")
    assert MNIST.stems[stem][:5] in str(caught.value)
    assert "\n" not in str(caught.value)
