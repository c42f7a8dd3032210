"""Checkpoints of a Trainer: its pickles beside weights are never opened, and weights in pickles are refused."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from core.adapter.read import read_adapter
from core.errors import AdapterError, NetworkFileError
from core.networks.library.networks import Networks
from core.settings import Settings
from tests.bad_files.adapters import CONFIG, ENTRIES, SOUND, TENSORS
from tests.networks.tiny import save_tiny

BESIDE = (
    *("optimizer.pt", "optimizer.bin", "scheduler.pt", "scaler.pt", "training_args.bin", "trainer_state.json"),
    *("rng_state.pth", *(f"rng_state_{number}.pth" for number in range(8)), "added_tokens.json"),
    *("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"),
)
"""What a Trainer on eight GPUs leaves beside an adapter."""

LARGE = b"\x80\x04 a pickle that nobody may read " * 50_000
"""More than a text in an adapter's file may have."""


def checkpoint(entries: Mapping[str, bytes]) -> bytes:
    """A zip of a folder with entries and files of the Trainer, of which each that is opened is found to be damaged."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"checkpoint-9/{name}", content)
        for name in BESIDE:
            is_small = name.endswith(("_config.json", "_map.json"))
            archive.writestr(f"checkpoint-9/{name}", b"{}" if is_small else LARGE)
    return target.getvalue().replace(LARGE[-99:], b"\0" * 99)


def test_an_adapter_is_what_it_is_without_the_files_of_the_trainer_none_of_which_is_opened() -> None:
    alone = read_adapter(SOUND)
    found = read_adapter(checkpoint(ENTRIES))
    assert (found.config, found.certificate) == (alone.config, alone.certificate)
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in alone.tensors.items())


@pytest.mark.parametrize("name", ["adapter_model.bin", "model.pt", "optimizer.pt.pkl", "xoptimizer.pt"])
def test_an_adapter_with_another_pickle_is_refused(name: str) -> None:
    kept = {entry: content for entry, content in ENTRIES.items() if entry != TENSORS}
    for entries in (kept, ENTRIES):
        with pytest.raises(AdapterError, match=f"contains 'checkpoint-9/{name}': files of that kind can run code"):
            read_adapter(checkpoint(entries | {name: LARGE}))


def test_an_adapter_of_nothing_but_files_of_the_trainer_lacks_its_weights() -> None:
    with pytest.raises(AdapterError, match=f"has no {TENSORS}"):
        read_adapter(checkpoint({CONFIG: ENTRIES[CONFIG]}))


def test_a_network_is_what_it_is_without_the_files_of_the_trainer(settings: Settings, tmp_path: Path) -> None:
    networks, folder = Networks(settings), save_tiny(tmp_path / "checkpoint-9")
    alone = networks.import_folder(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    beside = [name for name in BESIDE if name.endswith((".pt", ".pth", ".bin")) or name == "trainer_state.json"]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in {**files, **dict.fromkeys(beside, LARGE)}.items():
            archive.writestr(f"checkpoint-9/{name}", content)
    content = (tmp_path / "a.zip").read_bytes().replace(LARGE[-99:], b"\0" * 99)
    assert networks.import_zip(content, "a.zip").digest == alone.digest
    for name in beside:
        (folder / name).write_bytes(LARGE)
    assert networks.import_folder(folder).digest == alone.digest
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(NetworkFileError, match=r"has no model.safetensors, only pytorch_model.bin, which LoRA Lab"):
        networks.import_folder(folder)
