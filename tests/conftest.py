"""Shared by all tests: small machines' manners, a lab in a temporary home, a Chromium, full-size data where it is."""

from __future__ import annotations

import os
import pickle
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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

from core.data.task_spec import TaskSpec
from core.engine.configuration import preset_configuration
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.run_spec import OptimSpec
from core.settings import Settings
from core.store.record import Experiment, Run
from tests.browser.chromium import launched

if TYPE_CHECKING:
    from tests.text_home import TextHome

HANG = 240.0
"""Seconds after which something that is waited for never comes; however busy a machine is, it comes sooner."""

os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)
# How long an example takes says more of a busy machine than of what is tested.
hypothesis_settings.register_profile("patient", deadline=None)
hypothesis_settings.load_profile("patient")


TESTS = Path(__file__).parent
SLOW = (
    *("adapter/test_blend.py", "methods/test_roles.py", "pages/test_tryit.py"),
    *("adapter/test_transformers.py", "networks/test_pretrained.py", "networks/test_onnx_file.py", "test_cli_jobs.py"),
    *("bad_files", "data/test_upload.py", "data/test_bad_texts.py", "data/test_texts.py"),
    *("study/test_claims.py", "study/test_compare.py", "study/test_report.py", "study/test_verdict.py"),
    *("adapter/test_peft.py", "data/test_tasks.py", "serving/test_mixed.py", "serving/test_served_texts.py"),
    *("study/test_example.py", "test_memory.py", "serving/test_parser.py"),
    *("training/test_bank.py", "training/test_checkpoint.py", "networks/test_transformers_library.py"),
    *("study/test_false_alarms.py", "test_cli_networks.py"),
    *("training/test_proof.py", "training/test_modes.py", "training/test_peft_parity.py", "training/test_frozen.py"),
    *("training/test_side_by_side.py", "training/test_vocabulary.py"),
    *("methods/test_architectures.py", "methods/test_new_method.py"),
    *("methods/test_rescaled.py", "methods/test_rescaled_pages.py", "methods/test_rescaled_texts.py"),
    *("objectives/test_regression.py", "pages/test_objective_form.py"),
    *("study/test_counting.py", "test_network_file.py", "data/test_new_source.py", "networks/test_new_family.py"),
    *("networks/library", "networks/test_tokenizer_form.py", "pages/test_networks.py"),
    *(
        "browser",
        "engine",
        "reader",
        "soak",
        "store",
        "test_cli.py",
        "test_cli_config.py",
        "test_cli_grow.py",
        "test_cli_missing.py",
        "test_cli_progress.py",
        "test_forked.py",
    ),
    *("test_cli_signals.py", "test_umask.py"),
    *("test_full_size.py", "test_lab.py"),
    *(
        "pages/test_data.py",
        "pages/test_data_texts.py",
        "pages/test_pages.py",
        "pages/test_report_page.py",
        "pages/test_restore_offer.py",
    ),
    *("pages/test_experiment_actions.py", "pages/test_one_verdict.py", "pages/test_current_experiment.py"),
    *("pages/test_changing_pages.py",),
    *("pages/test_estimated_cost.py", "pages/test_learn.py", "pages/test_text_pages.py", "study/test_text_results.py"),
    *("pages/test_runs_page.py", "pages/test_sweep_page.py", "pages/test_weights_page.py"),
    *("pages/test_other_measures.py", "pages/test_weights_transformer.py"),
    *("training/test_threads.py", "web/test_predict.py"),
    *("pages/test_cluster.py", "pages/test_home_example.py", "pages/test_open_file.py", "pages/test_serve.py"),
    *("pages/test_text_forms.py", "pages/test_trackers.py", "tracking"),
    *("study/test_language_models.py", "study/test_predicted.py", "study/test_reproduce.py"),
    *("same_numbers/test_same_commands.py", "same_numbers/test_same_pages.py"),
    "training/test_random_numbers.py",
    *("web/test_connections.py", "web/test_every_door.py", "web/test_login.py", "web/test_start.py"),
    "web/test_token.py",
)
"""Modules and folders that `make check` leaves out: over 5 s of CPU time, or waiting for processes or the clock."""


FIRST = (
    *("browser/test_accessibility.py", "browser/test_journey.py", "browser/test_first_press.py"),
    *("engine/test_ray.py", "networks/test_new_family.py", "methods/test_rescaled.py", "objectives/test_regression.py"),
    *("methods/test_rescaled_pages.py", "engine/test_watchdog.py", "pages/test_pages.py", "soak", "bad_files"),
    *("training/test_peft_parity.py", "test_cli.py", "pages/test_runs_page.py", "browser", "store/test_restore.py"),
    *("networks/library/test_packages.py", "engine", "pages", "test_cli_grow.py", "test_lab.py", "networks/library"),
    *("same_numbers/test_same_pages.py", "same_numbers/test_same_commands.py"),
)
"""Modules and folders that take longest, in the order in which they begin, so that none is left over at the end."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put first what takes longest, and mark what is slow; leave out, and say so, what needs MNIST at full size if
    LORA_LAB_DATA does not name it, and what takes minutes if this is no run of `make soak`.
    """
    items.sort(key=lambda item: _place(item.path, FIRST))
    for item in items:
        if _place(item.path, SLOW) < len(SLOW):
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


@cache
def _place(module: Path, names: Sequence[str]) -> int:
    """Index of the first name that is this module or a folder around it; the number of names if there is none."""
    return next((n for n, name in enumerate(names) if module.is_relative_to(TESTS / name)), len(names))


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
    """Let Streamlit search the installed packages for components once, and not for every ``AppTest``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
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
def settings(tmp_path: Path) -> Settings:
    """Settings of a lab with nothing in it yet."""
    return Settings(home=tmp_path / "home", max_waiting=40)


@pytest.fixture
def lab(settings: Settings) -> Iterator[Lab]:
    """A lab that trains."""
    lab = Lab(settings)
    lab.start()
    yield lab
    lab.close()


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
def filled_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with a finished experiment, for all tests that begin with a copy of it."""

    def make(folder: Path) -> None:
        lab = Lab(Settings(home=folder / "home"))
        lab.start()
        experiment = compared(lab, "rotation-45", "digits", None, short(rate=0.001), BOTH, seeds=range(2))
        finish(lab, experiment.base, *experiment.runs)
        wait_until(lambda: all(copied(lab, run.id) for run in lab.runs()))
        lab.close()

    return made_once(tmp_path_factory, "filled", make) / "home"


@pytest.fixture(scope="session")
def text_home(tmp_path_factory: pytest.TempPathFactory) -> TextHome:
    """A tiny transformer and its experiments on texts, for all tests that only read them."""
    from tests.text_home import make_text_home

    def make(folder: Path) -> None:
        made = make_text_home(folder / "home", folder / "network")
        (folder / "made.pickle").write_bytes(pickle.dumps(made))

    folder = made_once(tmp_path_factory, "texts", make)
    made: TextHome = pickle.loads((folder / "made.pickle").read_bytes())
    return replace(made, home=folder / "home")


def wait_until(condition: Callable[[], bool], seconds: float = HANG) -> None:
    """Wait for something to become true, or fail."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} seconds")
        time.sleep(0.02)


def compared(lab: Lab, *asked: Any, **more: Any) -> Experiment:
    """Queue a base and an experiment on it; see :func:`core.engine.configuration.preset_configuration`."""
    return lab.compare(preset_configuration(lab.catalog, *asked, **more))


def finish(lab: Lab, *ids: str) -> list[Run]:
    """The runs, once all have ended."""
    wait_until(lambda: not any(lab.run(id).is_live for id in ids))
    return [lab.run(id) for id in ids]


def copied(lab: Lab, id: str) -> bool:
    """Whether the folder of a run knows all that the store knows of it."""
    return bool(lab.store.rows("SELECT 1 FROM runs WHERE id = ? AND copied = changes", id))


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
BOTH = [(short(rate=0.001), FullSpec()), (short(), LoRASpec.of())]
