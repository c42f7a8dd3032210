"""Importing a network is whole or not at all: killed in the middle, on a full disk, and by two processes at once."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from core.networks.library.importing import MIN_AGE, PARTIAL
from core.networks.library.networks import Networks
from core.settings import Settings
from tests import forked
from tests.forked import Process

BRING = """
import os, resource, signal, sys
from pathlib import Path
from core.errors import LabError
from core.networks.library.networks import Networks
from core.reader import reading_here
from core.settings import Settings

home, folder, what, at = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4])

def progress(share):
    if what == "kill" and share >= at:
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "wait" and share >= at:
        print("ready", flush=True)
        sys.stdin.readline()

if what == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(at), resource.RLIM_INFINITY))
try:
    with reading_here():  # a reader of its own would import transformers anew
        print(Networks(Settings(home=home)).import_folder(folder, progress=progress).digest)
except LabError as error:
    print(error)
    sys.exit(3)
"""


def start(home: Path, folder: Path, what: str, at: float) -> Process:
    arguments = ["-c", BRING, str(home), str(folder), what, str(at)]
    process = forked.start(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert what != "wait" or process.stdout.readline() == "ready\n"
    return process


def left(settings: Settings) -> list[Path]:
    return [path for path in settings.networks.rglob("*") if path.is_file()]


@pytest.mark.parametrize("at", [0.0, 0.3, 0.9])
def test_a_killed_process_leaves_no_network_and_nothing_once_it_was_cleaned(
    settings: Settings, sound: Path, at: float
) -> None:
    process = start(settings.home, sound, "kill", at)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    networks = Networks(settings)
    assert networks.list() == []
    (folder,) = (path for path in (settings.networks / PARTIAL).iterdir() if path.is_dir())
    networks.clean()
    assert folder.exists()  # it might be another process's that has just begun
    os.utime(folder, (time.time() - MIN_AGE - 1,) * 2)
    card = networks.import_folder(sound)  # cleans, too
    assert not folder.exists()
    assert all(path.parent.name == card.digest for path in left(settings))


def test_the_folder_of_a_living_process_is_not_cleaned(settings: Settings, sound: Path) -> None:
    process = start(settings.home, sound, "wait", 0.5)
    (folder,) = (path for path in (settings.networks / PARTIAL).iterdir() if path.is_dir())
    os.utime(folder, (time.time() - 10**6,) * 2)
    Networks(settings).clean()
    assert folder.exists()
    process.communicate("\n" * 10_000)
    assert process.returncode == 0
    assert len(Networks(settings).list()) == 1


def test_a_full_disk_is_one_sentence_and_leaves_nothing(settings: Settings, sound: Path) -> None:
    for limit in (500, 5_000):  # in the middle of the texts, and of the weights
        process = start(settings.home, sound, "full", limit)
        answer, _ = process.communicate()
        assert process.returncode == 3, answer
        assert "could not be saved" in answer
        assert left(settings) == []


def test_two_processes_that_bring_the_same_network_both_get_it_once(settings: Settings, sound: Path) -> None:
    both = [start(settings.home, sound, "wait", 0.9) for _ in range(2)]
    answers = [process.communicate("\n" * 10_000)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    digests = {answer.split()[-1] for answer in answers}
    assert len(digests) == 1
    assert all(path.parent.name in digests for path in left(settings))
    networks = Networks(settings)
    networks.start(networks.spec(*digests), 0)
