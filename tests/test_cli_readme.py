"""Every command that README.md and docs/ print is run as it is printed, with the ids of a trained home filled in."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.__main__ import main
from core.engine.jobs.run_files import ADAPTER
from core.lab import Lab
from core.methods.method import Role
from core.settings import Settings
from core.store.record import Run
from tests.docs.source import ROOT
from tests.trained_home import TrainedHome

FILES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = list(
    dict.fromkeys(
        command
        for file in FILES
        for command in re.findall(r"^python -m core (.+?)(?: +#.*)?$", file.read_text(encoding="utf-8"), re.MULTILINE)
    )
)
ELSEWHERE = ("serve",)
"""Commands that are not run one by one: tests/web/test_predict.py asks the first, the others follow ``jobs``."""


@dataclass(frozen=True)
class Site:
    """A copy of the trained home, and a folder with the files that commands name, which is the current one."""

    home: Path
    folder: Path
    trained: TrainedHome
    adapter: Run
    """Of the transformer, so that several kinds of zip files can be made of it."""
    small: Run
    """An adapter of a perceptron, which is soon exported to ONNX."""

    def filled(self, command: str) -> list[str]:
        """The arguments with what stands for ids, columns and addresses filled in."""
        is_costly = command.startswith("track") or "--rates" in command
        words = {
            "EXPERIMENT": (self.trained.one_seed if is_costly else self.trained.plain).id,
            "RUN": (self.small if command.endswith(".onnx") else self.adapter).id,
            "HOME": str(self.home),
            "/path/to": str(self.folder),
            "r-…": self.trained.plain.runs[0],
        }
        text = re.sub("|".join(map(re.escape, words)), lambda found: words[found[0]], command)
        for column in ("text", "label"):
            text = text.replace(f"--{column} COLUMN", f"--{column} {column}")
        return shlex.split(text)


@pytest.fixture(scope="module")
def site(trained_home: TrainedHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One home for all commands, which follow each other as a reader types them."""
    folder, home = tmp_path_factory.mktemp("work"), trained_home.copy(tmp_path_factory.mktemp("copy") / "home")
    with closing(Lab(Settings(home))) as lab:
        big = next(run for run in lab.store.members(trained_home.direct) if run.spec.role is Role.ADAPTER)
        small = next(run for run in lab.store.members(trained_home.plain) if run.spec.role is Role.ADAPTER)
        shutil.copy(lab.artifacts.path(small.id, ADAPTER), folder / "ADAPTER.zip")
        shutil.copy(lab.artifacts.base(small), folder / "BASE.safetensors")
        first = trained_home.plain.runs[0]
        (folder / f"{first}.json").write_text(lab.recipe(first).to_json())
        lines = [f"a text about {name} number {number},{name}" for number in range(20) for name in ("cats", "dogs")]
        (folder / "FILE.csv").write_text("\n".join(["text,label", *lines]))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LORA_LAB_HOME", str(home))
        patch.setattr("core.forecast.step_time.SECONDS", 0.0)
        patch.setattr("core.forecast.step_time.ROUNDS", 3)
        yield Site(home, folder, trained_home, big, small)


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 20
    assert {command.split()[0] for command in COMMANDS} >= {*ELSEWHERE}


@pytest.mark.usefixtures("read_here")
@pytest.mark.parametrize("command", [each for each in COMMANDS if each.split()[0] not in ELSEWHERE])
def test_a_command_runs_as_it_is_printed(site: Site, command: str) -> None:
    arguments = site.filled(command)
    if "--config" in arguments:  # an experiment that is there already, so that nothing is trained
        assert main(["compare", "--source", "digits", "--epochs", "1", "--save-config", "FILE.json"]) == 0
    if arguments[0] == "compare" and not {"--save-config", "--config"} & {*arguments}:
        arguments = planned(arguments)
    assert main(arguments) == 0
    for name in arguments[1:]:
        if Path(name).suffix in (".html", ".onnx", ".zip"):
            assert Path(name).stat().st_size


def planned(arguments: list[str]) -> list[str]:
    """A command that checks and writes what a ``compare`` would train; tests/test_cli.py trains it, in small."""
    if "--report" in arguments:
        place = arguments.index("--report")
        arguments = arguments[:place] + arguments[place + 2 :]
    return [*(word for word in arguments if word != "--json"), "--save-config", "planned.json"]
