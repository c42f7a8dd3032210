"""The reader: whatever a file does to it is one sentence, and nothing of it outlives its callers."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import AdapterError, DatasetError
from core.reader import process, reading_here
from core.reader.values import decode, encode
from tests import forked
from tests.bad_files.sentences import faults_of
from tests.conftest import HANG, wait_until
from tests.reader.openers import Things, allocate, anything, environment, kill, misbehave, pids, same, size_of

TIME = "The picture takes more than 1 seconds to read: choose another one."
DAMAGE = "The picture cannot be read: it is damaged, or takes more than 64 MiB of memory. Choose another one."

ENDS = {
    **dict.fromkeys(("abort", "crash", "memory", "small pieces", "much", "raise", "lie"), DAMAGE),
    **dict.fromkeys(("loop", "sleep", "ignore"), TIME),
    "say": "The file has a beard: shave it.",
}


@pytest.fixture(params=[True, False], ids=["forked", "started"])
def forks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the reader forks per file, or a process is started, as where there is no fork."""
    monkeypatch.setattr(process, "FORKS", request.param)
    return bool(request.param)


def things() -> Things:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    return Things(
        array, (1, -2), {"ä": None, "b": "c\n"}, (b"\0\xff", True, 0.5), Path(os.fsdecode(b"/a \xe9")), AdapterError
    )


def test_values_of_every_kind_come_back_as_they_were(forks: bool) -> None:
    sent, found = things(), same(things())
    np.testing.assert_array_equal(found.array, sent.array)
    assert not found.array.flags.writeable
    for name in ("numbers", "texts", "part", "place", "error"):
        assert getattr(found, name) == getattr(sent, name)


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=9,
)


@settings(max_examples=20)  # each of them costs two processes
@given(json)
def test_plain_json_comes_back_as_it_was(value: object) -> None:
    assert anything(value) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_of_the_declared_type_or_an_error(content: bytes) -> None:
    good = encode(things())
    for each in (content, good[: len(content)] + content + good[2 * len(content) :]):
        try:
            found = decode(Things, bytearray(each))
        except ValueError:
            continue
        assert isinstance(found, Things)
        assert found.array.dtype == np.float32
        assert all(isinstance(number, int) for number in found.numbers)


@pytest.mark.parametrize(
    ("how", "is_forked"), [*((how, True) for how in ENDS), *((how, False) for how in ("abort", "much", "loop", "say"))]
)
def test_whatever_ends_the_reader_is_one_sentence(how: str, is_forked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "FORKS", is_forked)
    with pytest.raises(DatasetError) as caught:
        (allocate if how in ("memory", "small pieces") else misbehave)(how)
    assert str(caught.value) == ENDS[how]
    assert faults_of(str(caught.value)) == []
    assert misbehave("nothing") == "nothing"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_signal_is_one_sentence(number: int) -> None:
    with pytest.raises(DatasetError, match=r"^The file (takes more than 1 seconds|cannot be read)"):
        kill(number)


def test_a_file_is_sent_to_the_reader_without_a_copy_of_it() -> None:
    content = bytes(2**24)
    size_of(b"")  # which starts the process
    tracemalloc.start()
    try:
        assert size_of(content) == len(content)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_file_that_was_refused_is_not_kept() -> None:
    """Its error must not refer to itself through its traceback, which has the file: such circles stay for long."""
    refused: list[str] = []
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(3):
            try:
                misbehave("say", "a" * 2**22)
            except DatasetError as error:
                refused.append(str(error))
        assert tracemalloc.get_traced_memory()[0] < 2**20
    finally:
        tracemalloc.stop()
        gc.enable()
    assert len(refused) == 3


def test_what_is_no_text_is_one_sentence() -> None:
    with pytest.raises(DatasetError, match=r"has characters in it that are no text: choose another one\.$"):
        misbehave("nothing", "\ud800")


def test_nothing_can_be_written(tmp_path: Path, forks: bool) -> None:
    with pytest.raises(DatasetError):
        misbehave("write", str(tmp_path / "file"))
    assert [path.stat().st_size for path in tmp_path.iterdir()] in ([], [0])


def test_the_reader_gets_no_secrets(monkeypatch: pytest.MonkeyPatch, forks: bool) -> None:
    for name in ("LORA_LAB_TOKEN", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "my_password"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("LORA_LAB_HOME", "/somewhere")
    process._forget()
    assert "secret" not in environment().values()
    assert environment()["LORA_LAB_HOME"] == "/somewhere"


def test_files_are_read_side_by_side_by_forks_of_one_process() -> None:
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(pids, range(20), timeout=HANG))
    assert [number for _, _, number in found] == list(range(20))
    assert len({pid for pid, _, _ in found}) == 20
    assert {parent for _, parent, _ in found} == {process._process.pid if process._process else 0}


def test_those_who_wait_when_the_reader_is_killed_share_the_next_one() -> None:
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(misbehave, "sleep") for _ in range(4)]
        time.sleep(0.5)
        os.kill(pids(0)[1], signal.SIGKILL)
        assert [str(each.exception(HANG)) for each in waiting] == [TIME] * 4


def test_files_of_our_own_are_read_in_this_process_and_thread() -> None:
    with reading_here(), ThreadPoolExecutor(1) as pool:
        elsewhere = pool.submit(pids, 0).result(HANG)
        with reading_here():
            pass
        assert pids(0)[0] == os.getpid()
    assert pids(0)[0] != os.getpid()
    assert elsewhere[0] != os.getpid()


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


SAYING = """
import os, sys, time
from tests.reader.openers import pids
print(pids(0)[1], flush=True)
if os.fork() == 0:
    print(pids(0)[1], flush=True)
    time.sleep(60)
    os._exit(0)
time.sleep(60)
"""


@pytest.fixture
def saying() -> Iterator[tuple[forked.Process, list[int]]]:
    """A process that has a reader, and its child, which has another: the process, and what forks for each."""
    one = forked.start(["-c", SAYING], stdout=subprocess.PIPE, text=True)
    assert one.stdout
    yield one, [int(one.stdout.readline()) for _ in range(2)]
    one.kill()
    one.wait()
    one.stdout.close()


def test_no_reader_outlives_a_process_that_is_killed(saying: tuple[forked.Process, list[int]]) -> None:
    one, (reader, of_child) = saying
    assert reader != of_child
    assert not gone(reader)
    child = psutil.Process(of_child).ppid()
    one.kill()
    wait_until(lambda: gone(reader), HANG)
    assert not gone(of_child)
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: gone(of_child), HANG)


SOON = "from core.reader import serve; serve.IDLE_SECONDS = 0.2; serve.main()"


def test_the_reader_ends_when_there_is_nothing_to_read() -> None:
    here, there = socket.socketpair()
    with here, there:
        command = [sys.executable, "-c", SOON, str(there.fileno())]
        started = subprocess.Popen(
            command, pass_fds=[there.fileno()], cwd=process.ROOT, env=process.environment(os.environ)
        )
        assert started.wait(HANG) == 0


def test_the_process_that_forks_has_one_thread_and_a_file_costs_no_new_import() -> None:
    from core.networks.tokenizer import opened_tokenizer

    for _ in range(2):
        with pytest.raises(Exception, match="cannot be read"):
            opened_tokenizer(Path("/nowhere"))
    _, parent, _ = pids(0)
    assert psutil.Process(parent).num_threads() == 1
    start = time.process_time()
    with pytest.raises(Exception, match="cannot be read"):
        opened_tokenizer(Path("/nowhere"))
    assert time.process_time() - start < 0.5
