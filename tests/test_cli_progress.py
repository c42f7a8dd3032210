"""Progress of commands: a bar in a terminal, and few lines in a pipe or a file."""

from __future__ import annotations

import os
import pty
import re
import sys
import termios

import pytest

from core.cli.progress import ProgressBar


def test_a_pipe_gets_a_line_at_the_beginning_one_per_minute_and_one_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 1000.0
    with ProgressBar("waiting", "run", 160, clock=lambda: now) as shown:
        for tenth in range(3 * 600):  # three minutes of a look every 0.1 s
            now = 1000 + tenth / 10
            shown.show(tenth / 100, f"LoRA r=8, seed {tenth % 7}")
        shown.show(18, "done")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "0 of 160 runs, 0.00 s: LoRA r=8, seed 0",
        "6 of 160 runs, 1 min 0 s: LoRA r=8, seed 5",
        "12 of 160 runs, 2 min 0 s: LoRA r=8, seed 3",
        "18 of 160 runs, 3 min 0 s: done",
    ]


def test_what_nothing_was_shown_of_and_what_has_not_changed_are_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("waiting", "run", 3):
        pass
    assert capsys.readouterr().err == ""
    with ProgressBar("https://example.org", "%", 100, clock=lambda: 1000.0) as shown:
        shown.share(0.5)
    assert capsys.readouterr().err == "50 %, 0.00 s: https://example.org\n"


def test_a_step_is_one_of_as_many_as_have_been_found_so_far(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("job 1 of 2", "step", interval=0, clock=lambda: 1000.0) as shown:
        shown.show(0, total=1)
        shown.show(0, total=1200)
        shown.show(1000)
    assert capsys.readouterr().err.splitlines() == [
        "0 of 1 step, 0.00 s: job 1 of 2",
        "0 of 1,200 steps, 0.00 s: job 1 of 2",
        "1,000 of 1,200 steps, 0.00 s: job 1 of 2",
    ]


def test_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    with os.fdopen(ours, "rb", buffering=0) as reader, open(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with ProgressBar("waiting", "run", 2) as shown:
            shown.show(0.5, "LoRA r=8, seed 3")
            shown.show(2, "done")
        terminal.flush()
        drawn = ""
        while "2.0/2" not in drawn:
            drawn += reader.read(2**16).decode()
    assert "\r" in drawn
    assert "LoRA r=8, seed 3" in drawn
    assert re.search(r"done .* 2\.0/2 ", drawn)
