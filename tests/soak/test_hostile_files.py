"""Hostile files at every door of a dashboard that trains: one sentence each, nobody waits, and memory stays."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from core.engine.jobs.run_files import ADAPTER
from core.lab import Lab
from core.networks.library.card import ABOUT
from core.networks.perceptron import PerceptronSpec
from core.run_spec import RunSpec
from core.settings import Settings
from tests.bad_files.catalog import BadFile
from tests.browser.conftest import REPO, run_server, stop_server
from tests.conftest import DIGITS, short, wait_until
from tests.data.text_files import CSV
from tests.data.uploaded import FOLDERS, noise, picture, zipped
from tests.forked import Process
from tests.networks.library.hub_server import HubServer
from tests.networks.tiny import save_tiny
from tests.soak.hostile_doors import KINDS, Answer, Doors
from tests.soak.hostile_files import hostile, mutants
from tests.soak.sizes import keep
from tests.soak.watching import Memory, Waits, longest
from tests.trained_home import TrainedHome

pytestmark = [pytest.mark.browser, pytest.mark.minutes]

MUTANTS = 60
"""Number of files that hypothesis makes of those made by hand."""

MAX_LONGER = 1.0
"""Seconds that a page may wait longer than without files."""

MAX_GROWTH = 150 * 2**20
"""Maximum growth of the dashboard's memory with a file, beyond the file itself: an upload of 50 MB is in memory twice
more until it is read, and most of it is free again afterwards."""

MAX_LEFT = 100 * 2**20
"""Maximum growth that all of the files leave behind."""

FEW_HEAPS = {"MALLOC_ARENA_MAX": "2"}
"""Has a server that is started afresh keep little of what it has freed. With a heap for each of many threads it keeps
20 MiB more every minute, up to some hundred, also where no file is imported."""

PART = 25
"""Number of files after which others are watched without files."""

PAUSE = 30.0
"""Maximum seconds for which they are: no longer than with files, so that the longest wait of fewer is compared."""

SAMPLES = 20
"""Samples at the end, without files, of which the least is what stays."""

WIDTH = 1024
"""Of the networks in training, which must train for longer than files are imported."""

BUSY = 0.2
"""Seconds of CPU time."""

ENDED = re.compile(r"cannot be read: it is damaged, or takes more than|takes more than \d+ seconds to read")
"""What is said of a file that has ended the process that read it."""

many = hypothesis_settings(
    database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


@dataclass
class Lived:
    """A dashboard that trains, and what can be imported to it."""

    server: Process
    port: int
    home: Path
    folder: Path
    runs: list[str]
    """The runs that are training, one after another."""
    base: str
    files: list[BadFile]
    sound: dict[str, bytes]
    """A sound file for each door of a page."""
    doors: Doors

    def step(self) -> int:
        """How far the runs have come."""
        with closing(Lab(Settings(self.home))) as lab:
            runs = [lab.store.run(id) for id in self.runs]
        assert any(run.state == "running" for run in runs) or not any(run.step for run in runs), "nothing trains"
        return sum(run.step for run in runs)


@pytest.fixture(scope="module")
def lived(trained_home: TrainedHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    folder = tmp_path_factory.mktemp("hostile")
    home = trained_home.copy(folder / "home")
    lab = Lab(Settings(home))  # not started, so that the server trains what it queues
    network = trained_home.digest
    save_tiny(folder / "tiny")
    optim = short(epochs=200, batch_size=1, rate=1e-5)
    wide = [PerceptronSpec.of(num_classes=10, num_hidden_1=WIDTH, num_hidden_2=WIDTH + more) for more in range(3)]
    runs = [
        lab.launcher.launch(RunSpec.of(method="pretrain", network=each, task=DIGITS, optim=optim)).id for each in wide
    ]
    adapter_run = next(run for run in lab.store.runs() if run.spec.role == "adapter" and run.result)
    adapter, base = lab.artifacts.read(adapter_run.id, ADAPTER), str(adapter_run.spec.base)
    lab.store.close()
    parts = {path.name: path.read_bytes() for path in (home / "networks" / network).iterdir() if path.name != ABOUT}
    hub = HubServer(folder / "tiny")
    place = {"LORA_LAB_DATA": "", "HF_ENDPOINT": hub.address}
    server, url = run_server(REPO / "app.py", folder, place | FEW_HEAPS, fresh=True)
    port = int(url.rpartition(":")[2])
    (folder / "commands").mkdir()
    doors = Doors(port, home, base, network, folder / "commands", hub)
    sound = {
        "images": FOLDERS,
        "texts": CSV,
        "picture": picture(noise(1)),
        "adapter": adapter,
        "network": zipped(*parts.items()),
        "request": json.dumps({"rows": [{"adapter": None, "pixels": [0.0] * 784}], "base": base}).encode(),
    }
    yield Lived(server, port, home, folder, runs, base, hostile(parts), sound, doors)
    doors.close()
    hub.shutdown()
    hub.server_close()
    stop_server(server)


class Feeding:
    """Brings one file after another, and watches how long others wait, with files and without."""

    def __init__(self, lived: Lived, memory: Memory) -> None:
        self._lived, self._memory = lived, memory
        self._with: Waits | None = None
        self._open = ExitStack()
        self._began = 0.0
        self.with_files: list[Waits] = []
        self.without: list[Waits] = []
        self.counts: Counter[str] = Counter()
        self.seconds: dict[str, float] = {}
        """Of each file, by its name."""
        self.growth: dict[str, int] = {}
        """By how many bytes the dashboard's memory grew at most with each file, where it lasted for a sample."""
        self.wrong: list[object] = []

    def feed(self, file: BadFile, door: str, content: bytes, is_mutant: bool) -> None:
        """Import a file to a door, and note what is wrong with the answer."""
        if self._with is None:
            self._with, self._began = self._open.enter_context(Waits(self._lived.port)), time.monotonic()
        start, sampled = time.monotonic(), len(self._memory.own)
        answer = self._lived.doors.enter(door, file.kind, content)
        name = f"{file.name} ({file.kind}, {door})"
        self.seconds[name] = max(self.seconds.get(name, 0), time.monotonic() - start)
        before = self._memory.own[max(0, sampled - 1)]
        self.growth[name] = max([self.growth.get(name, 0), *(own - before for own in self._memory.own[sampled:])])
        faults = answer.faults
        if not answer.said and not is_mutant and not file.is_valid:
            faults.append("taken")
        if faults:
            self.wrong.append((door, file.kind, file.name, is_mutant, faults, [text[:300] for text in answer.said]))
        self.counts[door] += 1
        self.counts["sentences" if answer.said else "taken"] += 1
        self.counts["ended"] += any(ENDED.search(text) is not None for text in answer.said)
        self.counts["files"] += 1
        if self.counts["files"] % PART == 0:
            self.pause()

    def pause(self) -> None:
        """Watch for a while without files."""
        if self._with is None:
            return
        self._open.close()
        self.with_files.append(self._with)
        self._with = None
        with Waits(self._lived.port) as waits:
            time.sleep(min(PAUSE, time.monotonic() - self._began))
        self.without.append(waits)


def tree(lived: Lived) -> dict[str, tuple[int, int]]:
    """Size and modification time of all files of the home but those that a dashboard which trains writes."""
    own = ("lab.sqlite3", "owners", "backups", "staging", *(f"runs/{run}" for run in lived.runs), "networks/partial")
    files = {path.relative_to(lived.home).as_posix(): path.stat() for path in lived.home.rglob("*") if path.is_file()}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in files.items() if not name.startswith(own)}


# Threads that watch the server meanwhile may draw random numbers while hypothesis draws a file.
@pytest.mark.filterwarnings("ignore:Do not use the .random. module:hypothesis.errors.HypothesisDeprecationWarning")
@pytest.mark.timeout(3600)
def test_hostile_files_are_one_sentence_each_and_nobody_waits_for_them(lived: Lived) -> None:
    wait_until(lambda: lived.step() > 0)
    for kind, content in lived.sound.items():  # what is imported and cached once
        for door in KINDS[kind].doors:
            answer = lived.doors.enter(door, kind, content)
            assert (answer.said, answer.faults) == ([], []), (kind, door)
    for kind in KINDS.keys() - lived.sound.keys():  # doors that are entered with bad files alone
        for door in KINDS[kind].doors:
            assert lived.doors.enter(door, kind, b"{}").faults == [], (kind, door)
    before, step = tree(lived), lived.step()
    by_hand = [
        (file, door)
        for number, file in enumerate(lived.files)
        for place, door in enumerate(KINDS[file.kind].doors)
        if place == 0 or number % 2  # what a command reads, a page has read
    ]
    with Memory(lived.server.pid, lambda: 0) as quiet, Waits(lived.port):
        time.sleep(PAUSE)
    with Memory(lived.server.pid, lambda: lived.doors.held) as memory:
        feeding = Feeding(lived, memory)
        for file, door in by_hand:
            feeding.feed(file, door, file.make(), is_mutant=False)

        @hypothesis_settings(many, max_examples=MUTANTS)
        @given(st.data())
        def others(data: st.DataObject) -> None:
            mutant = data.draw(mutants([file for file, _ in by_hand]))
            door = data.draw(st.sampled_from(KINDS[mutant.file.kind].doors))
            feeding.feed(mutant.file, door, mutant.content(), is_mutant=True)

        others()
        feeding.pause()
        left = min(memory.own[-SAMPLES:]) - max(quiet.own)

    assert [text for one in (*feeding.with_files, *feeding.without) for text in one.complaints] == []
    waits = {
        name: (
            longest([wait for one in feeding.with_files for wait in getattr(one, name)]),
            longest([wait for one in feeding.without for wait in getattr(one, name)]),
        )
        for name in ("pages", "ticks", "gets")
    }
    slowest = max(feeding.seconds, key=feeding.seconds.__getitem__)
    largest = max(feeding.growth, key=feeding.growth.__getitem__)
    keep(
        "hostile files",
        **{name: feeding.counts[name] for name in ("files", "page", "command", "request", "sentences", "taken")},
        ended_the_reader=feeding.counts["ended"],
        wrong=len(feeding.wrong),
        **{f"{name}_slowest_s": round(found, 2) for name, (found, _) in waits.items()},
        **{f"{name}_slowest_without_s": round(found, 2) for name, (_, found) in waits.items()},
        page_opened=sum(len(one.pages) for one in feeding.with_files),
        most_growth_mib=feeding.growth[largest] >> 20,
        most_growth=largest,
        left_mib=left >> 20,
        reader_mib=memory.children >> 20,
        slowest=slowest,
        slowest_s=round(feeding.seconds[slowest], 1),
    )
    assert feeding.wrong == []
    assert {name: pair for name, pair in waits.items() if pair[0] > pair[1] + MAX_LONGER} == {}
    assert feeding.growth[largest] < MAX_GROWTH, largest
    assert left < MAX_LEFT
    assert lived.server.poll() is None
    assert lived.step() > step
    assert "Traceback" not in (lived.folder / "server.log").read_text()
    after = tree(lived)
    new = {name.split("/")[1] for name in after.keys() - before.keys() if name.startswith("networks/")}
    assert {name: state for name, state in after.items() if name.partition("/")[0] != "networks"} == {
        name: state for name, state in before.items() if name.partition("/")[0] != "networks"
    }
    assert len(new) <= feeding.counts["taken"]


@pytest.mark.parametrize("victim", ["the process of the file", "the process that forks"])
def test_a_reader_that_is_killed_is_one_sentence(lived: Lived, victim: str) -> None:
    killed: list[int] = []
    ended = threading.Event()

    def kill() -> None:
        own = psutil.Process(lived.server.pid)
        while not killed and not ended.wait(0.005):
            for reader in own.children():
                # One that has worked for a while has the file.
                busy = [fork for fork in reader.children() if fork.cpu_times().user > BUSY]
                if busy and "core.reader.serve" in reader.cmdline():
                    chosen = busy[0] if victim == "the process of the file" else reader
                    killed.append(chosen.pid)
                    chosen.send_signal(signal.SIGKILL)
                    return

    thread = threading.Thread(target=kill)
    thread.start()
    file = next(file for file in lived.files if (file.kind, file.name) == ("texts", "1,200,000 keys"))
    answer = lived.doors.enter("page", file.kind, file.make())
    ended.set()
    thread.join()
    assert killed
    assert answer.faults == []
    (sentence,) = answer.said
    # Where no process is there to fork, the file is read once more by another one.
    assert (ENDED.search(sentence) is not None) == (victim == "the process of the file"), sentence
    assert lived.doors.enter("page", "images", lived.sound["images"]) == Answer()
