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
from core.networks.file import fingerprint, network_bytes, read_network, write_network
from core.networks.perceptron import PerceptronSpec
from tests.bad_files.networks import SMALL, STATE


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 9), st.integers(2, 9), st.integers(0, 99), st.booleans())
def test_a_network_comes_back_bit_for_bit_and_trainable(
    tmp_path_factory, features, hidden_1, hidden_2, classes, seed, frozen
) -> None:
    spec = PerceptronSpec(num_features=features, num_hidden_1=hidden_1, num_hidden_2=hidden_2, num_classes=classes)
    network = spec.build(seed=seed).requires_grad_(not frozen)
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


def test_a_file_that_is_too_large_or_not_there_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(NetworkFileError, match="larger than any network"):
        read_network(tmp_path / "big")
    for path in (tmp_path / "none", tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(NetworkFileError):
            read_network(path)


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


def test_what_cannot_be_put_in_its_place_is_an_os_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "inner", tmp_path / "folder"):
        with pytest.raises(OSError):
            write_network(path, SMALL.build(seed=1))
    assert (tmp_path / "file").read_bytes() == b"x"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]
