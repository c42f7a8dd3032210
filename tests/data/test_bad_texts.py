"""Tables that are no datasets of texts: one sentence each, in bounded memory, leaving nothing."""

from __future__ import annotations

import gzip
import re
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.uploads import TextDraft, read_texts
from tests import forked
from tests.conftest import HANG
from tests.data.bad_uploads import or_sentence, refusal
from tests.data.text_files import BAD, CSV, GOOD, PARQUET, ROWS, one_long_text, parquet
from tests.soak.sizes import FULL, full_or_short


def refused(content: bytes | Path, **columns: str) -> str:
    """The sentence with which a file is refused."""
    return refusal(lambda: read_texts(content, **columns))


MANY_ROWS = ("200,001 rows", "100,000 labels")
"""Names of tables of so many rows that to trace what Python allocates takes most of the time: it is done in a full run.
In every run, ``tests/soak/test_bad_inputs.py`` measures the memory of a process that reads them.
"""


@pytest.mark.parametrize("name", BAD)
def test_a_bad_table_is_one_sentence_in_bounded_memory_and_leaves_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, sentence = BAD[name]
    content = make()
    monkeypatch.chdir(tmp_path)
    arrow = pa.total_allocated_bytes()
    if FULL or name not in MANY_ROWS:
        tracemalloc.start()
    try:
        said = refused(content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert re.search(sentence, said), said
    assert peak < 256 * 2**20
    assert pa.total_allocated_bytes() - arrow < 2**20
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"text": "body"}, "has no column 'body'; its columns are 'text', 'label'"),
        ({"label": "body"}, "has no column 'body'"),
        ({"part": "body"}, "has no column 'body'"),
        ({"text": "label", "label": "label"}, "'label' is chosen twice"),
        ({"part": "label"}, "chosen twice"),
        ({"text": "label", "label": "text"}, "has 1 text: each class"),
    ],
)
def test_a_column_that_cannot_be_used_is_a_sentence(columns: dict[str, str], sentence: str) -> None:
    assert sentence in refused(CSV, **columns)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (["train"] * 17 + ["soon"], "Line 19 has 'soon' in 'use': the parts are train, test and validation"),
        (["train"] * 17 + [""], "Line 19 has '' in 'use'"),
        (["train"] * 18, "says test of no row"),
        (["test"] * 18, "has 0 training texts"),
        (["train"] * 17 + ["test"], "'apple' has no texts in the test part"),
    ],
)
def test_parts_that_are_no_parts_are_a_sentence(parts: list[str], sentence: str) -> None:
    rows = "\n".join(f"{text},{label},{part}" for (text, label), part in zip(ROWS, parts, strict=True))
    assert sentence in refused(f"text,label,use\n{rows}".encode(), part="use")


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    assert "a.csv cannot be read: No such file" in refused(tmp_path / "a.csv")
    assert "cannot be read" in refused(tmp_path)


def test_repeated_references_are_not_unpacked_one_by_one() -> None:
    """Of 40,000 references to a text of 1,500 characters, 60 MB, only the text is in memory."""
    content = one_long_text(40_000, 1500)
    assert len(content) < 2**20
    tracemalloc.start()
    try:
        assert sum(read_texts(content).train_counts) == 32_000
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()


NESTED = b'{"text": "a", "label": "b", "more": [' + b"[]," * 20_000 + b"1]}\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (gzip.compress(NESTED * 1000), "has 1 class:"),  # cost 1.4 GiB while nested values were kept
        (b"{" + b",".join(b'"%d":1' % n for n in range(1_200_000)) + b"}", "1,200,000 columns"),  # 360 MiB
        (gzip.compress(b'{"text": ' + b"[" * 2**25), "Line 1 is not a JSON object"),
    ],
    ids=["nested values", "keys", "brackets"],
)
def test_what_json_lines_unpack_to_never_reaches_this_process(content: bytes, sentence: str) -> None:
    tracemalloc.start()
    try:
        assert sentence in refused(content)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(content) + 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.timeout(HANG)  # a second; it was many minutes while all that follows was copied for each member
def test_a_gzip_of_very_many_empty_members_is_refused_soon() -> None:
    assert "is empty" in refused(gzip.compress(b"") * 500_000)


def test_rows_beyond_those_that_a_file_claims_are_not_unpacked() -> None:
    """The limit on rows is that on what the file claims, which its row groups need not keep to."""
    rows, claimed = 3_000_000, 20_000
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), pa.array(["x"]))
    content = parquet({"text": column, "label": column})
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    number = content.index(b"\x16" + _varint(2 * rows), footer)  # the field with the rows of the whole file comes first
    lying = content[:number] + b"\x16" + _varint(2 * claimed, 4) + content[number + 5 :]
    assert pq.read_metadata(pa.BufferReader(lying)).num_rows == claimed
    tracemalloc.start()
    try:
        assert "damaged or incomplete" in refused(lying)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


def _varint(value: int, length: int = 0) -> bytes:
    """A number in Thrift's compact protocol, in at least ``length`` bytes."""
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _varint(rest, length - 1) if rest or length > 1 else bytes([low])


@settings(max_examples=full_or_short(300, 100))
@given(st.sampled_from(sorted(GOOD)), st.data())
def test_a_truncated_table_gives_a_sentence_or_fewer_rows(kind: str, data: st.DataObject) -> None:
    content = GOOD[kind][: data.draw(st.integers(0, len(GOOD[kind]) - 1))]
    if content.startswith(b"PAR1"):
        refused(content)
    else:
        draft = _read_or_refuse(content)
        assert draft is None or sum(draft.train_counts) <= 15


@settings(max_examples=full_or_short(800, 250))
@given(st.sampled_from(sorted(GOOD)), st.data())
def test_flipped_bits_give_a_dataset_or_a_sentence(kind: str, data: st.DataObject) -> None:
    content = bytearray(GOOD[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    _read_or_refuse(bytes(content))


@settings(max_examples=full_or_short(500, 150))
@given(
    st.binary(max_size=300)
    | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))
    | st.text(alphabet='ab1,;\t|\n\r"{}[]: ', max_size=300).map(str.encode)
    | st.binary(max_size=60).map(lambda noise: PARQUET[:-8] + struct.pack("<I", len(noise)) + noise + b"PAR1")
)
def test_any_bytes_give_a_dataset_or_a_sentence(content: bytes) -> None:
    _read_or_refuse(content)


def _read_or_refuse(content: bytes) -> TextDraft | None:
    found = or_sentence(lambda: read_texts(content))
    if isinstance(found, str):
        assert found.endswith(".")
        assert len(found) < 400
        return None
    return found


FLIPS = """
import sys
from pathlib import Path
from core.data.uploads import read_texts
from core.errors import DatasetError
content = Path(sys.argv[1]).read_bytes()
footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
for place in range(footer, len(content) - 8):
    for bit in (0, 1):
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        try:
            read_texts(bytes(damaged))
        except DatasetError:
            pass
print("survived")
"""


def test_no_damage_to_a_footer_ends_the_process(tmp_path: Path) -> None:
    """Arrow ends the process that reads some of them, which is the reader."""
    (tmp_path / "texts.parquet").write_bytes(PARQUET)
    done = forked.run(["-c", FLIPS, str(tmp_path / "texts.parquet")], timeout=HANG)
    assert (done.returncode, done.stdout.strip()) == (0, "survived"), done.stderr[-400:]
