"""Shared by all tests: small machines' manners, a lab in a temporary home, a Chromium, full-size data where it is."""

from __future__ import annotations

import gc
import os
import pickle
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from _pytest.mark import ParameterSet
from filelock import FileLock
from hypothesis import settings as hypothesis_settings
from playwright.sync_api import Browser, sync_playwright
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import local_script_runner

from core import priority
from core.artifacts.recipe import weights_digest
from core.data.sources.built_in import Digits
from core.data.task_spec import TaskSpec
from core.forecast import calibration
from core.forecast.calibration import Calibration
from core.lab import Lab, close_lab, open_lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.plan.configuration import preset_configuration
from core.reader import reading_here
from core.run_spec import OptimSpec, RunSpec
from core.settings import Settings
from core.store.record import Experiment, Run
from core.training import loop, threads
from tests.browser.chromium import launched
from tests.durations import SLOW_SECONDS, seconds_by_module, seconds_of
from tests.launching import compare
from tests.soak.sizes import full_or_short

if TYPE_CHECKING:
    from tests.trained_home import TrainedHome

HANG = 240.0
"""Seconds after which something that is waited for never comes; however busy a machine is, it comes sooner."""

KNOWN = seconds_by_module()
"""How long modules take, read once."""

os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)
# How long an example takes says more of a busy machine than of what is tested.
hypothesis_settings.register_profile("patient", deadline=None, max_examples=full_or_short(100, 20))
hypothesis_settings.load_profile("patient")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no slow module where slow tests are left out: to collect all takes as long as many quick tests."""
    return True if "not slow" in config.option.markexpr and _is_slow(collection_path) else None


def _is_slow(module: Path) -> bool:
    return seconds_of(module, KNOWN) > SLOW_SECONDS


MEANWHILE = 6
"""Number of modules that other processes begin with while one makes the trained home."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put first the modules that take longest, so that none is left over at the end, and mark those that are slow.

    One process makes the trained home, for which the others need not wait: of the modules that begin with it one comes
    first, and the rest after some that do not.

    Leave out, and say so, what needs MNIST at full size if LORA_LAB_DATA does not name it, and what takes minutes if
    this is no run of `make soak`.
    """
    for item in items:
        if _is_slow(item.path):
            item.add_marker(pytest.mark.slow)
    wanted = {"full_size": os.environ.get("LORA_LAB_DATA"), "minutes": os.environ.get("LORA_LAB_SOAK") == "full"}
    counts: dict[str, int] = {}
    for mark in (mark for mark, is_wanted in wanted.items() if not is_wanted):
        left_out = [item for item in items if item.get_closest_marker(mark)]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in left_out]
            counts[mark] = len(left_out)
    config.stash[LEFT_OUT] = counts
    waits = {item.path: False for item in sorted(items, key=lambda item: -seconds_of(item.path, KNOWN))}
    waits |= {item.path: True for item in items if "trained_home" in getattr(item, "fixturenames", ())}
    order = [path for path in waits if waits[path]][:1] + [path for path in waits if not waits[path]][:MEANWHILE]
    rank = {path: number for number, path in enumerate(dict.fromkeys([*order, *waits]))}
    items.sort(key=lambda item: rank[item.path])


def pytest_collection_finish() -> None:
    """Leave what was imported and collected out of every search for cycles: it is there to the end."""
    gc.collect()
    gc.freeze()


LEFT_OUT = pytest.StashKey[dict[str, int]]()
REASONS = {
    "full_size": "set LORA_LAB_DATA to a folder with MNIST to run them.",
    "minutes": "they take minutes, and `make soak` runs them.",
}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name what was left out, so that nobody takes its silence for success."""
    for mark, count in config.stash.get(LEFT_OUT, {}).items():
        terminalreporter.write_line(f"{count} tests marked {mark} were left out: {REASONS[mark]}")


@pytest.fixture(scope="session", autouse=True)
def scanned_once() -> Iterator[None]:
    """Let Streamlit search the installed packages for components once, and not for every ``AppTest``; and let this one
    wait for a page's script without looking every millisecond, for which it stops the script each time.
    """

    def joined(runner: local_script_runner.LocalScriptRunner, timeout: float) -> None:
        assert runner._script_thread
        runner._script_thread.join(timeout)
        look(runner, 0.1)

    look = local_script_runner.require_widgets_deltas
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
        patch.setattr(local_script_runner, "require_widgets_deltas", joined)
        yield


@pytest.fixture(scope="session", autouse=True)
def unflushed() -> Iterator[None]:
    """Files of this process survive the end of any process, as all do, and no loss of power, which no test has: to wait
    for the disk takes a tenth of the time of tests that train.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser of the whole session."""
    with sync_playwright() as playwright:
        try:
            browser = launched(playwright)
        except FileNotFoundError as error:
            pytest.fail(str(error), pytrace=False)
        yield browser
        browser.close()


@pytest.fixture
def read_here() -> Iterator[None]:
    """This thread reads files itself, in a tenth of the time: for tests of what is read, and not of who reads it."""
    with reading_here():
        yield


@pytest.fixture(scope="session", autouse=True)
def known_at_once() -> Iterator[None]:
    """What a lab measures of this machine before it trains, and reads from its packages, takes a process no time: a
    calibration would train for a second beside the tests, one thread is as good as two, and digits are as they were.
    Threads take turns as seldom as Python has them, where most wait for one that trains.
    """
    loaded = cache(Digits(Settings(Path())).load)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "calibrate", lambda *_: Calibration(step=0.01, image=0.0, steady=True))
        patch.setattr(threads, "WORTH_A_TRIAL", float("inf"))
        patch.setattr(Digits, "load", lambda self, name: loaded(name))
        patch.setattr(priority, "SWITCH", sys.getswitchinterval())
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a lab with nothing in it yet."""
    return Settings(home=tmp_path / "home", max_waiting=40)


@contextmanager
def training_lab(settings: Settings) -> Iterator[Lab]:
    """A lab that trains, to the end of the block."""
    with closing(Lab(settings)) as lab:
        lab.start()
        yield lab


@pytest.fixture
def lab(settings: Settings) -> Iterator[Lab]:
    """A lab that trains."""
    with training_lab(settings) as lab:
        yield lab


@pytest.fixture
def current_lab(settings: Settings) -> Iterator[Lab]:
    """A lab that trains and is that of this process, which pages and routes find."""
    lab = open_lab(settings)
    assert lab.settings == settings, "The module has a lab open for all its tests: those that write come first."
    yield lab
    close_lab()


@pytest.fixture
def idle(settings: Settings) -> Iterator[Lab]:
    """A lab that does not train: what it queues stays queued."""
    with closing(Lab(settings)) as lab:
        yield lab


Opener = Callable[[], Lab]


@pytest.fixture
def opened(settings: Settings) -> Iterator[Opener]:
    """A function that opens a lab on one home folder; all are closed at the end of the test."""
    with ExitStack() as labs:
        yield lambda: labs.enter_context(training_lab(settings))


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """This process's copy of a folder that one process of the run makes for all of them.

    Args:
        factory: of temporary folders.
        name: of the folder.
        make: fills the folder, which is there.
    """
    base = factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with FileLock(common / f"{name}.lock"):
        if not (common / name).exists():
            begun = factory.mktemp(name)
            make(begun)
            begun.rename(common / name)
    return Path(shutil.copytree(common / name, factory.mktemp(f"{name}-copy") / name))


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory: pytest.TempPathFactory) -> TrainedHome:
    """A home folder with trained experiments, for tests that only read it or take a copy."""
    from tests.trained_home import make_trained_home

    def make(folder: Path) -> None:
        (folder / "made.pickle").write_bytes(pickle.dumps(make_trained_home(folder)))

    folder = made_once(tmp_path_factory, "trained", make)
    made: TrainedHome = pickle.loads((folder / "made.pickle").read_bytes())
    return replace(made, home=folder / "home")


@pytest.fixture(scope="session")
def filled_home(trained_home: TrainedHome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with the experiment ``plain`` of the trained home and its base, and nothing else."""
    with closing(Lab(Settings(tmp_path_factory.mktemp("filled") / "home"))) as lab:
        trained_home.bring(lab, str(trained_home.plain.base), *trained_home.plain.runs)
    return lab.settings.home


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Experiment]]:
    """A lab with an experiment that was searched from its start to its end; read it, or take a copy of its home."""
    from tests.searched_home import search

    with closing(Lab(Settings(made_once(tmp_path_factory, "searched", search) / "home", threads=1))) as lab:
        yield lab, lab.store.experiments()[0]


@pytest.fixture(scope="session")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Experiment]]:
    """A lab with a study that was trained to its end; read it, or take a copy of its home."""
    from tests.studied_home import make_study

    with closing(Lab(Settings(made_once(tmp_path_factory, "studied", make_study) / "home", threads=1))) as lab:
        yield lab, lab.store.experiments()[0]


def wait_until(condition: Callable[[], bool], seconds: float = HANG) -> None:
    """Wait for something to become true, or fail; to ask takes a fifth of the time at most."""
    deadline = time.monotonic() + seconds
    while True:
        asked = time.monotonic()
        if condition():
            return
        if (now := time.monotonic()) > deadline:
            raise AssertionError(f"not within {seconds} seconds")
        time.sleep(max(0.02, 4 * (now - asked)))


@contextmanager
def braked() -> Iterator[None]:
    """Training in this process takes one step at a time and pauses after each, so that what has begun is not over
    before it is stopped, however fast the machine is.
    """

    def one(pace: float) -> int:
        time.sleep(0.005)
        return 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "steps_at_once", one)
        yield


def compared(lab: Lab, *asked: Any, **more: Any) -> Experiment:
    """Queue a base and an experiment on it; see :func:`core.plan.configuration.preset_configuration`."""
    return compare(lab, preset_configuration(lab.catalog, *asked, **more))


def finish(lab: Lab, *ids: str) -> list[Run]:
    """The runs, once all have ended."""
    wait_until(lambda: not any(lab.store.run(id).is_live for id in ids))
    return [lab.store.run(id) for id in ids]


def sentence_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The error that a command printed, and nothing else: one line."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


def weights_of(lab: Lab, run: Run) -> str | None:
    """SHA-256 of a run's trained weights."""
    return weights_digest(lab.settings.runs / run.id, lab.store.files(run.id))


def short(epochs: int = 1, rate: float = 0.005, **changes: object) -> OptimSpec:
    """Training that ends soon."""
    return OptimSpec.of(**{"epochs": epochs, "learning_rate": rate, "batch_size": 64, **changes})


def some_of(cases: Iterable[tuple[object, ...]], is_short: Callable[..., bool]) -> list[ParameterSet]:
    """Parameters of a test, of which the whole suite runs some and ``make soak`` all.

    Args:
        cases: tuples of arguments.
        is_short: whether the whole suite runs the case of these arguments.
    """
    return [pytest.param(*case, marks=[] if is_short(*case) else pytest.mark.minutes) for case in cases]


DIGITS = TaskSpec.of(dataset="digits")
TURNED = TaskSpec.of(dataset="digits", rotation=45.0)
PRETRAIN = RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001))
BOTH = [(short(rate=0.001), FullSpec()), (short(), LoRASpec.of())]
