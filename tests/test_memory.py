"""What is free, and which errors say that nothing was."""

from __future__ import annotations

import errno
import platform
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from core.memory import cgroup_free, free_bytes, is_out_of_memory, training_bytes
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from core.networks.perceptron import PerceptronSpec
from core.training.bank.tape import scripted
from tests.forked import REPO


def test_what_the_allocators_raise_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as by_torch:
        torch.empty(2**50)
    with pytest.raises(MemoryError) as by_python:
        bytearray(2**62)
    assert is_out_of_memory(by_torch.value)
    assert is_out_of_memory(by_python.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory"))
    # What oneDNN says under a limit on memory; in test_out_of_memory.py it is not always the first to run out.
    assert is_out_of_memory(RuntimeError("could not create a primitive"))


def test_it_is_known_as_well_from_inside_a_compiled_step() -> None:
    column, rows, loss = torch.zeros(1, 1).expand(2**25, 1), torch.zeros(1, 1), torch.zeros(1)
    step = scripted([partial(torch.add, column, column.T, out=torch.empty(0))], rows, loss)
    assert step
    with pytest.raises(RuntimeError) as raised:
        step(torch.zeros(1, 1, 1), torch.zeros(1, 1))
    assert is_out_of_memory(raised.value)


def test_other_errors_are_not() -> None:
    with pytest.raises(RuntimeError) as shapes:
        torch.ones(2) + torch.ones(3)
    for error in (shapes.value, ValueError("no"), OSError(errno.ENOSPC, "No space left on device")):
        assert not is_out_of_memory(error)


def write(group: Path, **files: str) -> None:
    group.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (group / name.replace("__", ".")).write_text(text)


def test_the_tightest_group_of_version_2_counts_and_unused_files_give_way(tmp_path: Path) -> None:
    write(tmp_path / "a", memory__max="1000\n", memory__current="700\n", memory__stat="anon 600\ninactive_file 50\n")
    write(tmp_path / "a" / "b", memory__max="max\n", memory__current="600\n", memory__stat="inactive_file 40\n")
    assert cgroup_free("0::/a/b\n", tmp_path) == 350


def test_a_group_of_version_1_counts_whose_path_is_outside_of_the_container(tmp_path: Path) -> None:
    write(
        tmp_path / "memory",
        memory__limit_in_bytes="1000\n",
        memory__usage_in_bytes="900\n",
        memory__stat="total_inactive_file 300\n",
    )
    assert cgroup_free("4:cpu,cpuacct:/x\n3:memory:/docker/0123\n0::/\n", tmp_path) == 400


def test_without_a_limit_there_is_none(tmp_path: Path) -> None:
    write(tmp_path, memory__max="max\n", memory__current="1\n")
    assert cgroup_free("0::/\n", tmp_path) is None
    assert cgroup_free("", tmp_path) is None


def test_a_machine_that_runs_this_has_some_free() -> None:
    assert free_bytes(torch.device("cpu")) > 2**20


def test_training_takes_weights_and_for_those_that_are_trained_gradients_and_two_moments() -> None:
    base = PerceptronSpec.of().build()
    assert training_bytes(base) == 4 * 136_074 * 4
    # Adapters of rank 4 on 784-128, 128-256 and 256-10.
    assert training_bytes(add_lora(base, LoRASpec.of(rank=4))) == 4 * (136_074 + 4 * 4 * (912 + 384 + 266))


GROWING = """
import torch
from core.memory import Growth
earlier = [torch.ones(64, 1024) for _ in range(400)]  # 100 MB in pieces that the allocator keeps
del earlier
growth = Growth()
now = [torch.ones(64, 1024) for _ in range(400)]
growth.sample()
del now
growth.sample()
print(growth.peak)
"""


def test_growth_counts_memory_that_earlier_work_has_freed() -> None:
    # A process of its own: in this one, what other tests have freed lies between what is in use.
    done = subprocess.run([sys.executable, "-c", GROWING], capture_output=True, text=True, check=True)
    assert 80e6 < int(done.stdout) < 200e6


def test_freed_memory_is_kept_while_somebody_wants_it_and_given_back_afterwards() -> None:
    # In a process of its own: the allocator's settings are the process's.
    program = """
import threading
import psutil, torch
from core.memory import freed_memory_kept

def rss(): return psutil.Process().memory_info().rss >> 20
def work():
    for _ in range(3):
        tensors = [torch.ones(2**20) for _ in range(100)]  # 400 MiB in pieces
        del tensors

work()
before = rss()
with freed_memory_kept():
    with freed_memory_kept():
        thread = threading.Thread(target=work); thread.start(); thread.join(); work()
    work()
    inside = rss()
after = rss()
print(before, inside, after)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, check=True)
    before, inside, after = map(int, done.stdout.split())
    assert after < before + 100
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        assert inside > before + 200
