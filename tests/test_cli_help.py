"""The command line before it does anything: help, versions, ids that are not there, and what a file asks for."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from core import VERSION
from core.__main__ import COMMANDS, main, parser
from core.lab import Lab
from core.settings import Settings
from tests.conftest import BOTH, compared, short
from tests.docs.source import ROOT

ANY_COMMAND = "import sys; sys.argv[1:] = {words}; from core.__main__ import main; main()"


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["compere"], []])
def test_help_and_a_mistyped_command_wait_for_no_library(words: list[str]) -> None:
    told = "import atexit, sys; atexit.register(lambda: print({'torch', 'pandas', 'numpy'} & {*sys.modules}));"
    done = subprocess.run(
        [sys.executable, "-c", told + ANY_COMMAND.format(words=words)], capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "set()", done.stderr
    assert any(word in done.stdout + done.stderr for word in (VERSION, "compare", "command"))


def test_the_version_is_that_of_the_project() -> None:
    assert f'version = "{VERSION}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_alone_has_the_options_that_it_has_among_all(command: str) -> None:
    alone, among = ({*_of(parser(name), command)} for name in (command, None))
    assert alone == among > {"-h"}


def _of(everything: object, command: str) -> dict[str, object]:
    (commands,) = [action for action in everything._actions if isinstance(action.choices, dict)]  # type: ignore[attr-defined]
    return commands.choices[command]._option_string_actions | {
        action.dest: action for action in commands.choices[command]._actions
    }


def test_every_option_of_a_comparison_is_in_a_group_with_a_title() -> None:
    (commands,) = [action for action in parser("compare")._actions if isinstance(action.choices, dict)]
    found = {group.title: group._group_actions for group in commands.choices["compare"]._action_groups}
    assert [action.dest for action in found.pop("options")] == ["help"]
    assert not found.pop("positional arguments")
    assert len(found) > 3
    assert all(3 <= len(options) <= 20 for options in found.values())


def test_experiments_are_listed_and_an_unknown_id_names_the_latest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(tmp_path)]
    assert main(["list", *home]) == 0
    assert "No experiment" in capsys.readouterr().out
    with closing(Lab(Settings(tmp_path))) as lab:
        ids = [compared(lab, "rotation-45", "digits", None, short(), BOTH, [seed]).id for seed in range(6)]
    assert main(["list", *home, "--last", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[0] for line in lines] == ids[:1:-1]
    assert all(line.endswith("2 queued") for line in lines)
    assert main(["list", *home, "--json"]) == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == ids[::-1]
    assert main(["report", "e-00000000", str(tmp_path / "x.html"), *home]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: There is no experiment 'e-00000000'.")
    assert [id for id in ids if id in told] == ids[1:]


CHAT = '{"messages": [{"role": "user", "content": "a %s"}, {"role": "assistant", "content": "b"}]}\n'


def test_a_file_of_conversations_names_the_objective_that_learns_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "chat.jsonl").write_text("".join(CHAT % number for number in range(20)))
    asked = ["compare", "--network", "minilm", "--data", str(tmp_path / "chat.jsonl"), "--home", str(tmp_path)]
    assert main(asked) == 1
    assert capsys.readouterr().err.rstrip().endswith("add --objective language.")


def test_rows_that_cannot_be_used_are_left_out_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"a ticket {number},{('mail', 'web')[number % 2] if number else ''}" for number in range(40)]
    (tmp_path / "tickets.csv").write_text("\n".join(["body,queue", *rows]))
    config = tmp_path / "asked.json"
    asked = ["compare", "--data", str(tmp_path / "tickets.csv"), "--home", str(tmp_path), "--save-config", str(config)]
    assert main([*asked, "--network", "nowhere"]) == 1
    told = capsys.readouterr().err
    assert "Row 2 has a text but no label" in told
    assert told.rstrip().endswith("--leave-out leaves out this row.")
    assert main([*asked, "--network", "nowhere", "--leave-out"]) == 1  # which gets as far as the network
    told = capsys.readouterr().err
    assert told.startswith("tickets.csv: 39 texts from 'body' in 2 classes from 'queue': ")
    assert "Left out: 1 row.\n  Row 2 has a text but no label" in told


def test_all_rows_that_are_left_out_are_counted_and_the_first_ones_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [(f"a ticket {number}" * (number > 2), ("mail", "web")[number % 2] * (number > 9)) for number in range(40)]
    (tmp_path / "tickets.csv").write_text("\n".join(["body,queue", *map(",".join, cells)]))
    asked = ["compare", "--data", str(tmp_path / "tickets.csv"), "--home", str(tmp_path), "--network", "nowhere"]
    assert main([*asked, "--leave-out"]) == 1  # which gets as far as the network
    _, left, *lines = capsys.readouterr().err.splitlines()
    assert left == "Left out: 10 rows, 3 of them without a text."
    assert [line.split(" has ")[0] for line in lines[:6]] == [f"  Row {n}" for n in range(5, 10)] + ["  … and 2 more"]


def test_where_the_label_is_not_clear_the_option_that_names_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"a ticket {number},{('mail', 'web')[number % 2]},{'abc'[number % 3]}" for number in range(60)]
    (tmp_path / "tickets.csv").write_text("\n".join(["body,ch.,queue", *rows]))
    asked = ["compare", "--data", str(tmp_path / "tickets.csv"), "--home", str(tmp_path), "--network", "nowhere"]
    assert main(asked) == 1
    told = capsys.readouterr().err.strip()
    assert told.startswith("error: Each of the columns 'ch.', 'queue' could be the label: choose one of them.")
    assert told.endswith("Name it with --label COLUMN.")
    assert main([*asked, "--label", "queue"]) == 1
    assert "could be the label" not in capsys.readouterr().err, "it was chosen"
