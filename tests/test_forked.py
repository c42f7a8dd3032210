"""A process that was forked is one of its own: with arguments, environment, streams and a status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests import forked

HAS_TORCH = "import os, sys; print('torch' in sys.modules, os.environ.get('LORA_LAB_X'), os.environ.get('OTHER'))"


def test_it_has_arguments_streams_and_a_status() -> None:
    code = "import sys; print(sys.argv, __name__); print('bad', file=sys.stderr); sys.exit(3)"
    done = forked.run(["-c", code, "a b"])
    assert (done.returncode, done.stdout, done.stderr) == (3, "['-c', 'a b'] __main__\n", "bad\n")
    assert forked.run(["-m", "core", "--help"]).stdout.startswith("usage: python -m core ")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every process is started anew")
def test_it_is_forked_unless_its_environment_might_change_what_imports_do() -> None:
    for variables, expected in (
        ({}, "True None None"),
        ({"LORA_LAB_X": "1"}, "True 1 None"),
        ({"OTHER": "2"}, "False None 2"),
    ):
        assert forked.run(["-c", HAS_TORCH], env={**os.environ, **variables}).stdout.strip() == expected


def test_it_can_be_written_to_and_killed() -> None:
    ask = "import sys, time; print('ready', flush=True); print(sys.stdin.readline(), flush=True); time.sleep(600)"
    process = forked.start(["-c", ask], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("words\n")
    process.stdin.close()
    assert process.stdout.readline() == "words\n"
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
