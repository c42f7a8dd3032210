"""Random datasets and adapters by hypothesis: accepted as a whole, or refused with one clear sentence."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from core.adapter import apply_adapter, read_adapter
from core.adapter.archive import CERTIFICATE, CONFIG, TENSORS, zip_bytes
from core.adapter.verify import verification
from core.data.uploads import Draft, read_upload
from core.errors import LabError
from tests.adapter.samples import BASE, ENTRIES, peft_like
from tests.data.bad_uploads import FOLDERS, NPZ, ONE, member
from tests.data.uploaded import npy, zipped
from tests.soak.sentences import faults_of
from tests.soak.sizes import full_or_short, keep

EXAMPLES = full_or_short(2000, 60)
many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

TOLD = {"taken": 0, "sentence": 0}


@pytest.fixture(scope="module", autouse=True)
def figures() -> Iterator[None]:
    """Save the number of inputs after the last test."""
    yield
    keep("bad inputs by hypothesis", inputs=sum(TOLD.values()), sentences=TOLD["sentence"], taken=TOLD["taken"])


def at_the_door(enter: Callable[[bytes], object], content: bytes) -> object | None:
    """Result of reading a file; None if it was refused with one clear sentence."""
    try:
        found = enter(content)
    except LabError as error:
        found, sentence = None, str(error)
    else:
        TOLD["taken"] += 1
        return found
    TOLD["sentence"] += 1
    assert faults_of(sentence) == []
    event("refused")
    return found


def tried(content: bytes) -> object:
    adapter = read_adapter(content)
    return verification(BASE, adapter, apply_adapter(BASE, adapter))  # type: ignore[arg-type]


numbers = st.integers() | st.floats() | st.sampled_from([2**63, -(2**63), 10**400, 1e308, 5e-324, 2**31, 4096, 4097])
words = st.text(max_size=30) | st.sampled_from(
    ["\n", "a\nb", "\x1b[2J", "\u2028", "\u202e", "../..", "layers.0", "all-linear", ".*", "(", "[0-9]", "\\", "$^"]
)
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
SETTINGS = sorted(json.loads(ENTRIES[CONFIG]))
CLAIMS = sorted(json.loads(ENTRIES[CERTIFICATE]))


@many
@given(st.dictionaries(st.sampled_from(SETTINGS) | words, anything, min_size=1, max_size=3))
def test_any_settings_of_an_adapter(changes: dict[str, Any]) -> None:
    at_the_door(tried, peft_like(config=changes))


@many
@given(st.dictionaries(st.sampled_from(CLAIMS) | words, anything, min_size=1, max_size=3))
def test_any_claims_of_a_certificate(changes: dict[str, Any]) -> None:
    claims = json.dumps(json.loads(ENTRIES[CERTIFICATE]) | changes).encode()
    at_the_door(tried, zip_bytes(ENTRIES | {CERTIFICATE: claims}))


tensor_names = st.sampled_from(
    [f"base_model.model.layers.{layer}.lora_{letter}.weight" for layer in (0, 2, 4, 6) for letter in "AB"]
) | words.map(lambda word: f"base_model.model.{word}.lora_A.weight")
kinds = st.sampled_from(["F32", "F16", "BF16", "F64", "I64", "U8", "BOOL", "F8_E4M3", "C64", "F4", "x"])
shapes = st.lists(st.integers(0, 12) | numbers, max_size=3)
places = st.lists(st.integers(0, 4096) | numbers, max_size=3)


@many
@given(
    st.dictionaries(
        tensor_names | words,
        st.fixed_dictionaries({"dtype": kinds, "shape": shapes, "data_offsets": places}) | anything,
        max_size=6,
    ),
    st.binary(max_size=200),
    st.none() | numbers.filter(lambda number: isinstance(number, int) and 0 <= number < 2**64),
)
def test_any_header_of_tensors(header: dict[str, Any], data: bytes, length: int | None) -> None:
    text = json.dumps(header).encode()
    content = struct.pack("<Q", len(text) if length is None else length) + text + data
    at_the_door(tried, zip_bytes({CONFIG: ENTRIES[CONFIG], TENSORS: content}))


@many
@given(st.sampled_from([TENSORS, CONFIG, CERTIFICATE]), st.data())
def test_any_damage_to_an_entry(name: str, data: st.DataObject) -> None:
    changed = bytearray(ENTRIES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed)))
        changed[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    entries = ENTRIES | {name: bytes(changed)}
    if data.draw(st.booleans()):
        del entries[CERTIFICATE]
    at_the_door(tried, zip_bytes(entries))


array_kinds = st.sampled_from(
    ["|u1", "|i1", "|b1", "<f2", ">f4", "<f8", ">i2", "<u8", "<c8", "|S4", "<U2", "|O", "<M8[s]", "<f16"]
)

folders = st.lists(
    st.sampled_from(["a", "b", "train", "test", "Train", ".", " ", "a\n", "\u202e", "x" * 70]) | words, max_size=4
)
files = st.tuples(
    folders.map("/".join),
    st.sampled_from(["1.png", "2.PNG", "3.jpg", "4.gif", "x_train.npy", "y.npy", ".hidden", "5.pkl", "6.zip", "7.csv"]),
    st.sampled_from([ONE, ONE[:-20], b"", b"\x80\x04N.", NPZ, FOLDERS, b"GIF89a", npy("{}")]) | st.binary(max_size=40),
).map(lambda parts: (f"{parts[0]}/{parts[1]}".lstrip("/") if parts[0] else parts[1], parts[2]))


@many
@pytest.mark.filterwarnings("ignore:Duplicate name")
@given(st.lists(files, max_size=14), st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
def test_any_files_in_a_zip(entries: list[tuple[str, bytes]], how: int) -> None:
    # The zip module cannot write a name that begins with a null character; test_bad_inputs has one.
    entries = [(name.replace("\0", "0").encode("utf-8", "replace").decode(), data) for name, data in entries]
    draft = at_the_door(read_upload, zipped(*entries, how=how))
    assert draft is None or _is_whole(draft)


@many
@given(
    st.sampled_from(["x_train", "y_train", "x_test", "y_test"]),
    array_kinds | words,
    st.lists(st.sampled_from([0, 1, 4, 8, 16, 28, 40, 784]) | st.integers(0, 2**70), max_size=4),
    st.booleans(),
    st.binary(max_size=64),
)
def test_any_array(name: str, kind: str, shape: list[int], columns: bool, data: bytes) -> None:
    header = f"{{'descr': {kind!r}, 'fortran_order': {columns}, 'shape': {tuple(shape)}, }}\n"
    values = (data or b"\0") * (-(-64_000 // max(1, len(data))))
    wanted = 1
    for size in shape:
        wanted *= size
    content = npy(header.encode("latin-1", "replace").decode("latin-1"), values[: min(wanted * 8, 64_000)])
    draft = at_the_door(read_upload, member(name, content))
    assert draft is None or _is_whole(draft)


cells = (
    numbers.map(str) | words | st.sampled_from(["0", "1", "7", "255", "256", "", "nan", "-1", "0.5", '"', "''", "1_0"])
)


@many
@given(
    st.lists(st.lists(cells, min_size=1, max_size=18), max_size=14),
    st.sampled_from([",", ";", "\t", ", "]),
    st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "utf-16"]),
)
def test_any_table(rows: list[list[str]], parted: str, ends: str, encoding: str) -> None:
    text = ends.join(parted.join(row) for row in rows)
    draft = at_the_door(read_upload, text.encode(encoding, "replace"))
    assert draft is None or _is_whole(draft)


def _is_whole(draft: object) -> bool:
    """Assert that a draft made from random input is a valid dataset."""
    assert isinstance(draft, Draft)
    data = draft.dataset
    images = (data.train_images, data.test_images)
    assert all(part.shape[1:] == (28, 28) and len(part) for part in images)
    assert {*data.train_labels.tolist()} == {*data.test_labels.tolist()} == set(range(len(data.class_names)))
    assert all(name and name.isprintable() for name in data.class_names)
    return True
