"""Bad networks: one clear sentence each, before much memory is taken, and nothing is left behind."""

from __future__ import annotations

import shutil
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from core.errors import LabError
from core.networks.library.networks import Networks
from tests.bad_files.networks import beside, changed, config, header, index
from tests.bad_files.sentences import refusal
from tests.networks.tiny import save_tiny

pytestmark = pytest.mark.usefixtures("read_here")

FULL = shutil.disk_usage("/")._replace(free=2**26 + 1000)


@pytest.mark.parametrize(
    "changes",
    [
        {"attn_implementation": "kernels-community/flash-attn3"},
        {"_attn_implementation": "kernels-community/flash-attn3"},
        {"experts_implementation": "somebody/kernel"},
        {"_name_or_path": "/etc", "use_kernels": True},
        {"transformers_weights": "../../secret"},
    ],
)
def test_a_config_decides_only_the_architecture(networks: Networks, sound: Path, changes: dict[str, object]) -> None:
    plain = networks.import_folder(sound)
    card = networks.import_zip(changed(config(**changes)), "a.zip")
    assert card.digest != plain.digest
    assert card.config == plain.config
    network = networks.start(networks.spec(card.digest), 0)
    assert network.config._attn_implementation in ("sdpa", "eager")


def refused(networks: Networks, bring: Callable[..., object], *values: Any, **more: Any) -> str:
    """The sentence with which a network is refused, once it is seen to be one and to have left nothing."""
    said = refusal(LabError, bring, *values, **more)
    assert [path.name for path in networks._settings.networks.rglob("*") if path.is_file()] == []
    return said


def test_the_same_network_is_taken_when_nothing_is_changed(networks: Networks) -> None:
    for change in (config(), header(lambda values: None), index(lambda places: None)):
        networks.import_zip(changed(change), "a.zip")


def test_a_network_that_reads_its_padding_is_one_sentence(networks: Networks, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "tiny", "fnet")
    # What transformers itself computes: the same text, alone and with padding behind it, has other logits.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    ids, padding = torch.arange(4, 10)[None], torch.zeros(1, 6, dtype=torch.int64)
    with torch.no_grad():
        alone = network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        padded = network(
            input_ids=torch.cat([ids, padding], 1), attention_mask=torch.cat([torch.ones_like(ids), padding], 1)
        ).logits
    assert (alone - padded).abs().max() > 0.01 * alone.abs().max()
    assert "answers a text differently when padding follows" in refused(networks, networks.import_folder, folder)


def test_a_folder_that_is_not_there_is_one_sentence(networks: Networks, tmp_path: Path) -> None:
    assert "cannot be read" in refused(networks, networks.import_folder, tmp_path / "nowhere")


def test_a_folder_above_one_network_stands_for_it_and_above_several_names_them(
    networks: Networks, sound: Path, tmp_path: Path
) -> None:
    assert "choose a network" in refused(networks, networks.import_folder, tmp_path)
    for folder in ("a/one", "a/one/1_Pooling", "a/two", "x/y/deep/er"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "config.json").write_text("{}")
    told = refused(networks, networks.import_folder, tmp_path)
    assert "has no config.json, and a/one and a/two below it" in told
    told = refused(networks, networks.import_folder, tmp_path / "a")
    assert "has no config.json, and one and two below it have one each: give the path of one of them." in told
    shutil.copytree(sound, tmp_path / "above/package/model")
    assert networks.import_folder(tmp_path / "above") == networks.import_folder(sound)


@pytest.mark.parametrize("cut", [None, 0, -30])
def test_a_zip_on_this_machine_is_read_from_its_file(
    networks: Networks, sound: Path, tmp_path: Path, cut: int | None
) -> None:
    path = tmp_path / "mine.Zip"
    path.write_bytes(beside()[:cut])
    if cut is not None:
        refused(networks, networks.import_folder, path)
        return
    card = networks.import_folder(path)
    assert (card.digest, card.name, card.origin) == (networks.import_folder(sound).digest, "mine", "zip")


def test_a_zip_may_be_as_large_as_a_network_and_is_not_held_in_memory(
    networks: Networks, sound: Path, tmp_path: Path
) -> None:
    path = tmp_path / "large.zip"
    with path.open("wb") as start:  # programs that unpack themselves begin with something else too
        start.truncate(300 * 2**20)
    with zipfile.ZipFile(path, "a") as archive:
        for file in sound.iterdir():
            archive.write(file, file.name)
    tracemalloc.start()
    try:
        assert networks.import_folder(path).digest == networks.import_folder(sound).digest
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("place", "found", "says"),
    [
        ("core.networks.library.importing.free_bytes", lambda device: 1000, "of memory are free"),
        ("core.networks.library.check.free_bytes", lambda device: 1000, "of memory, but"),
        ("shutil.disk_usage", lambda path: FULL, "are free on the disk"),
    ],
    ids=["memory to import it", "memory to check it", "disk"],
)
def test_what_is_too_large_for_this_machine_is_one_sentence(
    networks: Networks, sound: Path, monkeypatch: pytest.MonkeyPatch, place: str, found: object, says: str
) -> None:
    monkeypatch.setattr(place, found)
    assert says in refused(networks, networks.import_folder, sound)
