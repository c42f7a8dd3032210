"""Random files by hypothesis: accepted as a whole, or refused with one clear sentence."""

from __future__ import annotations

import json
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from core.adapter import apply_adapter, read_adapter
from core.adapter.archive import CERTIFICATE, CONFIG, TENSORS, zip_bytes
from core.adapter.verify import verification
from core.data.dataset import ImageDataset, LanguageDataset, TextDataset
from core.data.passage import Passage
from core.data.sources.catalog import Catalog
from core.data.sources.own_kinds import OwnPassages
from core.data.uploads import Draft, columns_of, draft_passages, read_passages, read_text_table, read_texts, read_upload
from core.data.uploads.image_draft import decode
from core.data.uploads.messages import without_surrogates
from core.errors import LabError
from core.networks.file import fingerprint, read_network
from core.networks.library.networks import Networks
from core.reader import reading_here
from core.settings import Settings
from tests.adapter.samples import BASE, ENTRIES, WHOLE, assert_same, peft_like
from tests.adapter.samples import GOOD as ADAPTER
from tests.adapter.samples import zipped as adapter_beside
from tests.bad_files import networks
from tests.bad_files.arrays import member
from tests.bad_files.damage import Change, changes, damaged, is_cut
from tests.bad_files.images import ONE
from tests.bad_files.sentences import faults_of
from tests.data import passage_files
from tests.data.text_files import GOOD as TEXTS
from tests.data.text_files import PARQUET
from tests.data.uploaded import FOLDERS, GOOD, NPZ, flat, held, noise, npy, picture, zipped
from tests.soak.sizes import FULL, full_or_short, keep

QUIET = [*HealthCheck]
structured = settings(max_examples=full_or_short(2000, 40), suppress_health_check=QUIET)
often = settings(max_examples=full_or_short(1000, 50), suppress_health_check=QUIET)
folders = settings(max_examples=full_or_short(200, 20), suppress_health_check=QUIET)

TOLD = {"taken": 0, "sentence": 0}


@pytest.fixture(scope="module", autouse=True)
def figures() -> Iterator[None]:
    """Save the number of inputs after the last test."""
    yield
    keep("bad inputs by hypothesis", inputs=sum(TOLD.values()), sentences=TOLD["sentence"], taken=TOLD["taken"])


def taken(read: Callable[[], Any], is_parquet: bool = False) -> Any:
    """Result of reading a file; None if it was refused with one clear sentence.

    At full size the reader reads it. The short form reads it in this process, which takes a tenth of the time, and
    where an exception that nobody foresaw is no sentence; but for Parquet: Arrow ends the process that reads some.
    """
    try:
        with nullcontext() if FULL or is_parquet else reading_here():
            found = read()
    except LabError as error:
        found, sentence = None, str(error)
    else:
        TOLD["taken"] += 1
        return found
    TOLD["sentence"] += 1
    assert faults_of(sentence) == [], sentence
    event("refused")
    return found


# Damage to sound files


@often
@given(st.sampled_from(sorted(GOOD)), changes)
def test_damage_to_a_dataset_of_images(kind: str, how: list[Change]) -> None:
    content = damaged(GOOD[kind], how)
    draft = taken(lambda: read_upload(content))
    assert draft is None or kind == "csv" or not is_cut(content, GOOD[kind])
    if draft is not None and kind == "npz":  # a checksum guards every value
        assert held(*flat(draft)) == held(*flat(read_upload(NPZ)))
    assert draft is None or _is_whole(draft)


@often
@given(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "WEBP"]), changes)
def test_damage_to_a_picture(form: str, how: list[Change]) -> None:
    found = taken(lambda: decode(damaged(picture(noise(3, (40, 30)), form), how), "x"))
    assert found is None or found[0].shape == (28, 28)


@often
@given(st.sampled_from(sorted(TEXTS)), changes)
def test_damage_to_a_table_of_texts(kind: str, how: list[Change]) -> None:
    content = damaged(TEXTS[kind], how)
    draft = taken(lambda: read_texts(content), TEXTS[kind].startswith(b"PAR1"))
    if draft is not None and is_cut(content, TEXTS[kind]):
        assert not content.startswith(b"PAR1")
        assert sum(draft.train_counts) <= 15


@often
@given(st.sampled_from([WHOLE, adapter_beside()]), changes)
def test_damage_to_an_adapter(whole: bytes, how: list[Change]) -> None:
    content = damaged(whole, how)
    found = taken(lambda: read_adapter(content))
    assert found is None or not is_cut(content, whole)
    if found is not None:
        assert_same(found, ADAPTER)


@often
@given(st.sampled_from([TENSORS, CONFIG, CERTIFICATE]), changes, st.booleans())
def test_damage_to_an_entry_of_an_adapter_under_a_fresh_checksum(name: str, how: list[Change], certified: bool) -> None:
    entries = ENTRIES | {name: damaged(ENTRIES[name], how)}
    if not certified:
        del entries[CERTIFICATE]
    found = taken(lambda: tried(zip_bytes(entries)))
    if found is not None and certified and entries != ENTRIES:
        assert name == CERTIFICATE
        assert_same(replace(found, certificate=ADAPTER.certificate), ADAPTER)


def tried(content: bytes) -> object:
    """An adapter that can be applied, and gives finite weights."""
    adapter = read_adapter(content)
    model = apply_adapter(BASE, adapter)
    verification(BASE, adapter, model)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    return adapter


@often
@given(changes)
def test_damage_to_the_file_of_a_base(tmp_path_factory: pytest.TempPathFactory, how: list[Change]) -> None:
    content, whole = damaged(networks.BASE, how), networks.BASE
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    path.write_bytes(content)
    found = taken(lambda: read_network(path))
    if found is not None and content != whole:
        header = 8 + int.from_bytes(whole[:8], "little")
        assert content[:header] != whole[:header] or fingerprint(found.state_dict()) != fingerprint(networks.STATE)
        assert all(torch.isfinite(parameter).all() for parameter in found.parameters())


SAVED = {
    ".safetensors": read_upload(NPZ).dataset,
    ".texts.safetensors": read_texts(TEXTS["csv"]).dataset,
    ".passages.safetensors": read_passages(passage_files.written("messages", "jsonl")).dataset,
}


@often
@given(st.sampled_from(sorted(SAVED)), changes, st.booleans())
def test_damage_to_a_saved_dataset_never_breaks_the_list(
    tmp_path_factory: pytest.TempPathFactory, ending: str, how: list[Change], keeps_digest: bool
) -> None:
    home, draft = tmp_path_factory.getbasetemp() / f"saved{ending}", SAVED[ending]
    catalog, path = Catalog(Settings(home)), home / f"datasets/own/a{ending}"
    if not path.exists():
        for name in "ab":
            catalog.keep(replace(draft, class_names=(*draft.class_names[:-1], name)), name)
    whole, digest = path.read_bytes(), path.with_name("a.sha256").read_text()
    path.write_bytes(damaged(whole, how))
    if not keeps_digest:  # it would reveal any damage; without it, what is read must still be a dataset
        path.with_name("a.sha256").unlink()
    listed = {info.name: info for info in catalog.list()}
    assert listed["b"].state == "ready"
    assert listed["a"].kind == listed["b"].kind
    found = taken(lambda: catalog.load("a"))
    if found is not None:
        assert not keeps_digest or in_it(found) == in_it(draft)
        assert len(found.train_labels) == len(in_it(found)[0])
        assert all(in_it(found)[0])
    path.write_bytes(whole)
    path.with_name("a.sha256").write_text(digest)
    assert in_it(catalog.load("a")) == in_it(draft)


@folders
@given(st.sampled_from(sorted(networks.sound())), changes)
def test_damage_to_a_file_of_a_network(tmp_path_factory: pytest.TempPathFactory, name: str, how: list[Change]) -> None:
    bring(tmp_path_factory, lambda files: files.update({name: damaged(files[name], how)}))


# Files that are made of random parts

numbers = st.integers() | st.floats() | st.sampled_from([2**63, -(2**63), 10**400, 1e308, 5e-324, 2**31, 4096, 4097])
words = st.text(max_size=30) | st.sampled_from(
    ["\n", "a\nb", "\x1b[2J", "\u2028", "\u202e", "../..", "layers.0", "all-linear", ".*", "(", "[0-9]", "\\", "$^"]
)
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


@often
@given(
    st.binary(max_size=300)
    | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))
    | st.text(alphabet="ab019,;\t|\n\r\"{}[]: '.-eEl", max_size=300).map(str.encode)
    | st.binary(max_size=60).map(lambda noise: PARQUET[:-8] + struct.pack("<I", len(noise)) + noise + b"PAR1")
)
@example(b"\xef\xbb\xbf")
@example(b'"')
@example(b'\t""\x01')
def test_any_bytes(content: bytes) -> None:
    taken(lambda: read_upload(content))
    taken(lambda: read_texts(content), content.startswith(b"PAR1"))


@structured
@given(st.dictionaries(st.sampled_from(sorted(json.loads(ENTRIES[CONFIG]))) | words, anything, min_size=1, max_size=3))
def test_any_settings_of_an_adapter(values: dict[str, Any]) -> None:
    taken(lambda: tried(peft_like(config=values)))


@structured
@given(
    st.dictionaries(st.sampled_from(sorted(json.loads(ENTRIES[CERTIFICATE]))) | words, anything, min_size=1, max_size=3)
)
def test_any_claims_of_a_certificate(values: dict[str, Any]) -> None:
    claims = json.dumps(json.loads(ENTRIES[CERTIFICATE]) | values).encode()
    taken(lambda: tried(zip_bytes(ENTRIES | {CERTIFICATE: claims})))


tensor_names = st.sampled_from(
    [f"base_model.model.layers.{layer}.lora_{letter}.weight" for layer in (0, 2, 4, 6) for letter in "AB"]
) | words.map(lambda word: f"base_model.model.{word}.lora_A.weight")
kinds = st.sampled_from(["F32", "F16", "BF16", "F64", "I64", "U8", "BOOL", "F8_E4M3", "C64", "F4", "x"])
shapes = st.lists(st.integers(0, 12) | numbers, max_size=3)
places = st.lists(st.integers(0, 4096) | numbers, max_size=3)


@structured
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
    taken(lambda: tried(zip_bytes({CONFIG: ENTRIES[CONFIG], TENSORS: content})))


class_folders = st.lists(
    st.sampled_from(["a", "b", "train", "test", "Train", ".", " ", "a\n", "\u202e", "x" * 70]) | words, max_size=4
)
files = st.tuples(
    class_folders.map("/".join),
    st.sampled_from(["1.png", "2.PNG", "3.jpg", "4.gif", "x_train.npy", "y.npy", ".hidden", "5.pkl", "6.zip", "7.csv"]),
    st.sampled_from([ONE, ONE[:-20], b"", b"\x80\x04N.", NPZ, FOLDERS, b"GIF89a", npy("{}")]) | st.binary(max_size=40),
).map(lambda parts: (f"{parts[0]}/{parts[1]}".lstrip("/") if parts[0] else parts[1], parts[2]))


@structured
@pytest.mark.filterwarnings("ignore:Duplicate name")
@given(st.lists(files, max_size=14), st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
def test_any_files_in_a_zip(entries: list[tuple[str, bytes]], how: int) -> None:
    # The zip module cannot write a name that begins with a null character; the catalog has one.
    entries = [(name.replace("\0", "0").encode("utf-8", "replace").decode(), data) for name, data in entries]
    draft = taken(lambda: read_upload(zipped(*entries, how=how)))
    assert draft is None or _is_whole(draft)


array_kinds = st.sampled_from(
    ["|u1", "|i1", "|b1", "<f2", ">f4", "<f8", ">i2", "<u8", "<c8", "|S4", "<U2", "|O", "<M8[s]", "<f16"]
)


@structured
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
    draft = taken(lambda: read_upload(member(name, content)))
    assert draft is None or _is_whole(draft)


@structured
@given(st.text(max_size=200), st.binary(max_size=50), st.sampled_from([b"\x01\x00", b"\x02\x00", b"\x03\x00"]))
@example("{'descr': '<f8', 'fortran_order': False, 'shape': (), }", b"12345678", b"\x01\x00")
@example("{'descr': '|u1', 'fortran_order': False, 'shape': (,), }", b"", b"\x01\x00")
def test_any_header_of_an_array(header: str, data: bytes, version: bytes) -> None:
    content = npy(header.encode("latin-1", "replace").decode("latin-1"), data, version)
    assert taken(lambda: read_upload(member("x_train", content))) is None


cells = (
    numbers.map(str) | words | st.sampled_from(["0", "1", "7", "255", "256", "", "nan", "-1", "0.5", '"', "''", "1_0"])
)


@structured
@given(
    st.lists(st.lists(cells, min_size=1, max_size=18), max_size=14),
    st.sampled_from([",", ";", "\t", ", "]),
    st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "utf-16"]),
)
def test_any_table(rows: list[list[str]], parted: str, ends: str, encoding: str) -> None:
    text = ends.join(parted.join(row) for row in rows)
    draft = taken(lambda: read_upload(text.encode(encoding, "replace")))
    assert draft is None or _is_whole(draft)


odd_messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "Human", "tool", ""]) | anything},
        optional={"content": words | anything, "weight": numbers},
    )
    | st.fixed_dictionaries({"from": st.sampled_from(["human", "gpt", "x"]), "value": words | anything})
    | anything,
    max_size=5,
)
odd_rows = st.lists(
    st.dictionaries(
        st.sampled_from(["prompt", "completion", "instruction", "input", "output", "messages", "conversations", "text"])
        | words,
        words | anything | odd_messages,
        max_size=4,
    ),
    max_size=4,
)


@settings(max_examples=full_or_short(1000, 300), suppress_health_check=QUIET, deadline=None)
@given(
    st.sampled_from(sorted(passage_files.ROWS)),
    odd_rows,
    st.booleans(),
    st.booleans(),
    changes | st.just([]),
    st.sampled_from(["jsonl", "one list"]),
)
def test_odd_files_of_prompts_and_messages(
    form: str, odd: list[dict[str, Any]], only: bool, all_scored: bool, how: list[Change], format_: str
) -> None:
    rows = [*odd, *([] if only else passage_files.ROWS[form])]
    content = damaged(passage_files.FORMATS[format_](rows), how)
    read = taken(lambda: passages_in(content, all_scored))
    if read is None:
        return
    draft, kind = read
    found = (*draft.dataset.train_texts, *draft.dataset.test_texts)
    assert all(is_a_passage(passage) for passage in found)
    if not how:  # each row is a passage, is empty, or is one of the faults
        assert len(found) + draft.empty_rows + draft.faults.count == len(rows)
        texts = {spelled(cell) for row in rows for cell in row.values()}
        said = {text_in(message) for row in rows for cell in row.values() if isinstance(cell, list) for message in cell}
        for passage in found:
            if passage.messages:
                assert {content for _, content in passage.messages} <= said
            elif kind != "instructions":
                assert {text for text, _ in passage.parts} <= texts
    home = Settings(Path("not written"))
    source = OwnPassages(home)
    assert in_it(source.read("a", source.content(draft.dataset))) == in_it(draft.dataset)


def passages_in(content: bytes, all_scored: bool) -> tuple[Draft[LanguageDataset], str]:
    """What a file becomes once the rows that cannot be used are left out, and what its rows are."""
    table = read_text_table(content)
    columns = columns_of(table, {})
    return draft_passages(table, columns, all_scored, leave_out=True), columns.form


def is_a_passage(passage: Passage) -> bool:
    """Whether something of it is scored, and it is either a text or a conversation."""
    scored = [text for text, is_scored in passage.parts if is_scored]
    scored += [text for role, text in passage.messages if role == "assistant"]
    return any(text.strip() for text in scored) and bool(passage.parts) != bool(passage.messages)


def spelled(cell: Any) -> Any:
    """A value of JSON as a cell of a table."""
    if isinstance(cell, bool):
        return str(cell).lower()
    return repr(cell) if isinstance(cell, int | float) else without_surrogates(cell) if isinstance(cell, str) else None


def text_in(message: Any) -> str | None:
    """What a message says, where it is one."""
    value = message.get("content", message.get("value")) if isinstance(message, dict) else None
    if isinstance(value, list):
        pieces = [piece.get("text") if isinstance(piece, dict) else piece for piece in value]
        value = "".join(map(str, pieces))
    return without_surrogates(value) if isinstance(value, str) else None


FIELDS = st.sampled_from(
    [
        *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size", "hidden_act"),
        *("max_position_embeddings", "type_vocab_size", "pad_token_id", "layer_norm_eps", "classifier_dropout"),
        *("model_type", "architectures", "auto_map", "dtype", "id2label", "tie_word_embeddings", "is_decoder"),
        *("quantization_config", "problem_type", "chunk_size_feed_forward", "add_cross_attention"),
    ]
)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@folders
@given(st.dictionaries(FIELDS, st.integers(-3, 10**20) | anything, min_size=1, max_size=3))
def test_any_config_of_a_network(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    bring(tmp_path_factory, networks.config(**values))


@folders
@given(st.sampled_from(["data_offsets", "shape", "dtype"]), anything, st.integers(0, 30))
def test_any_header_of_a_network(tmp_path_factory: pytest.TempPathFactory, field: str, value: Any, which: int) -> None:
    def change(values: dict[str, Any]) -> None:
        tensor = sorted(values)[which % len(values)]
        if isinstance(values[tensor], dict):
            values[tensor][field] = value

    bring(tmp_path_factory, networks.header(change))


def bring(factory: pytest.TempPathFactory, change: networks.Change) -> None:
    """Import a changed network: it is kept whole, or refused with a sentence, and nothing is left."""
    root = factory.getbasetemp() / "brought"
    shutil.rmtree(root, ignore_errors=True)
    (root / "folder").mkdir(parents=True)
    files = dict(networks.sound())
    change(files)
    for name, content in files.items():
        (root / "folder" / name).write_bytes(content)
    library = Networks(Settings(home=root / "home"))
    card = taken(lambda: library.import_folder(root / "folder"))
    if card is None:
        assert [path for path in (root / "home").rglob("*") if path.is_file()] == []
    else:
        library.start(library.spec(card.digest), 0)


def _is_whole(draft: object) -> bool:
    """Assert that a draft made from random input is a valid dataset."""
    assert isinstance(draft, Draft)
    data = draft.dataset
    images = (data.train_images, data.test_images)
    assert all(part.shape[1:] == (28, 28) and len(part) for part in images)
    assert {*data.train_labels.tolist()} == {*data.test_labels.tolist()} == set(range(len(data.class_names)))
    assert all(name and name.isprintable() for name in data.class_names)
    return True


def in_it(dataset: ImageDataset | TextDataset | LanguageDataset) -> tuple[object, ...]:
    """Examples and labels of a dataset."""
    if isinstance(dataset, TextDataset | LanguageDataset):
        parts: tuple[Any, ...] = (dataset.train_texts, dataset.test_texts)
    else:
        parts = tuple([image.tobytes() for image in part] for part in (dataset.train_images, dataset.test_images))
    return (*parts, dataset.train_labels.tolist(), dataset.test_labels.tolist())
