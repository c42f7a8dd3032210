"""A bank proves itself against autograd: rounding is not taken for a fault, a planted fault is, and nothing changes."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from core.data.examples import ImageExamples, Task
from core.engine.jobs import choice
from core.engine.jobs.choice import proven
from core.engine.jobs.job import Commands, Dependencies, Job, Member
from core.engine.jobs.messages import Ended, Noted
from core.engine.jobs.run_files import NETWORK
from core.engine.jobs.run_job import run_job
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from core.networks.perceptron import MultilayerPerceptron, PerceptronSpec
from core.run_spec import OptimSpec, RunSpec
from core.tasks.tasks import Tasks
from core.training.autograd import AutogradStepper
from core.training.bank import proof
from core.training.bank.adam import FlatAdam
from core.training.bank.bank import Bank
from core.training.bank.full import FullShard
from core.training.bank.low_rank import LowRankShard
from core.training.bank.shard import Program, Shard
from core.training.bank.tape import Tape
from core.training.parallel import ParallelSteppers
from tests.conftest import BOTH, DIGITS, compared, finish, short
from tests.pairs import pairwise
from tests.training.conftest import equal, rows_of, tensors_of

SMALL = PerceptronSpec.of(num_hidden_1=24, num_hidden_2=16)


@pytest.fixture(autouse=True)
def unproven() -> Iterator[None]:
    proof._known.clear()
    yield
    proof._known.clear()


def networks(
    method: str, count: int, model: PerceptronSpec = SMALL, alpha: float = 8.0, whole_head: bool = False
) -> list[MultilayerPerceptron]:
    model = model.but(whole_head=whole_head)
    made = [model.build(0 if method == "lora" else k) for k in range(count)]
    for k, network in enumerate(made if method == "lora" else []):
        add_lora(network, LoRASpec.of(rank=(4, 1, 8)[k % 3], alpha=alpha), torch.Generator().manual_seed(k))
    return made


def specs(method: str, count: int, rate: float, batch: int) -> list[RunSpec]:
    first = RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=rate, batch_size=batch))
    if method == "lora":
        first = first.but(base="b", source=DIGITS, method=LoRASpec.of())
    return [first.but(seed=k % 2, optim=short(rate=rate / (1 + k % 2), batch_size=batch)) for k in range(count)]


def bank_of(members: list[MultilayerPerceptron], runs: list[RunSpec], task: Task) -> Bank:
    heads = [run.optim.head_rate for run in runs]
    return Bank(members, [run.optim.learning_rate for run in runs], [run.seed for run in runs], task, head_rates=heads)


def fault(task: Task, method: str, count: int = 3, rate: float = 0.001, batch: int = 64, **options) -> str | None:
    runs = specs(method, count, rate, batch)
    if options.get("whole_head"):
        full = [run.but(method="full", base="b", source=DIGITS) if method == "full" else run for run in runs]
        runs = [run.but(head="whole", optim=run.optim.but(head_rate=30 * rate)) for run in full]
    _, sentence = proven(bank_of(networks(method, count, **options), runs, task), runs, prove=True)
    return sentence


OTHER = "The fast step gave other numbers than autograd on cpu, so this run was trained by autograd."


SHAPES = (SMALL, PerceptronSpec.of(num_hidden_1=2, num_hidden_2=300), PerceptronSpec.of(num_hidden_1=700))


@pytest.mark.parametrize(
    ("members", "batch", "rate", "shape"),
    pairwise((("full", 3), ("lora", 1), ("lora", 5)), (1, 64, 1000), (1e-6, 1e-3, 1.0), SHAPES),
)
def test_rounding_is_no_fault(
    task: Task, members: tuple[str, int], batch: int, rate: float, shape: PerceptronSpec
) -> None:
    assert fault(task, *members, rate, batch, model=shape) is None


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_head_with_a_rate_of_its_own_is_proven_too(task: Task, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fault(task, method, whole_head=True) is None
    proof._known.clear()
    honest = FlatAdam.__init__

    def at_one_rate(self: FlatAdam, shapes: list, rates: list, *more: object) -> None:
        honest(self, shapes, [rates[0]] * len(rates), *more)

    monkeypatch.setattr(FlatAdam, "__init__", at_one_rate)
    assert fault(task, method, whole_head=True) == OTHER


def test_rounding_is_no_fault_where_float32_has_few_digits_left(task: Task) -> None:
    """The gradient softmax − one-hot of a network that fits its data is a difference of nearly equal numbers."""
    few = replace(task, train=ImageExamples(task.train.all_pixels()[:200], task.train.labels[:200]))
    (network,) = networks("full", 1)
    AutogradStepper(network, OptimSpec.of(learning_rate=0.01), few).advance(torch.arange(200).repeat(1, 900, 1))
    assert torch.nn.functional.cross_entropy(network(few.train.all_pixels()), few.train.labels) < 1e-4
    runs = specs("full", 1, 0.001, 64)
    assert proven(bank_of([network], runs, few), runs, prove=True)[1] is None
    assert fault(task, "lora", alpha=4096.0) is None


def test_rounding_is_no_fault_where_float32_itself_is_far_from_float64(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At this learning rate the second step's logits are in the thousands, and softmax subtracts them."""
    shape = PerceptronSpec.of(num_hidden_1=8, num_hidden_2=256)
    assert fault(task, "lora", 1, rate=1.0, batch=1, model=shape) is None
    proof._known.clear()
    monkeypatch.setattr(proof, "NOISE", 0)
    assert fault(task, "lora", 1, rate=1.0, batch=1, model=shape) == OTHER


def test_the_tolerance_is_far_from_rounding_and_from_the_fault_that_must_be_found(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    honest = proof._gaps

    def gaps(*arguments):
        found = honest(*arguments)
        seen.extend(gap for name, gap in found.items() if not name.startswith("update"))
        return found

    monkeypatch.setattr(proof, "_gaps", gaps)
    for method in ("full", "lora"):
        assert fault(task, method, 3, model=PerceptronSpec.of()) is None
    assert len(seen) > 100
    assert max(seen) < proof.TOLERANCE / 10
    assert proof.TOLERANCE < 1e-3 / 5


def plant(monkeypatch: pytest.MonkeyPatch, method: str, number: int, factor: float, member: int = 0) -> None:
    """Multiply one gradient of one member by a factor, as a wrong kernel would."""
    shard = LowRankShard if method == "lora" else FullShard
    honest = shard._record_backward

    def record(self: Shard, program: Program, seen, grad) -> None:
        honest(self, program, seen, grad)
        if member < program.members:
            program.tape.add("fault", self.adam.segments(self.adam.gradients)[number][member].mul_, factor)

    monkeypatch.setattr(shard, "_record_backward", record)


@pytest.mark.parametrize(
    ("method", "member", "number"),
    [case for number in range(6) for case in (("full", 0, number), ("lora", number % 2 * 2, number))],
)
def test_one_gradient_that_is_wrong_by_a_thousandth_is_found(
    task: Task, monkeypatch: pytest.MonkeyPatch, method: str, member: int, number: int
) -> None:
    plant(monkeypatch, method, number, 1.001, member)
    assert fault(task, method) == OTHER


FIRST: dict[int, torch.Tensor] = {}
FAULTS = {
    "a step counter that stands still, as if a graph had recorded its value": (
        *(FlatAdam, "record", "lora"),
        lambda honest: lambda self, tape, apart=None: (honest(self, tape, apart), tape.calls.pop(0))[0],
    ),
    "a wrong evaluation": (
        *(FullShard, "forward", "full"),
        lambda honest: lambda self, member: lambda part: honest(self, member)(part) * 1.01,
    ),
    "the first step's images in every step, as a replay of a graph without its input would see": (
        *(Program, "run", "full"),
        lambda honest: lambda self, rows, *rest: honest(self, FIRST.setdefault(id(self), rows.clone()), *rest),
    ),
}


@pytest.mark.parametrize("what", FAULTS)
def test_wrong_updates_evaluations_and_stale_buffers_are_found(
    task: Task, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    kind, name, method, wrong = FAULTS[what]
    monkeypatch.setattr(kind, name, wrong(getattr(kind, name)))
    assert fault(task, method) == OTHER


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_proof_changes_no_bit_of_what_is_trained_and_draws_no_random_number(task: Task, method: str) -> None:
    runs = specs(method, 5, 0.01, 64)
    plain, tried = (bank_of(networks(method, 5), runs, task) for _ in range(2))
    random = torch.get_rng_state()
    assert proven(tried, runs, prove=True) == (tried, None)
    assert proof._known
    assert torch.equal(torch.get_rng_state(), random)
    rows = rows_of(task, [run.seed for run in runs], 10, 64)
    assert torch.equal(plain.advance(rows), tried.advance(rows))
    for member in range(5):
        own, other = plain.train_state(member), tried.train_state(member)
        assert own.updates == other.updates == 10
        assert equal(tensors_of(own), tensors_of(other))


@pytest.mark.parametrize("method", ["full", "lora"])
def test_with_a_fault_each_run_gets_the_bits_that_autograd_gives_it(
    task: Task, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    plant(monkeypatch, method, 1, 1.01)
    runs, members = specs(method, 3, 0.01, 64), networks(method, 3)
    alone = copy.deepcopy(members)
    stepper, sentence = proven(bank_of(members, runs, task), runs, prove=True)
    assert sentence == OTHER
    assert isinstance(stepper, ParallelSteppers)
    rows = rows_of(task, [run.seed for run in runs], 6, 64)
    first = stepper.advance(rows[:, :3])
    stepper.write_back(1)
    stepper.retire(1)
    losses = torch.cat([first, stepper.advance(rows[:, 3:])])
    for member, (network, run) in enumerate(zip(alone, runs, strict=True)):
        steps = 3 if member == 1 else 6
        expected = AutogradStepper(network, run.optim, task, run.seed)
        own = expected.advance(rows[run.seed : run.seed + 1, :steps])[:, 0]
        assert torch.equal(losses[:steps, member], own)
        assert equal(stepper.trained(member), expected.trained(0))
        assert stepper.evaluate(member)[0].loss == expected.evaluate(0)[0].loss


def test_a_step_that_fails_is_replaced_and_one_that_runs_out_of_memory_is_not(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_with(error: Exception) -> None:
        def record(self, tape: Tape, apart=None) -> None:
            raise error

        planted.setattr(FlatAdam, "record", record)

    with monkeypatch.context() as planted:
        fails_with(NotImplementedError("no such kernel on this device"))
        expected = "The fast step failed with NotImplementedError on cpu, so this run was trained by autograd."
        assert fault(task, "full") == expected
        proof._known.clear()
        fails_with(torch.OutOfMemoryError("CUDA out of memory."))
        with pytest.raises(torch.OutOfMemoryError):
            fault(task, "full")
    assert fault(task, "full") is None


def test_each_kind_of_bank_is_tried_once_also_by_several_threads(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []
    honest = proof._tried
    monkeypatch.setattr(proof, "_tried", lambda *arguments: (tried.append(1), honest(*arguments))[1])
    threads = [threading.Thread(target=fault, args=(task, "lora")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tried) == 1
    assert fault(task, "lora", batch=32) is None
    assert fault(task, "lora", count=4) is None
    assert fault(task, "full") is None
    assert len(tried) == 4


def test_the_cpu_is_believed_and_other_devices_are_not(task: Task) -> None:
    runs = specs("full", 1, 0.001, 64)
    bank = bank_of(networks("full", 1), runs, task)
    assert proven(bank, runs) == (bank, None)
    assert not proof._known
    assert choice.TESTED_DEVICES == ("cpu",)


def test_a_bank_with_a_fault_comes_to_the_files_of_autograd_and_says_so(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "TESTED_DEVICES", ())
    plant(monkeypatch, "full", 2, 0.5)
    dependencies, notes = Dependencies(tasks), []
    runs = [RunSpec.of(method="pretrain", network=SMALL, task=DIGITS, optim=short(), seed=k) for k in (0, 1)]

    def weights(chosen: list[RunSpec]) -> list[bytes]:
        job = Job(tuple(Member(f"r-{k}", spec) for k, spec in enumerate(chosen)), threads=1)
        messages = list(run_job(job, dependencies, Commands()))
        notes.extend((message.member, message.text) for message in messages if isinstance(message, Noted))
        ends = {message.member: message.files[NETWORK] for message in messages if isinstance(message, Ended)}
        assert len(ends) == len(chosen), messages
        return [ends[k] for k in sorted(ends)]

    together = weights(runs)
    assert notes == [(0, OTHER), (1, OTHER)]
    assert together == weights(runs[:1]) + weights(runs[1:])


def test_the_log_of_a_run_says_that_autograd_trained_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "TESTED_DEVICES", ())
    plant(monkeypatch, "lora", 0, 1.01)
    experiment = compared(lab, "rotation-45", "digits", None, short(), BOTH, [0, 1])
    runs = finish(lab, *experiment.runs)
    assert [run.state for run in runs] == ["finished"] * 4, [run.cause for run in runs]
    for run in runs:
        said = [text for _, text in lab.store.log(run.id) if "autograd" in text]
        assert said == ([OTHER] if run.spec.role == "adapter" else [])
