"""``examples/from_scratch.py``: its layers are the library's, and it runs with torch alone."""

from __future__ import annotations

import ast
import copy
import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

import core
from core.data.sources.built_in import Mnist16k
from core.data.task_spec import TaskSpec
from core.settings import Settings
from core.tasks.views.image import as_seen

REPO = Path(__file__).resolve().parents[1]
FILE = REPO / "examples" / "from_scratch.py"
SIZES = (784, 128, 256, 10)


@pytest.fixture(scope="module")
def scratch() -> ModuleType:
    """The file as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FILE.parent)
        return importlib.import_module(FILE.stem)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.rand(50, 784, generator=torch.Generator().manual_seed(1))


def pair(scratch: ModuleType) -> tuple[nn.Module, nn.Module]:
    """Its network and the library's, from the same seed."""
    networks = []
    for module in (scratch, core):
        torch.manual_seed(3)
        networks.append(module.MultilayerPerceptron(*SIZES))
    return networks[0], networks[1]


def adapted_pair(scratch: ModuleType, rank: int, trained: bool) -> tuple[nn.Module, nn.Module]:
    """Its adapted network and the library's, from the same seeds; if trained, with the same B other than zero."""
    own, theirs = pair(scratch)
    torch.manual_seed(4)
    own = scratch.add_lora(own, rank=rank, alpha=8)
    torch.manual_seed(4)
    theirs = core.add_lora(theirs, core.LoRASpec(rank=rank, alpha=8))
    if trained:
        for network in (own, theirs):
            draw = torch.Generator().manual_seed(5)
            for name, parameter in network.named_parameters():
                if name.endswith(".B"):
                    parameter.detach().uniform_(-0.1, 0.1, generator=draw)
    return own, theirs


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks have the same tensors under the same names, bit for bit."""
    first, second = one.state_dict(), other.state_dict()
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


def test_its_network_is_the_librarys(scratch: ModuleType, x: torch.Tensor) -> None:
    own, theirs = pair(scratch)
    assert same(own, theirs)
    assert torch.equal(own(x), theirs(x))


@pytest.mark.parametrize("rank", [1, 4, 10, 16])  # the last layer has rank 10 at most
def test_adapters_start_as_the_librarys_and_change_nothing(scratch: ModuleType, x: torch.Tensor, rank: int) -> None:
    own, theirs = adapted_pair(scratch, rank, trained=False)
    assert same(own, theirs)
    assert torch.equal(own(x), theirs(x))
    assert torch.equal(own(x), pair(scratch)[0](x))


@pytest.mark.parametrize("rank", [1, 4, 10, 16])
def test_adapted_networks_and_their_gradients_are_the_librarys(scratch: ModuleType, x: torch.Tensor, rank: int) -> None:
    own, theirs = adapted_pair(scratch, rank, trained=True)
    assert torch.equal(own(x), theirs(x))
    assert not torch.equal(own(x), pair(scratch)[0](x))
    for network in (own, theirs):
        network(x).square().sum().backward()
    for (name, one), other in zip(own.named_parameters(), theirs.parameters(), strict=True):
        assert one.requires_grad == other.requires_grad == (".lora." in name)
        assert (one.grad is None) == (other.grad is None)
        assert one.grad is None or torch.equal(one.grad, other.grad)


def test_freezing_is_the_librarys(scratch: ModuleType) -> None:
    own, _ = adapted_pair(scratch, 4, trained=True)
    for parameter in own.parameters():
        parameter.requires_grad_(True)
    other = copy.deepcopy(own)
    scratch.freeze_linear_layers(own)
    core.freeze_linear_layers(other)
    states = [[(name, p.requires_grad) for name, p in network.named_parameters()] for network in (own, other)]
    assert states[0] == states[1]
    assert {trains for _, trains in states[0]} == {True, False}


@pytest.mark.parametrize("rank", [1, 4, 16])
def test_merging_is_the_librarys(scratch: ModuleType, x: torch.Tensor, rank: int) -> None:
    own, theirs = adapted_pair(scratch, rank, trained=True)
    before = copy.deepcopy(own)
    merged, expected = scratch.merge(own), core.merged_copy(theirs)
    assert same(own, before)  # the adapted network stays what it was
    assert same(merged, expected)
    assert torch.equal(merged(x), expected(x))
    assert {name for name, _ in merged.named_parameters()} == {name for name, _ in pair(scratch)[0].named_parameters()}


def test_its_images_and_their_rotation_are_the_librarys(scratch: ModuleType, tmp_path: Path) -> None:
    part = Mnist16k(Settings(tmp_path)).load("mnist-16k")
    for name in ("train", "test"):
        images, labels = scratch.load(name)
        pixels, classes = getattr(part, f"{name}_images"), getattr(part, f"{name}_labels")
        np.testing.assert_array_equal(labels.numpy(), classes)
        assert torch.equal(images.flatten(1), as_seen(pixels, TaskSpec.of(dataset="mnist-16k")))
    turned = scratch.rotate(images, 45).flatten(1)
    expected = as_seen(pixels, TaskSpec.of(dataset="mnist-16k", rotation=45.0))
    torch.testing.assert_close(turned, expected, atol=1e-4, rtol=0)


def test_it_is_short_and_imports_torch_alone() -> None:
    text = FILE.read_text()
    assert len(text.splitlines()) <= 200
    imported = set[str]()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add((node.module or "").partition(".")[0])
    assert imported - set(sys.stdlib_module_names) == {"torch"}


def test_the_readme_starts_readers_there() -> None:
    assert "(examples/from_scratch.py)" in (REPO / "README.md").read_text().partition("## Pages")[0]


def test_it_runs_beside_the_images_alone_and_prints_the_comparison(tmp_path: Path) -> None:
    for folder in ("examples", "core/data/sources"):
        (tmp_path / folder).mkdir(parents=True)
    for file in (FILE, *(REPO / "core/data/sources").glob("mnist-16k-*")):
        (tmp_path / file.relative_to(REPO)).write_bytes(file.read_bytes())
    command = [sys.executable, "-W", "error", str(tmp_path / "examples" / FILE.name), "--quick"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rows = {line[:18].strip(): line[18:].replace("%", "").split() for line in done.stdout.splitlines()[1:5]}
    assert list(rows) == ["Base", "Full fine-tuning", "LoRA, rank 4", "LoRA, merged"]
    assert [row[2] for row in rows.values()] == ["0", "136,074", "6,248", "0"]
    scores = {name: (float(row[0]), float(row[1])) for name, row in rows.items()}
    assert scores["LoRA, merged"] == pytest.approx(scores["LoRA, rank 4"], abs=0.1)
    # Both ways learn the rotated digits, which the base does not know, even in a few steps.
    assert scores["Base"][1] > scores["Base"][0] + 20
    assert min(scores["Full fine-tuning"][0], scores["LoRA, rank 4"][0]) > scores["Base"][0] + 10
    assert re.search(r"Merging moved logits by \de-\d\d at most", done.stdout)
