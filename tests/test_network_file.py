"""Network files: whole or not there, and read only where they hold what a base holds."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from core.errors import NetworkFileError
from core.files import sha256_of, write_atomically
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from core.methods.parameters import count_parameters
from core.networks.file import network_bytes, read_network, write_network
from core.networks.fingerprint import fingerprint
from core.networks.perceptron import PerceptronSpec

SMALL = PerceptronSpec(num_features=6, num_hidden_1=5, num_hidden_2=4, num_classes=3)


WHOLE = network_bytes(SMALL.build(seed=1))


def _state() -> dict[str, Tensor]:
    return dict(SMALL.build(seed=1).state_dict())


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
    assert fingerprint(other.state_dict()) == fingerprint(_state())


def test_a_frozen_network_is_read_back_trainable(tmp_path: Path) -> None:
    write_network(tmp_path / "n", SMALL.build(seed=1).requires_grad_(False))
    assert count_parameters(read_network(tmp_path / "n"), trainable=True) == 35 + 24 + 15


def _without(name: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in _state().items() if key != name}


NAN = torch.full((3,), torch.nan)
WRONG = {
    "another name": {"fc.weight": torch.zeros(2, 2)},
    "nothing": {},
    "a layer too many": _state() | {"layers.6.weight": torch.zeros(3, 3), "layers.6.bias": torch.zeros(3)},
    "a tensor too many": _state() | {"note": torch.zeros(1)},
    "a bias too few": _without("layers.4.bias"),
    "layers that do not join": _state() | {"layers.2.weight": torch.zeros(4, 9)},
    "a bias of another size": _state() | {"layers.0.bias": torch.zeros(9)},
    "a weight of one dimension": _state() | {"layers.0.weight": torch.zeros(30)},
    "no output": _state() | {"layers.4.weight": torch.zeros(0, 4), "layers.4.bias": torch.zeros(0)},
    "no hidden units": _state() | {"layers.0.weight": torch.zeros(0, 6), "layers.0.bias": torch.zeros(0)},
    "too many features": _state() | {"layers.0.weight": torch.zeros(5, 5000)},
    "NaN": _state() | {"layers.4.bias": NAN},
    "infinity": _state() | {"layers.4.bias": -NAN / 0},
    "half precision": {name: tensor.half() for name, tensor in _state().items()},
    "whole numbers": _state() | {"layers.4.bias": torch.zeros(3, dtype=torch.int32)},
    "unsigned numbers": _state() | {"layers.4.bias": torch.zeros(3, dtype=torch.uint32)},
    "truth values": _state() | {"layers.4.bias": torch.zeros(3, dtype=torch.bool)},
    "an adapted network": dict(add_lora(SMALL.build(seed=1), LoRASpec(rank=2)).state_dict()),
}


@pytest.mark.parametrize("state", WRONG.values(), ids=WRONG.keys())
def test_another_architecture_is_refused_in_one_sentence(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "base.safetensors"
    path.write_bytes(safetensors.torch.save(state))
    with pytest.raises(NetworkFileError, match=r"^[^\n]{10,300}\.$"):
        read_network(path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"PK\x03\x04", b"\xff" * 64, b"{}" * 9, bytes(8)])
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(NetworkFileError, match=r"^x\.pt is "):
        read_network(tmp_path / "x.pt")


KINDS = "F64 F32 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL C64 F8_E4M3 F8_E5M2 F8_E8M0 F4 F6_E2M3 X1"


@pytest.mark.parametrize("kind", KINDS.split())
def test_every_kind_of_number_but_float32_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "base.safetensors"
    header = 8 + int.from_bytes(WHOLE[:8], "little")
    changed = WHOLE[8:header].replace(b'"F32"', f'"{kind}"'.encode())
    path.write_bytes(len(changed).to_bytes(8, "little") + changed + WHOLE[header:])
    if kind == "F32":
        read_network(path)
        return
    with pytest.raises(NetworkFileError, match=r"^[^\n]{10,300}\.$"):
        read_network(path)


def test_a_file_larger_than_any_network_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(NetworkFileError, match="larger than any network"):
        read_network(tmp_path / "big")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(NetworkFileError):
            read_network(path)


@given(st.integers(0, len(WHOLE) - 1))
def test_a_truncated_file_is_refused(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "base.safetensors"
    path.write_bytes(WHOLE[:length])
    with pytest.raises(NetworkFileError):
        read_network(path)


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 7))
def test_a_flipped_bit_gives_another_fingerprint_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int
) -> None:
    content = bytearray(WHOLE)
    content[at] ^= 1 << bit
    path = tmp_path_factory.mktemp("flip") / "base.safetensors"
    path.write_bytes(content)
    header = 8 + int.from_bytes(WHOLE[:8], "little")
    try:
        found = read_network(path)
    except NetworkFileError:
        return
    assert at < header or fingerprint(found.state_dict()) != fingerprint(_state())
    assert all(torch.isfinite(p).all() for p in found.parameters())


def test_the_same_network_gives_the_same_bytes() -> None:
    assert {network_bytes(SMALL.build(seed=1)) for _ in range(20)} == {WHOLE}


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
