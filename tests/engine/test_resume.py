"""Interrupted runs resume from checkpoints with the same results; damaged checkpoints only cost time."""

from __future__ import annotations

import errno
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from core.adapter import read_adapter
from core.engine.jobs.job import Commands
from core.engine.jobs.messages import Failed, Fault, Saved
from core.engine.jobs.run_files import ADAPTER, NETWORK, PREDICTIONS
from core.engine.recorder import Recorder
from core.errors import DatasetError, DivergedError, SpecError
from core.files import sha256_of
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.networks.file import read_network
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.checkpoints import PREFIX
from core.store.record import Run
from core.store.run_file import NAME
from tests.conftest import DIGITS, PRETRAIN, TURNED, Opener, braked, finish, short, wait_until
from tests.engine.child import held_back, lab_process
from tests.launching import fine_tune
from tests.soak.sizes import full_or_short
from tests.text_home import FIRST, LAST, PETS, decoder_base, import_tiny

EPOCHS, MANY = 12, 30
"""Epochs of a run that is braked, and of one that is not, which both go on until they are stopped."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """One thread, with which resumed runs end bit for bit like uninterrupted ones."""
    return replace(settings, threads=1, settle_seconds=0.2)


def left_in_training(lab: Lab, spec: RunSpec) -> str:
    """A run whose lab was closed while it trained."""
    with braked():
        id = lab.launcher.launch(spec).id
        wait_until(lambda: lab.store.run(id).step > 20)
        lab.close()
    return id


def checkpoints(settings: Settings, id: str) -> list[Path]:
    return list((settings.runs / id).glob(f"{PREFIX}*"))


def spec_of(method: str, base: str, keep: str, seed: int = 0, epochs: int = EPOCHS) -> RunSpec:
    optim = short(epochs=epochs, rate=0.001, keep=keep, batch_size=50)
    if method == "pretrain":
        return PRETRAIN.but(optim=optim, seed=seed)
    return RunSpec.of(method=method, task=TURNED, source=DIGITS, base=base, optim=optim, seed=seed)


def text_spec(lab: Lab, scratch: Path, method: str, keep: str, data: str) -> RunSpec:
    """A run of an imported network, with dropout, itself or after a source task; or of a language model after one."""
    network = import_tiny(lab, scratch)
    optim = short(epochs=EPOCHS, rate=0.01, keep=keep, batch_size=16)
    if data == "texts":
        return RunSpec.of(method=method, network=network, task=PETS, optim=optim)
    base = RunSpec.of(method="pretrain", network=network, task=FIRST, optim=optim.but(epochs=1))
    base = decoder_base(base.optim) if data == "language" else base
    id = finish(lab, lab.launcher.launch(base).id)[0].id
    return base.but(method=method, task=LAST, source=FIRST, base=id, optim=optim)


def weights(lab: Lab, run: Run) -> dict[str, torch.Tensor]:
    if run.spec.role == "adapter":
        return dict(read_adapter(lab.artifacts.path(run.id, ADAPTER)).tensors)
    return read_network(lab.artifacts.path(run.id, NETWORK)).state_dict()


def numbers(epochs: pd.DataFrame) -> pd.DataFrame:
    """An epoch without its times."""
    return epochs.drop(columns=["seconds", "examples_per_second"])


def same(lab: Lab, run: Run, other: Run) -> None:
    """Assert that two runs are bit-identical, and have every step and epoch exactly once."""
    ours, theirs = lab.store.curve(run.id), lab.store.curve(other.id)
    assert ours.step.tolist() == list(range(1, run.steps + 1))
    np.testing.assert_array_equal(ours.loss, theirs.loss)
    pd.testing.assert_frame_equal(numbers(ours.epochs), numbers(theirs.epochs), check_exact=True)
    assert (np.diff(ours.seconds) > 0).all()
    expected = weights(lab, other)
    assert weights(lab, run).keys() == expected.keys()
    for name, tensor in weights(lab, run).items():
        assert torch.equal(tensor, expected[name]), name
    assert (run.score, run.result.kept_epoch) == (other.score, other.result.kept_epoch)
    assert run.result.steps == run.step == run.steps


@pytest.mark.parametrize(
    ("method", "keep", "data", "is_stopped"),
    [
        ("full", "best", "images", True),
        ("lora", "last", "images", False),
        ("lora", "last", "texts after a source", True),
        ("full", "best", "language", False),
        pytest.param("pretrain", "last", "images", False, marks=pytest.mark.minutes),
        pytest.param("lora", "last", "images", True, marks=pytest.mark.minutes),
        pytest.param("full", "best", "texts", False, marks=pytest.mark.minutes),
    ],
)
def test_what_was_stopped_or_was_in_a_lab_that_was_closed_goes_on_from_where_it_was_to_the_last_bit(
    opened: Opener, settings: Settings, tmp_path: Path, method: str, keep: str, data: str, is_stopped: bool
) -> None:
    lab = opened()
    if data == "images":
        spec = spec_of(method, finish(lab, lab.launcher.launch(PRETRAIN).id)[0].id, keep)
    else:
        spec = text_spec(lab, tmp_path / "tiny", method, keep, data)
    with braked():
        id = lab.launcher.launch(spec).id
        wait_until(lambda: lab.store.run(id).step > 20)
        if is_stopped:
            lab.stop(id)
            left = finish(lab, id)[0]
            assert (left.state, left.result and left.result.steps) == ("stopped", left.step)
        lab.close()
    (file,) = checkpoints(settings, id)
    assert lab.store.files(id)[file.name] == sha256_of(file)
    left = lab.store.run(id)
    assert left.state == ("stopped" if is_stopped else "interrupted")

    lab = opened()
    assert lab.launcher.rest([id]).runs[0].step == left.step
    assert lab.launcher.finish([id]) == 1
    assert lab.launcher.finish([id]) == 0
    wait_until(lambda: lab.store.run(id).state != "queued")
    resumed, untouched = finish(lab, id, lab.launcher.launch(spec).id)
    assert resumed.resumed_step == left.step > 20
    assert resumed.training_seconds > left.training_seconds
    same(lab, resumed, untouched)
    states = [state for _, state in lab.store.transitions(id)]
    assert states == ["queued", "running", left.state, "queued", "running", "finished"]
    assert checkpoints(settings, id) == []
    assert set(lab.store.files(id)) == {ADAPTER if spec.role == "adapter" else NETWORK, PREDICTIONS}


@pytest.mark.parametrize("is_ahead", [False, True], ids=["", "killed between the file of the run and the store"])
def test_a_killed_process_loses_the_steps_since_its_last_checkpoint(
    opened: Opener, idle: Lab, settings: Settings, is_ahead: bool
) -> None:
    spec = spec_of("pretrain", "", "best", epochs=MANY)
    with lab_process(settings.home, [spec, PRETRAIN], threads=1, checkpoint_seconds=0.05) as (process, (id, waiting)):
        wait_until(lambda: idle.store.checkpoint(id) is not None and idle.store.run(id).step > 100)
        process.send_signal(signal.SIGKILL)
        process.wait()
    (settings.runs / id / f".{NETWORK}.x.part").write_bytes(b"half a file")
    if is_ahead:
        with idle.store.transaction() as db:
            db.execute("UPDATE runs SET changes = 0 WHERE id = ?", (id,))
    lab = opened()
    assert ("came back from the folders" in lab.notice) >= is_ahead
    assert lab.store.run(id).state == "interrupted"
    assert "process ended" in str(lab.store.run(id).cause)
    assert finish(lab, waiting)[0].state == "finished"
    assert {path.name for path in (settings.runs / id).iterdir()} == {NAME, *lab.store.files(id)}
    lab.launcher.finish([id])
    resumed, untouched = finish(lab, id, lab.launcher.launch(spec).id)
    assert resumed.resumed_step > 0
    same(lab, resumed, untouched)


def test_a_damaged_checkpoint_means_the_first_step_and_a_word_about_it(opened: Opener, settings: Settings) -> None:
    lab, spec = opened(), spec_of("pretrain", "", "last")
    damages = {"flipped": b"", "gone": None} | full_or_short({"cut": b"", "another": b"something else"}, {})
    with braked():
        left = {damage: lab.launcher.launch(spec).id for damage in damages}
        for id in left.values():
            wait_until(lambda id=id: lab.store.run(id).step > 20)
            lab.stop(id)
        finish(lab, *left.values())
    for damage, id in left.items():
        (file,) = checkpoints(settings, id)
        content = bytearray(file.read_bytes())
        content[-100] ^= 1
        contents = damages | {"cut": bytes(content[:-1]), "flipped": bytes(content)}
        file.unlink()
        if (damaged := contents[damage]) is not None:
            file.write_bytes(damaged)
    assert lab.launcher.finish([*left.values()]) == len(damages)
    *runs, untouched = finish(lab, *left.values(), lab.launcher.launch(spec).id)
    for run in runs:
        assert run.resumed_step == 0
        same(lab, run, untouched)
        assert any("first step" in text for _, text in lab.store.log(run.id))
        assert checkpoints(settings, run.id) == []


@pytest.mark.parametrize("away", ["base", "checkpoint"])
def test_a_file_that_cannot_be_read_for_a_while_costs_no_step(opened: Opener, settings: Settings, away: str) -> None:
    """As on a drive that is not there yet: the run goes on from its checkpoint once the file can be read again."""
    lab = opened()
    base = finish(lab, lab.launcher.launch(PRETRAIN).id)[0]
    id = left_in_training(lab, spec_of("full", base.id, "last"))
    kept = lab.store.checkpoint(id)
    path = settings.runs / base.id / NETWORK if away == "base" else checkpoints(settings, id)[0]
    elsewhere = path.replace(path.with_name("elsewhere"))
    path.mkdir()
    lab = opened()
    lab.launcher.finish([id])
    (run,) = finish(lab, id)
    assert run.state == "interrupted"
    assert "read" in str(run.cause)
    assert lab.store.checkpoint(id) == kept
    path.rmdir()
    elsewhere.replace(path)
    lab.launcher.finish([id])
    (run,) = finish(lab, id)
    assert (run.state, run.resumed_step > 20) == ("finished", True)


def test_what_would_come_again_is_final_and_what_may_pass_is_not(idle: Lab) -> None:
    for number, (error, with_checkpoint, without) in enumerate(
        (
            (DivergedError(9), "failed", "failed"),
            (SpecError("It does not fit."), "failed", "failed"),
            (DatasetError("It is not there."), "interrupted", "failed"),
            (MemoryError(), "interrupted", "failed"),
            (OSError(errno.EIO, "Input/output error"), "interrupted", "failed"),
            (OSError(errno.ENOSPC, "No space left on device"), "interrupted", "interrupted"),
        )
    ):
        for has_checkpoint in (True, False):
            id = f"r-{number}{has_checkpoint:d}"
            idle.store.add([(id, PRETRAIN)], idle.owner, 100)
            (run,) = idle.store.claim([idle.store.run(id)])
            folder = idle.settings.runs.joinpath
            recorder = Recorder(idle.store, [run], Commands(), idle.workers.writes, folder, 10)
            if has_checkpoint:
                recorder.take(Saved(0, 5, b"a checkpoint"))
            recorder.take(Failed(0, Fault.of(error)))
            found = idle.store.run(id)
            assert found.state == (with_checkpoint if has_checkpoint else without), (error, found.cause)
            assert bool(idle.store.checkpoint(id)) == (has_checkpoint and found.state == "interrupted")


def test_runs_of_a_bank_go_on_as_one_bank(opened: Opener, settings: Settings) -> None:
    lab = opened()
    base = finish(lab, lab.launcher.launch(PRETRAIN).id)[0]
    arms = [(short(epochs=EPOCHS), LoRASpec.of(rank=rank)) for rank in (2, 4, 8)]
    with braked():
        ids = fine_tune(lab, base, TURNED, arms, [0], "x").runs
        wait_until(lambda: all(lab.store.run(id).step > 20 for id in ids))
        lab.close()
    steps = {lab.store.run(id).step for id in ids}
    assert len(steps) == 1
    lab = opened()
    assert lab.launcher.finish([run.id for run in lab.store.runs(states=["interrupted"])]) == 3
    assert lab.launcher.finish([run.id for run in lab.store.runs(states=["interrupted"])]) == 0
    resumed = finish(lab, *ids)
    again = finish(lab, *fine_tune(lab, base, TURNED, arms, [0], "y").runs)
    assert {run.resumed_step for run in resumed} == steps
    for run, other in zip(resumed, again, strict=True):
        assert run.result.bank == 3
        assert lab.store.curve(run.id).step.tolist() == list(range(1, run.steps + 1))
        np.testing.assert_allclose(lab.store.curve(run.id).loss, lab.store.curve(other.id).loss, rtol=0.05, atol=0.02)
        assert run.score == pytest.approx(other.score if other.result else 0, abs=2.0)


def test_a_stop_after_an_interruption_keeps_what_the_checkpoint_had_learnt(opened: Opener, settings: Settings) -> None:
    lab = opened()
    id = left_in_training(lab, spec_of("pretrain", "", "last"))
    learned = lab.store.run(id).step
    lab = opened()
    busy = lab.launcher.launch(spec_of("pretrain", "", "last", seed=1, epochs=MANY)).id
    lab.stop(id)
    lab.stop(id)
    lab.stop(busy)
    run = finish(lab, id)[0]
    assert run.state == "stopped"
    assert run.result.steps == run.step == learned
    assert read_network(lab.artifacts.path(id, NETWORK))
    assert lab.store.curve(id).step.tolist() == list(range(1, learned + 1))
    assert [lab.store.checkpoint_steps([id])[id], len(checkpoints(settings, id))] == [learned, 1]


def test_many_stops_at_once_from_two_processes_are_one(lab: Lab, idle: Lab) -> None:
    with braked():
        ids = [lab.launcher.launch(spec_of("pretrain", "", "last", seed=seed)).id for seed in range(3)]
        wait_until(lambda: lab.store.run(ids[0]).step > 20)
        with ThreadPoolExecutor(24) as pool:
            stops = [pool.submit(one.stop, id) for one in (lab, idle) for id in ids for _ in range(4)]
        assert not any(stop.exception() for stop in stops)
        left = finish(lab, *ids)
    for run in left:
        assert run.state == "stopped"
        assert [state for _, state in lab.store.transitions(run.id)].count("stopped") == 1


def test_a_stop_is_heard_while_the_base_is_read(opened: Opener, settings: Settings) -> None:
    lab = opened()
    base = finish(lab, lab.launcher.launch(PRETRAIN).id)[0].id
    id, _, content, pipe = held_back(lab, spec_of("full", base, "last"))
    lab.stop(id)
    assert lab.store.run(id).state == "stopped"
    following = lab.launcher.launch(PRETRAIN.but(seed=5)).id
    os.write(pipe, content[:100])
    os.close(pipe)  # the reader continues, and finds that its run was taken over
    assert finish(lab, following)[0].state == "finished"
    assert lab.store.run(id).state == "stopped"
    assert [state for _, state in lab.store.transitions(id)] == ["queued", "running", "stopped"]
