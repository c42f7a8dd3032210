"""Adapter files that are damaged, unsafe or not what they claim to be get in nowhere."""

from __future__ import annotations

import io
import json
import pickle
import time
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.adapter import (
    apply_adapter,
    read_adapter,
)
from core.adapter.archive import CERTIFICATE, CONFIG, TENSORS, json_bytes, zip_bytes
from core.errors import AdapterError
from tests.adapter.bad_adapters import A0, B0, BAD_CONFIGS, BAD_TENSORS, BAD_ZIPS, JUNK
from tests.adapter.samples import (
    BASE,
    ENTRIES,
    GOOD,
    MODEL,
    WHOLE,
    assert_same,
    logits,
    peft_like,
    probe,
    zipped,
)
from tests.data.uploaded import Make, entry
from tests.soak.sizes import full_or_short


def test_the_sound_file_that_the_bad_ones_are_made_of_is_read() -> None:
    model = apply_adapter(BASE, read_adapter(peft_like()))
    assert torch.equal(logits(model, probe()), logits(MODEL, probe()))


@pytest.mark.parametrize(("tensors", "sentence"), BAD_TENSORS, ids=[s for _, s in BAD_TENSORS])
def test_tensors_that_are_missing_extra_or_misshapen_are_refused(
    tensors: dict[str, Tensor | None], sentence: str
) -> None:
    with pytest.raises(AdapterError, match=sentence) as caught:
        read_adapter(peft_like(tensors))
    assert "\n" not in str(caught.value)


def test_a_file_without_an_adapter_that_its_config_names_is_refused_on_a_base_that_has_the_layer() -> None:
    adapter = read_adapter(peft_like({A0: None, B0: None}))
    with pytest.raises(AdapterError, match=r"layer layers\.0 is in only one of the two"):
        apply_adapter(BASE, adapter)


@pytest.mark.parametrize(("config", "sentence"), BAD_CONFIGS, ids=[f"{c!r:.50}" for c, _ in BAD_CONFIGS])
def test_settings_that_cannot_be_honoured_are_refused_by_name(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AdapterError, match=sentence) as caught:
        read_adapter(peft_like(config=config))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": "(.|.|.|.)" * 6 + "(.*)*x"},
        {"rank_pattern": {f"(a+)+{number}": 3 for number in range(100)}},
        {"alpha_pattern": {"(?:a|a|a)*b": 3}, "target_modules": ".*"},
    ],
    ids=str,
)
def test_expressions_that_would_take_minutes_have_one_budget_per_file(config: dict[str, Any]) -> None:
    name = A0.replace("layers.0", "a" * 200)
    start = time.process_time()
    with pytest.raises(AdapterError, match=r"The selection of layers in .* takes more than 2 seconds"):
        read_adapter(peft_like({name: torch.zeros(3, 12)}, config))
    assert time.process_time() - start < 1  # of this process, which goes on meanwhile


@pytest.mark.parametrize("content", JUNK, ids=lambda c: repr(c[:12]))
@pytest.mark.parametrize("name", [CONFIG, CERTIFICATE])
def test_json_that_is_none_is_refused(name: str, content: bytes) -> None:
    with pytest.raises(AdapterError, match=name):
        read_adapter(zip_bytes(ENTRIES | {name: content}))


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", bytes(8), b"\xff" * 16, pickle.dumps({"a": 1})], ids=repr)
def test_tensors_in_another_format_are_refused(content: bytes) -> None:
    with pytest.raises(AdapterError, match="not a safetensors file"):
        read_adapter(zip_bytes(ENTRIES | {TENSORS: content}))


@pytest.mark.parametrize("metadata", ["null", "{}", '{"base_fingerprint": 3}', '{"base_fingerprint": null}', "[]"])
def test_odd_metadata_is_refused_or_says_nothing(metadata: str) -> None:
    content = ENTRIES[TENSORS]
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]) | {"__metadata__": json.loads(metadata)}).encode()
    changed = len(header).to_bytes(8, "little") + header + content[end:]
    with pytest.raises(AdapterError):
        read_adapter(zip_bytes(ENTRIES | {TENSORS: changed}))


# Strict reading: the certificate


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"parameters": 1}, "parameters differs"),
        ({"rank": 4}, "rank differs"),
        ({"layers": {"layers.0": 3}}, "layers differs"),
        ({"tensors_sha256": "0" * 64}, "tensors_sha256 differs"),
        ({"config_sha256": "0" * 64}, "config_sha256 differs"),
        ({"base_fingerprint": "0" * 64}, "base_fingerprint differs"),
        ({"parameters": "97"}, "unusable parameters"),
        ({"rank": True}, "unusable rank"),
        ({"layers": None}, "unusable layers"),
        ({"merged_difference": "0"}, "unusable merged_difference"),
        ({"signed_by": "me"}, "lacks or adds fields: signed_by"),
    ],
    ids=str,
)
def test_a_certificate_that_claims_otherwise_is_refused(change: dict[str, Any], sentence: str) -> None:
    claims = json.loads(ENTRIES[CERTIFICATE]) | change
    with pytest.raises(AdapterError, match=sentence):
        read_adapter(zip_bytes(ENTRIES | {CERTIFICATE: json_bytes(claims)}))


def test_a_certified_file_without_its_certificate_is_incomplete() -> None:
    with pytest.raises(AdapterError, match="is missing"):
        read_adapter(zip_bytes({name: data for name, data in ENTRIES.items() if name != CERTIFICATE}))
    with pytest.raises(AdapterError, match="is missing"):
        read_adapter(peft_like(**{CERTIFICATE: ENTRIES[CERTIFICATE]}))


def test_changed_settings_break_the_certificate() -> None:
    config = json.loads(ENTRIES[CONFIG]) | {"lora_alpha": 50}
    with pytest.raises(AdapterError, match="config_sha256 differs"):
        read_adapter(zip_bytes(ENTRIES | {CONFIG: json_bytes(config)}))


@pytest.mark.parametrize(("make", "sentence"), BAD_ZIPS.values(), ids=BAD_ZIPS.keys())
def test_unsafe_and_strange_zips_are_refused(tmp_path: Path, make: Make, sentence: str) -> None:
    content = make()
    (tmp_path / "adapter.zip").write_bytes(content)
    for source in (content, tmp_path / "adapter.zip"):
        with pytest.raises(AdapterError, match=sentence) as caught:
            read_adapter(source)
        assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["adapter.zip"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name_are_refused() -> None:
    with pytest.raises(AdapterError, match="two entries with the same name"):
        read_adapter(zipped((CONFIG, ENTRIES[CONFIG])))


def test_a_saved_torch_file_is_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "adapter.zip")
    with pytest.raises(AdapterError, match="run code"):
        read_adapter(tmp_path / "adapter.zip")


def test_a_bomb_that_lies_about_its_size_is_never_unpacked() -> None:
    size = 2**27 + 0x30201
    bomb = zipped((entry("b.safetensors", how=zipfile.ZIP_DEFLATED), bytes(size)))
    liar = bomb.replace(size.to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    assert liar != bomb
    assert _peak_of_refusing(liar) < 2**24


def test_a_zip_of_very_many_entries_is_refused_before_they_are_listed() -> None:
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for i in range(40_000):
            archive.writestr(f"{i}", b"")
    assert _peak_of_refusing(many.getvalue()) < 2**20


def _peak_of_refusing(content: bytes) -> int:
    """Bytes that were allocated at once until the file was refused."""
    tracemalloc.start()
    try:
        with pytest.raises(AdapterError):
            read_adapter(content)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_file_that_is_too_large_or_not_there_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "big.zip").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(AdapterError, match="larger than 2 GiB"):
        read_adapter(tmp_path / "big.zip")
    for path in (tmp_path / "none.zip", tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(AdapterError, match="cannot be read"):
            read_adapter(path)


def test_files_that_do_no_harm_are_passed_over() -> None:
    for extra in ((".gitattributes", b"*"), ("__MACOSX/._adapter_config.json", b"1"), ("empty/", b"")):
        assert_same(read_adapter(zipped(extra)), read_adapter(WHOLE))


@given(st.integers(0, len(WHOLE) - 1))
def test_a_truncated_file_is_refused(length: int) -> None:
    with pytest.raises(AdapterError):
        read_adapter(WHOLE[:length])


PACKED = zipped()


@settings(max_examples=full_or_short(500, 150))
@given(st.sampled_from([WHOLE, PACKED]), st.data())
def test_flipped_bits_change_nothing_or_are_noticed(content: bytes, data: st.DataObject) -> None:
    flipped = bytearray(content)
    near_the_end = st.integers(max(0, len(content) - 400), len(content) - 1)
    for _ in range(data.draw(st.integers(1, 3))):
        flipped[data.draw(st.integers(0, len(content) - 1) | near_the_end)] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = read_adapter(bytes(flipped))
    except AdapterError:
        return
    assert_same(found, GOOD)


@settings(max_examples=full_or_short(300, 100))
@given(st.sampled_from([TENSORS, CONFIG, CERTIFICATE]), st.data())
def test_flipped_bits_under_a_fresh_checksum_are_noticed_too(name: str, data: st.DataObject) -> None:
    flipped = bytearray(ENTRIES[name])
    flipped[data.draw(st.integers(0, len(flipped) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = read_adapter(zip_bytes(ENTRIES | {name: bytes(flipped)}))
    except AdapterError:
        return
    assert name == CERTIFICATE
    assert_same(replace(found, certificate=GOOD.certificate), GOOD)


@settings(max_examples=full_or_short(300, 100))
@given(st.sampled_from([TENSORS, CONFIG]), st.data())
def test_damage_without_a_certificate_gives_an_adapter_or_an_error_and_nothing_else(
    name: str, data: st.DataObject
) -> None:
    with zipfile.ZipFile(io.BytesIO(peft_like())) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    changed = bytearray(entries[name])
    at = data.draw(st.integers(0, min(len(changed), 900) - 1))
    changed[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    try:
        model = apply_adapter(BASE, read_adapter(zip_bytes(entries | {name: bytes(changed)})))
    except AdapterError:
        return
    assert all(torch.isfinite(p).all() for p in model.parameters())
