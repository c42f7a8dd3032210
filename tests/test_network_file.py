"""Network files: whole or not there, and read only where they hold what a base holds."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.errors import NetworkFileError
from core.files import sha256_of, write_atomically
from core.methods.parameters import count_parameters
from core.networks.file import network_bytes, read_network, write_network
from core.networks.fingerprint import fingerprint
from core.networks.perceptron import PerceptronSpec
from tests.bad_files.networks import BASE, SMALL, STATE


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 9), st.integers(2, 9), st.integers(0, 99))
def test_a_network_comes_back_bit_for_bit(tmp_path_factory, features, hidden_1, hidden_2, classes, seed) -> None:
    spec = PerceptronSpec(num_features=features, num_hidden_1=hidden_1, num_hidden_2=hidden_2, num_classes=classes)
    network = spec.build(seed=seed)
    path = tmp_path_factory.mktemp("network") / "base.safetensors"
    digest = write_network(path, network)
    found = read_network(path)
    assert fingerprint(found.state_dict()) == fingerprint(network.state_dict())
    assert digest == sha256_of(path)
    assert network_bytes(found) == path.read_bytes()
    assert all(p.requires_grad and p.is_leaf for p in found.parameters())
    assert found.layers[0].weight.data_ptr() != network.layers[0].weight.data_ptr()


def test_training_a_network_that_was_read_leaves_its_file(tmp_path: Path) -> None:
    path = tmp_path / "base.safetensors"
    digest = write_network(path, SMALL.build(seed=1))
    network, other = read_network(path), read_network(path)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    assert sha256_of(path) == digest
    path.write_bytes(b"")
    assert fingerprint(other.state_dict()) == fingerprint(STATE)


def test_a_frozen_network_is_read_back_trainable(tmp_path: Path) -> None:
    write_network(tmp_path / "n", SMALL.build(seed=1).requires_grad_(False))
    assert count_parameters(read_network(tmp_path / "n"), trainable=True) == 35 + 24 + 15


def test_a_file_larger_than_any_network_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(NetworkFileError, match="larger than any network"):
        read_network(tmp_path / "big")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(NetworkFileError):
            read_network(path)


def test_the_same_network_gives_the_same_bytes() -> None:
    assert {network_bytes(SMALL.build(seed=1)) for _ in range(20)} == {BASE}


# Files


@given(st.binary(max_size=99), st.binary(max_size=99))
def test_a_file_holds_what_was_written_last(tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes) -> None:
    path = tmp_path_factory.mktemp("files") / "deep" / "er" / "file"
    write_atomically(path, old)
    digest = write_atomically(path, new)
    assert path.read_bytes() == new
    assert digest == sha256_of(path)
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_write_that_the_system_stops_leaves_the_old_file_and_no_other(tmp_path: Path, old: bytes | None) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    # A limit on file sizes stops a write as a full disk does: partway, with an OSError.
    script = (
        "import resource, sys; from pathlib import Path; from core.files import write_atomically\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: write_atomically(Path(sys.argv[1]), bytes(2**20))\n"
        "except OSError as error: sys.exit(error.errno)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=Path(__file__).parents[1], check=False)
    assert done.returncode == errno.EFBIG
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == ({} if old is None else {"file": old})


def test_a_killed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    script = (
        "import os, sys; from pathlib import Path; import core.files\n"
        "core.files.os.replace = lambda *paths: os.kill(os.getpid(), 9)\n"
        "core.files.write_atomically(Path(sys.argv[1]), b'new')\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=Path(__file__).parents[1], check=False)
    assert done.returncode == -9
    assert path.read_bytes() == b"old"


def test_a_folder_that_is_a_file_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(OSError):
        write_atomically(tmp_path / "file" / "inner", b"y")
    assert (tmp_path / "file").read_bytes() == b"x"


def test_a_network_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "base.safetensors"
    write_network(path, SMALL.build(seed=1))
    path.rename(tmp_path / "kept")
    path.mkdir()
    with pytest.raises(OSError):
        write_network(path, SMALL.build(seed=2))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["base.safetensors", "kept"]
