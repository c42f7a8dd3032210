"""Runs that are written into files, trained by processes with no common folder, and collected: as if trained here."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core.__main__ import main
from core.engine.job_files import JobFiles
from core.engine.jobs.hashed_zip import HashedZip, indexed, write_file
from core.engine.jobs.job import Job
from core.engine.jobs.job_file import JOBS
from core.engine.jobs.result_file import RESULTS
from core.engine.processes import Process
from core.engine.recorder import Recorder
from core.errors import JobFileError
from core.lab import Lab
from core.methods.dora import DoRASpec
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.settings import Settings
from core.store.checkpoints import step_of
from core.store.record import Experiment, Run
from tests import forked
from tests.bad_files.networks import stored
from tests.conftest import BOTH, HANG, braked, compared, finish, short, training_lab, wait_until, weights_of
from tests.data.uploaded import entries_of, zipped
from tests.text_home import PETS, import_tiny

ARMS = [*BOTH, (short(), DoRASpec.of(rank=2))]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture(scope="module")
def based(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with a base."""
    home = tmp_path_factory.mktemp("based") / "home"
    with training_lab(Settings(home=home, threads=1)) as lab:
        finish(lab, compared(lab, "rotation-45", "digits", None, short(), BOTH[:1], [0]).base)
    return home


@pytest.fixture
def idle(based: Path, home: Path) -> Iterator[Lab]:
    """A lab that trains nothing, with a base."""
    with closing(Lab(Settings(home=Path(shutil.copytree(based, home)), threads=1))) as lab:
        yield lab


def trained_elsewhere(files: list[Path], folder: Path) -> list[Path]:
    """Have each file trained by a process of its own, in an empty folder of its own, all at once."""
    processes = []
    for number, file in enumerate(files):
        own = folder / str(number)
        own.mkdir(parents=True)
        (own / file.name).write_bytes(file.read_bytes())
        processes.append(forked.start(["-m", "core", "job", file.name], cwd=own, env=environment(own)))
    assert [process.wait(240) for process in processes] == [0] * len(files)
    return sorted(folder.glob("*/*.results.zip"))


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "LORA_LAB_HOME": str(folder / "not here"), "OMP_NUM_THREADS": "1", "LORA_LAB_DATA": ""}


def sent(home: Path, experiment: Experiment, out: Path, *options: str) -> list[Path]:
    """Write the runs of an experiment into files of jobs; return these."""
    assert main(["jobs", experiment.id, *options, "--out", str(out), "--home", str(home)]) == 0
    return sorted(out.glob("*.jobs.zip"))


def collect(home: Path, *results: Path) -> int:
    """The exit status of the command."""
    return main(["collect", *map(str, results), "--home", str(home)])


def test_three_jobs_elsewhere_are_collected_as_if_trained_here(idle: Lab, home: Path, tmp_path: Path) -> None:
    experiment = compared(idle, "rotation-45", "digits", None, short(), ARMS, range(2))
    files = sent(home, experiment, tmp_path / "out", "--split", "3")
    assert len(files) == 3
    assert {run.state for run in idle.members(experiment)} == {"interrupted"}
    assert all("file of jobs" in str(run.cause) for run in idle.members(experiment))

    results = trained_elsewhere(files, tmp_path / "elsewhere")
    assert not list((tmp_path / "elsewhere").rglob("lab.sqlite3"))
    assert collect(home, *results) == 0
    runs = idle.members(experiment)
    assert [run.state for run in runs] == ["finished"] * 6, [run.cause for run in runs]
    for run in runs:
        assert idle.curve(run.id).step.tolist() == list(range(1, run.steps + 1))
        assert len(idle.curve(run.id).epochs) == run.spec.optim.epochs
    assert all(idle.artifacts.verify(run.id).certified for run in runs if run.spec.role == "adapter")

    with training_lab(Settings(home=tmp_path / "here", threads=1)) as here:
        again = finish(here, *compared(here, "rotation-45", "digits", None, short(), ARMS, range(2)).runs)
        for there, own in zip(runs, again, strict=True):
            assert own.result is not None
            assert there.result is not None
            assert own.result.bank == there.result.bank
            assert weights_of(idle, there) == weights_of(here, own)
    assert collect(home, results[0]) == 0  # a second time changes nothing
    assert idle.members(experiment) == runs


@pytest.mark.minutes  # test_executor.py has them travel with a job, and this file images in a file
def test_texts_and_a_brought_network_travel_in_the_file(idle: Lab, home: Path, tmp_path: Path) -> None:
    network = import_tiny(idle, tmp_path / "tiny")
    experiment = idle.fine_tune(network, PETS, [(short(batch_size=16), LoRASpec.of(rank=2))], [0])
    assert collect(home, *trained_elsewhere(sent(home, experiment, tmp_path / "out"), tmp_path / "elsewhere")) == 0
    (run,) = idle.members(experiment)
    assert run.state == "finished"
    assert idle.artifacts.verify(run.id).certified


def test_runs_that_were_interrupted_go_on_elsewhere_from_their_own_checkpoints(home: Path, tmp_path: Path) -> None:
    """Eight runs were interrupted at one step, and one at another, of which a bank of eight would have some of each."""
    settings = Settings(home=home, threads=1, checkpoint_seconds=0.05)
    with braked(), training_lab(settings) as lab:
        experiment = compared(lab, "rotation-45", "digits", None, short(), [(short(epochs=20), FullSpec())], range(9))
        wait_until(lambda: lab.run(experiment.runs[0]).step > 30)
    with braked(), training_lab(settings) as lab:
        lab.stop(experiment.runs[0])  # with the result of its checkpoint
        together, alone = experiment.runs[1], experiment.runs[8]
        wait_until(lambda: lab.store.checkpoint(alone) and lab.run(alone).step > lab.run(together).step + 30)
    with closing(Lab(settings)) as idle:
        interrupted = [run for run in idle.members(experiment) if run.state == "interrupted"]
        kept = {run.id: idle.store.checkpoint(run.id) for run in interrupted}
        steps = {id: step_of(known[0]) for id, known in kept.items() if known}
        assert len(interrupted) == len(steps) == 8
        assert {run.resumed_step for run in interrupted} == {0}
        assert steps[alone] != steps[together]
        assert collect(home, *trained_elsewhere(sent(home, experiment, tmp_path / "out"), tmp_path / "elsewhere")) == 0
        for run in idle.runs_of(list(steps)):
            assert (run.state, run.resumed_step) == ("finished", steps[run.id]), run.cause
            assert idle.curve(run.id).step.tolist() == list(range(1, run.steps + 1))


def test_a_dashboard_leaves_what_is_sent_or_collected_alone(
    idle: Lab, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the moment at which it looks for runs of processes that are gone."""
    dashboard = Process(idle.settings.processes, idle.settings.runs, idle.store, 180)

    def seen_during(owner: type, name: str) -> None:
        method = getattr(owner, name)

        def seen(*args: Any) -> Any:
            dashboard.settle()
            return method(*args)

        monkeypatch.setattr(owner, name, seen)

    experiment = compared(idle, "rotation-45", "digits", None, short(), BOTH[:1], range(2))
    for run in idle.store.claim(idle.members(experiment)):
        idle.store.interrupt(run)
    seen_during(JobFiles, "_jobs")
    results = trained_elsewhere(sent(home, experiment, tmp_path / "out"), tmp_path / "elsewhere")
    seen_during(Recorder, "take")
    assert collect(home, *results) == 0
    assert [run.state for run in idle.members(experiment)] == ["finished"] * 2
    assert list(idle.settings.processes.glob("*.lock")) == []


def test_a_run_that_a_worker_takes_meanwhile_is_not_sent(idle: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = compared(idle, "rotation-45", "digits", None, short(), BOTH[:1], range(3))
    taken: list[Run] = []
    jobs = idle.job_files._jobs

    def slowly(runs: list[Run], starts: dict[str, bytes | None]) -> list[Job]:
        found = jobs(runs, starts)
        taken.extend(taken or idle.store.claim(runs[:1]))  # what a worker does at this moment
        return found

    monkeypatch.setattr(idle.job_files, "_jobs", slowly)
    (entries,) = idle.job_files.send(experiment, 1)
    index = json.loads(dict(entries)[JOBS])
    assert {member["run"] for job in index["jobs"] for member in job["members"]} == {*experiment.runs} - {taken[0].id}
    assert [run.state for run in idle.members(experiment)] == ["running", "interrupted", "interrupted"]


def test_results_of_a_run_that_was_trained_on_here_are_refused(home: Path, tmp_path: Path) -> None:
    settings = Settings(home=home, threads=1, checkpoint_seconds=0.05)
    with braked(), training_lab(settings) as lab:
        experiment = compared(lab, "rotation-45", "digits", None, short(), [(short(epochs=20), FullSpec())], [0])
        finish(lab, experiment.base)
    with closing(Lab(settings)) as idle:
        (result,) = trained_elsewhere(sent(home, experiment, tmp_path / "out"), tmp_path / "elsewhere")
        (id,) = experiment.runs
        begun = idle.store.checkpoint(id)
        with braked(), training_lab(settings) as lab:
            lab.finish([id])
            wait_until(lambda: lab.store.checkpoint(id) not in (None, begun))
            lab.close(HANG)
        idle.store.requeue([id], idle.owner)
        assert idle.run(id).state == "queued"
        assert collect(home, result) == 1
        assert idle.run(id).state == "queued"


def changed(file: Path, name: str, to: bytes) -> Path:
    """A copy of a zip in which one entry is another one."""
    content = stored(*(entries_of(file.read_bytes()) | {name: to}).items())
    path = file.with_name(f"{hashlib.sha256(content).hexdigest()}.zip")
    path.write_bytes(content)
    return path


def test_bad_files_are_a_sentence_and_change_nothing(
    idle: Lab, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = compared(idle, "rotation-45", "digits", None, short(), BOTH[1:], [0])
    assert main(["jobs", "e-none", "--home", str(home)]) == 1
    (file,) = sent(home, experiment, tmp_path)
    assert main(["jobs", experiment.id, "--split", "0", "--home", str(home)]) == 1
    (base,) = (name for name in entries_of(file.read_bytes()) if name.startswith("bases/"))
    capsys.readouterr()
    for bad, said in (
        (changed(file, base, b"other"), "is not what was written"),
        (changed(file, JOBS, b"{}"), "another version"),
        (changed(file, JOBS, b'{"format": 1, "sha256": [1]}'), "another version"),
        (changed(file, JOBS, b"[" * 100_000), "The index of this file of jobs is nested too deeply"),
        (changed(file, JOBS, b"[" + b"[]," * 2_000_000 + b"1]"), "is larger than 2,000,000 values"),
    ):
        assert main(["job", str(bad)]) == 1
        assert said in capsys.readouterr().err
    (tmp_path / "no zip").write_bytes(b"no zip")
    assert main(["job", str(tmp_path / "no zip")]) == 1
    assert main(["job", str(tmp_path / "none")]) == 1

    (result,) = trained_elsewhere([file], tmp_path / "elsewhere")
    before, found = idle.members(experiment), entries_of(result.read_bytes())
    told = found[RESULTS]
    (adapter,) = (name for name in found if name.endswith("adapter.zip"))
    capsys.readouterr()
    for bad, said in (
        (changed(result, adapter, b"other"), "is not what was written"),
        (changed(result, RESULTS, told.replace(b'"seed": 0', b'"seed": 1')), "its settings or its base differ"),
        (changed(result, RESULTS, told.replace(before[0].id.encode(), b"r-00000000")), ""),
        (file, "not a file of results"),
    ):
        assert collect(home, bad) == 1
        assert said in capsys.readouterr().err
    assert idle.members(experiment) == before
    assert collect(home, result) == 0
    assert idle.members(experiment)[0].state == "finished"


def test_what_has_ended_of_a_file_is_there_before_the_rest_and_after_a_signal(
    idle: Lab, home: Path, tmp_path: Path
) -> None:
    long = (short(epochs=200, batch_size=8), LoRASpec.of())
    experiment = compared(idle, "rotation-45", "digits", None, short(), [BOTH[0], long], [0])
    (file,) = sent(home, experiment, tmp_path)
    own = tmp_path / "elsewhere"
    own.mkdir()
    errors = tmp_path / "errors.log"
    with errors.open("wb") as log:
        process = forked.start(["-m", "core", "job", str(file), "--out", "all.zip"], cwd=own, stderr=log)
    part = own / "all-job-1-of-2.results.zip"
    wait_until(part.exists)
    assert process.poll() is None
    assert collect(home, part) == 0
    assert [run.state for run in idle.members(experiment)] == ["finished", "interrupted"]
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert errors.read_text().endswith(
        "\nEnded by SIGTERM. The results of the runs that had ended are in all-job-*-of-2.results.zip: "
        "collect these files.\n"
    )
    assert list(own.iterdir()) == [part]
    assert collect(home, part) == 0
    (rest,) = sent(home, experiment, tmp_path / "rest")
    jobs = json.loads(entries_of(rest.read_bytes())[JOBS])["jobs"]
    assert [member["run"] for job in jobs for member in job["members"]] == [experiment.runs[1]]


def test_results_that_could_not_be_written_are_refused_before_training(
    idle: Lab, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = compared(idle, "rotation-45", "digits", None, short(), BOTH[:1], [0])
    (file,) = sent(home, experiment, tmp_path)
    capsys.readouterr()
    for out, said in ((tmp_path, "is a folder: name a file in it."), (file / "all.zip", "cannot be written: ")):
        assert main(["job", str(file), "--out", str(out)]) == 1
        assert capsys.readouterr().err.startswith(f"error: {out} {said}")  # without a progress bar before it
    again = compared(idle, "rotation-45", "digits", None, short(), BOTH[:1], [0])
    assert main(["jobs", again.id, "--out", str(file), "--home", str(home)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {file} cannot be written: ")
    assert {run.state for run in idle.members(again)} == {"queued"}


def test_a_file_of_any_size_that_was_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.engine.jobs.hashed_zip.MIN_UNPACKED", 1000)
    entries = {f"run-{number}/curve": bytes(10) for number in range(5000)}
    write_file(tmp_path / "file", indexed(entries.items(), "index", lambda: {"format": "own"}))
    content = (tmp_path / "file").read_bytes()
    assert dict(HashedZip(content, "index", "own", "file", "job").entries()) == entries
    with pytest.raises(JobFileError, match="unpacks to more than"):
        HashedZip(zipped(("run/curve", bytes(2000))), "index", "own", "file", "job")
