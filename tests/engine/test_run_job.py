"""Runs trained in a bank equal runs trained alone, with their own files, stops and failures."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from core.adapter import apply_adapter, read_adapter
from core.data.sources.catalog import Catalog
from core.data.task_spec import TaskSpec
from core.engine.jobs import bank_run
from core.engine.jobs.job import Commands, Dependencies, Drop, Job, Leave, Member, Save, Stop
from core.engine.jobs.messages import Began, Ended, Failed, Left, Message, Reported, Saved
from core.engine.jobs.run_files import ADAPTER, NETWORK, PREDICTIONS
from core.engine.jobs.run_job import run_job
from core.files import sha256_of
from core.methods.lora import LoRASpec
from core.networks.file import read_network
from core.networks.perceptron import PerceptronSpec
from core.run_spec import RunSpec
from core.settings import Settings
from core.tasks.tasks import Tasks
from core.training.evaluation import evaluate_both
from core.training.sharing import bank_key
from core.training.stepper import StepLoss
from tests.conftest import DIGITS, TURNED, short

PRETRAIN = RunSpec.of(method="pretrain", task=DIGITS, optim=short(epochs=2, rate=0.001))
LORA = RunSpec.of(task=TURNED, source=DIGITS, base="r-base", method=LoRASpec.of(), optim=short(epochs=2))


@pytest.fixture
def dependencies(tmp_path: Path) -> Dependencies:
    """A base, and data."""
    dependencies = Dependencies(Tasks(Catalog(Settings(tmp_path / "home"))), base=lambda run: tmp_path / run)
    (tmp_path / "r-base").write_bytes(trained(dependencies, PRETRAIN)[0].files[NETWORK])
    return dependencies


def mixed() -> list[RunSpec]:
    settings = [(4, 8.0, 0.005, 0), (16, 8.0, 0.001, 1), (2, 4.0, 0.01, 0)]
    return [
        LORA.but(method=LoRASpec.of(rank=rank, alpha=alpha), optim=short(epochs=2, rate=rate), seed=seed)
        for rank, alpha, rate, seed in settings
    ]


def job_of(specs: Sequence[RunSpec], **more: Any) -> Job:
    """Args: more: fields of the members."""
    return Job(tuple(Member(f"r-{k}", spec, **more) for k, spec in enumerate(specs)), threads=1)


def said(dependencies: Dependencies, *specs: RunSpec, **more: Any) -> list[Message]:
    """All that a job says to which nobody says anything."""
    return list(run_job(job_of(specs, **more), dependencies, Commands()))


def ends_of(messages: Sequence[Message]) -> dict[int, Ended]:
    ends = [message for message in messages if isinstance(message, Ended)]
    found = {end.member: end for end in ends}
    assert len(found) == len(ends), messages
    return found


def trained(dependencies: Dependencies, *specs: RunSpec, **more: Any) -> list[Ended]:
    """What each of these becomes in one job."""
    messages = said(dependencies, *specs, **more)
    ends = ends_of(messages)
    assert len(ends) == len(specs), messages
    return [ends[k] for k in range(len(specs))]


def left(dependencies: Dependencies, specs: Sequence[RunSpec]) -> dict[int, Saved]:
    """The last checkpoint of each of these, whose job is left as soon as it has reported something."""
    commands, saved = Commands(), {}
    for message in run_job(job_of(specs), dependencies, commands):
        if isinstance(message, Reported):
            commands.send(Leave())
        if isinstance(message, Saved):
            saved[message.member] = message
    assert isinstance(message, Left)
    return saved


def losses(messages: Sequence[Message], member: int) -> list[float]:
    events = [message.event for message in messages if isinstance(message, Reported) and message.member == member]
    return [loss for event in events if isinstance(event, StepLoss) for loss in event.losses.tolist()]


def test_runs_of_a_bank_come_to_what_each_comes_to_alone(dependencies: Dependencies) -> None:
    specs = mixed()
    messages = said(dependencies, *specs)
    steps = {message.member: message.steps for message in messages if isinstance(message, Began)}
    ends = ends_of(messages)
    for k, spec in enumerate(specs):
        own = losses(messages, k)
        assert ends[k].result.bank == 3
        assert ends[k].result.steps == steps[k] == len(own)
        seen = ends[k].result.epochs * dependencies.tasks.get(spec.task).num_train
        assert ends[k].result.examples_per_second * ends[k].result.seconds == pytest.approx(seen)
        assert ends[k].files.keys() == {ADAPTER, PREDICTIONS}
        assert ends[k].result.adapter_bytes == len(ends[k].files[ADAPTER])
        alone = said(dependencies, spec)
        single = ends_of(alone)[0].result
        assert single.bank == 1
        assert single.measures["accuracy"] == pytest.approx(ends[k].result.measures["accuracy"], abs=1.0)
        np.testing.assert_allclose(losses(alone, 0), own, rtol=0.02, atol=0.02)
        np.testing.assert_allclose(losses(alone, 0)[:20], own[:20], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_runs_on_two_bases_come_to_what_those_of_each_come_to(
    dependencies: Dependencies, tmp_path: Path, method: str
) -> None:
    (tmp_path / "r-other").write_bytes(trained(dependencies, PRETRAIN.but(seed=1))[0].files[NETWORK])
    specs = [
        LORA.but(method=method, own_base=True, base=base, seed=seed, optim=short(epochs=2, rate=rate))
        for seed, base in enumerate(("r-base", "r-other"))
        for rate in (0.001, 0.003)
    ]
    together = said(dependencies, *specs)
    ends = ends_of(together)
    for own in ([0, 1], [2, 3]):
        apart = said(dependencies, *(specs[k] for k in own))
        for member, end in ends_of(apart).items():
            k = own[member]
            assert losses(together, k) == losses(apart, member)
            assert ends[k].result.measures == end.result.measures
            if method == "full":  # the card of an adapter names its run
                assert ends[k].files[NETWORK] == end.files[NETWORK]
    before = [ends[k].result.measures["loss_before"] for k in range(4)]
    assert before[0] == before[1] != before[2] == before[3]


def test_a_base_that_cannot_be_used_fails_its_own_runs_and_the_others_train_stop_and_are_left_without_them(
    dependencies: Dependencies, tmp_path: Path
) -> None:
    (tmp_path / "r-other").write_bytes(b"damaged")
    bases = ["r-other", "r-base", "r-other", "r-base"]
    specs = [LORA.but(own_base=True, base=base, seed=seed) for seed, base in enumerate(bases)]
    messages = said(dependencies, *specs)
    assert {message.member for message in messages if isinstance(message, Failed)} == {0, 2}
    ends = ends_of(messages)
    assert ends.keys() == {1, 3}
    alone = trained(dependencies, specs[1], specs[3])
    assert [ends[k].result.measures for k in (1, 3)] == [end.result.measures for end in alone]

    commands, last = Commands(), {}
    for message in run_job(job_of(specs), dependencies, commands):
        last[message.member] = message  # type: ignore[union-attr]
        if isinstance(message, Began) and message.member == 3:
            commands.send(Stop(1))
            commands.send(Drop(3))
    assert last[1].stopped
    assert last[3] == Left(3)
    (failed,) = said(dependencies, specs[0])
    assert isinstance(failed, Failed)


def test_a_base_is_evaluated_once_for_all_runs_on_one_target(
    dependencies: Dependencies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = sha256_of(tmp_path / "r-base")
    evaluated = []

    def evaluate(*args: Any) -> Any:
        evaluated.append(args[1].spec)
        return evaluate_both(*args)

    monkeypatch.setattr(bank_run, "evaluate_both", evaluate)
    other = LORA.but(task=TURNED.but(rotation=0.0))
    full, lora, elsewhere = (
        trained(dependencies, spec, base=known)[0].result for spec in (LORA.but(method="full"), LORA, other)
    )
    assert evaluated == [TURNED, other.task]
    assert full.measures["accuracy_before"] == lora.measures["accuracy_before"] != elsewhere.measures["accuracy_before"]
    before = [result.measures["source_accuracy_before"] for result in (full, lora)]
    assert before == [elsewhere.measures["accuracy_before"]] * 2
    unknown = trained(dependencies, LORA)[0].result  # a file without a hash may change
    assert len(evaluated) == 3
    assert unknown.measures["accuracy_before"] == lora.measures["accuracy_before"]


def test_one_stops_and_one_diverges_while_the_third_finishes(dependencies: Dependencies, tmp_path: Path) -> None:
    specs = mixed()
    specs[1] = specs[1].but(method=LoRASpec.of(alpha=4096, scaling="alpha"), optim=short(epochs=2, rate=1.0))
    commands = Commands()
    commands.send(Stop(0))
    ends = [one for one in run_job(job_of(specs), dependencies, commands) if isinstance(one, Ended | Failed | Left)]
    first, other, last = sorted(ends, key=lambda end: end.member)
    assert ends[0] is first
    assert (first.stopped, last.stopped) == (True, False)
    assert isinstance(other, Ended) or "finite" in other.fault.cause
    base = read_network(tmp_path / "r-base")
    for end in (first, last):
        network = apply_adapter(base, read_adapter(end.files[ADAPTER]))
        with torch.no_grad():
            assert torch.isfinite(network(torch.rand(4, 784))).all()


def test_who_leaves_has_a_checkpoint_that_the_run_goes_on_from_bit_for_bit(dependencies: Dependencies) -> None:
    spec = LORA.but(optim=short(epochs=20))
    whole = trained(dependencies, spec)[0]
    (saved,) = left(dependencies, [spec]).values()
    assert 0 < saved.step < whole.result.steps
    assert trained(dependencies, spec, start=saved.content)[0].files == whole.files


def test_a_run_that_goes_on_alone_says_that_it_was_in_a_bank(dependencies: Dependencies) -> None:
    specs, banks = [spec.but(optim=short(epochs=20)) for spec in mixed()], []
    content = left(dependencies, specs)[0].content
    for checkpoint in (content, without_bank(content)):
        stop = Commands()
        stop.send(Stop(0))
        *_, end = run_job(job_of(specs[:1], start=checkpoint), dependencies, stop)
        banks.append(end.result.bank)
    assert banks == [3, 1]  # a checkpoint of an earlier version does not know


def without_bank(content: bytes) -> bytes:
    """A checkpoint as earlier versions wrote it."""
    metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    about = json.loads(metadata["about"])
    del about["position"]["bank"]
    return safetensors.torch.save(safetensors.torch.load(content), metadata | {"about": json.dumps(about)})


def test_commands_name_the_members_that_they_are_for(dependencies: Dependencies) -> None:
    commands, saved = Commands(), set()
    for command in (Drop(1), Stop(2), Save()):
        commands.send(command)
    ends: dict[int, Message] = {}
    for message in run_job(job_of(mixed()), dependencies, commands):
        match message:
            case Saved(member):
                saved.add(member)
            case Ended(member) | Left(member) | Failed(member):
                ends[member] = message
    assert saved == {0, 1, 2}
    assert ends[1] == Left(1)
    assert (ends[0].stopped, ends[2].stopped) == (False, True)


def test_a_job_and_its_messages_can_be_sent_to_another_process(dependencies: Dependencies) -> None:
    job = job_of([LORA])
    sent = pickle.loads(pickle.dumps(job))
    assert sent == job
    for message in run_job(sent, dependencies, Commands()):
        assert type(pickle.loads(pickle.dumps(message))) is type(message)


@pytest.mark.parametrize(
    "other",
    [
        LORA.but(task=DIGITS),
        LORA.but(base="r-other"),
        LORA.but(optim=short(epochs=3)),
        LORA.but(optim=short(epochs=2, batch_size=128)),
        LORA.but(method="full"),
        LORA.but(network=PerceptronSpec.of(num_hidden_1=64)),
        LORA.but(source=TaskSpec.of(dataset="digits", rotation=5.0)),
        LORA.but(device="cpu"),
    ],
)
def test_runs_that_differ_in_what_a_bank_shares_are_told_apart(dependencies: Dependencies, other: RunSpec) -> None:
    assert bank_key(other) != bank_key(LORA)
    assert bank_key(LORA.but(seed=3, optim=short(epochs=2, rate=0.1, patience=1, keep="best"))) == bank_key(LORA)
    first, second = said(dependencies, LORA, other)
    assert isinstance(second, Failed)
    assert first.fault.cause.endswith("train the others separately.")
