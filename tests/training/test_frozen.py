"""Frozen blocks that are computed once give what they would give in every step."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import core.training.frozen
from core.engine.jobs.choice import stepper_of
from core.errors import LeftError
from core.methods.head import HeadSpec
from core.methods.linear import is_linear
from core.methods.lora import LoRASpec
from core.methods.low_rank import LowRankSpec
from core.methods.registry import method_of
from core.networks.perceptron import PerceptronSpec
from core.run_spec import OptimSpec
from core.training.autograd import AutogradStepper
from core.training.frozen import STATES, FrozenBlocks, FrozenStates, KnownTexts, frozen_blocks, texts_of
from core.training.parallel import ParallelSteppers
from core.training.stepper import Stepper
from tests.pairs import pairwise
from tests.training.conftest import check_resumes
from tests.training.tiny_texts import ARCHITECTURES, batches, layers_of, network_of, spec_of, task_of, texts

KINDS = (*ARCHITECTURES, "mpnet")
"""The blocks of the last one return a tuple with nothing behind the states."""

OPTIM = OptimSpec.of(learning_rate=0.01, batch_size=8)


def last_block(network: nn.Module, rank: int = 2) -> LowRankSpec:
    """LoRA on the last block alone."""
    return LoRASpec.of(rank=rank, target_modules=layers_of(network, -1))


def prepared(kind: str, method, dtype: torch.dtype = torch.float32, dropout: float | None = 0.0) -> nn.Module:
    return method.prepare(network_of(spec_of(kind, dropout=dropout), 0, dtype), torch.Generator().manual_seed(1))


def steps(stepper, count: int = 3) -> tuple[Tensor, list[Tensor], object]:
    losses = stepper.advance(batches(stepper.task, count))
    return losses, stepper.trained(0), stepper.evaluate(0)[0]


@pytest.mark.parametrize(
    ("kind", "what", "dtype"), pairwise(KINDS, ("last block", "head"), (torch.float32, torch.float64))
)
def test_without_dropout_nothing_changes(kind: str, what: str, dtype: torch.dtype) -> None:
    task, tolerance = task_of(), {torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
    method = HeadSpec() if what == "head" else last_block(network_of(spec_of(kind)))
    network = prepared(kind, method, dtype)
    plain = AutogradStepper(copy.deepcopy(network), OPTIM, task, 0, task)
    known = stepper_of([network], method.kind, [OPTIM], [0], task, task)
    assert known.note(0) == (
        "No block of the network is trained, so the blocks run without dropout, once for each text."
        if what == "head"
        else "The first 2 of 3 blocks are frozen, so they run without dropout, once for each text."
    )
    (losses, weights, judged), (expected, others, wanted) = steps(known), steps(plain)
    assert (losses - expected).abs().max() < tolerance
    assert max((a - b).abs().max() for a, b in zip(weights, others, strict=True)) < 100 * tolerance
    assert judged.loss == pytest.approx(wanted.loss, abs=10 * tolerance)
    assert judged.measures["accuracy"] == wanted.measures["accuracy"]


@pytest.mark.parametrize("kind", KINDS)
def test_states_are_really_used_and_the_network_is_left_as_it_was(kind: str) -> None:
    task, method = task_of(), last_block(network_of(spec_of(kind)))
    network = prepared(kind, method)
    frozen = FrozenBlocks.of(network, task.train.batch(slice(0, 2)))
    before = {name: module.__dict__.copy() for name, module in network.named_modules()}
    states = FrozenStates(network, frozen, texts_of(task, None))
    states.compute()
    known = AutogradStepper(network, OPTIM, task, 0, None, states)
    calls = []
    for path in frozen.paths:
        for module in filter(is_linear, network.get_submodule(path).modules()):
            module.register_forward_pre_hook(lambda module, _: calls.append(module))
    known.advance(batches(task, 2))
    known.evaluate(0)
    assert not calls  # no linear layer of a frozen block has run
    known.evaluate(0, "test")  # which is asked for once, so that nothing is known of it
    assert calls
    for name, module in network.named_modules():
        assert "forward" not in module.__dict__
        assert module.__dict__.keys() == before[name].keys()


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_frozen_blocks_are_found_without_weights(kind: str) -> None:
    layers = 3
    spec = spec_of(kind, layers)
    network = network_of(spec)

    def found(method) -> tuple[int, int]:
        frozen = frozen_blocks(spec, method)
        return frozen.count, frozen.total

    assert found(HeadSpec()) == (layers, layers)
    assert found(last_block(network)) == (layers - 1, layers)
    assert found(LoRASpec.of(rank=2)) == (0, layers)
    assert found(method_of("full")) == (0, layers)
    assert found(method_of("biases"))[0] == 0 or kind in ("llama", "modernbert")  # most of those have none
    first = LoRASpec.of(rank=2, target_modules=layers_of(network, 0))
    assert found(first) == (0, layers)
    assert frozen_blocks(spec, HeadSpec()).kept_bytes(10) == 10 * 16 * 4


def test_networks_on_images_have_none() -> None:
    assert frozen_blocks(PerceptronSpec.of(), HeadSpec()).count == 0
    assert frozen_blocks(PerceptronSpec.of(), HeadSpec()).sentence() is None


@pytest.mark.parametrize(
    ("kind", "changes", "count"), [("convbert", {}, 0), ("deberta-v2", {"conv_kernel_size": 3}, 1)]
)
def test_blocks_whose_tokens_see_padding_are_not_known(kind: str, changes: dict[str, int], count: int) -> None:
    """The convolution of DeBERTa is beside its blocks, and reads zeros in place of padding."""
    spec, task = spec_of(kind, 2, 0.0, **changes), task_of()
    method = last_block(network_of(spec))
    network = method.prepare(network_of(spec), torch.Generator().manual_seed(1))
    plain = AutogradStepper(copy.deepcopy(network), OPTIM, task)
    known = stepper_of([network], "lora", [OPTIM], [0], task)
    assert (known.note(0) is not None) == bool(count)
    assert (frozen_blocks(spec, method).count, frozen_blocks(spec, method).total) == (count, 2)
    rows = batches(task, 3)
    assert (known.advance(rows) - plain.advance(rows)).abs().max() < 1e-5


def test_known_texts_can_be_picked_like_any_others() -> None:
    own, rows = texts(), torch.tensor([7, 0, 7])
    known = KnownTexts.with_states(own, torch.randn(len(own.tokens), 4))
    found, wanted = known.at(rows).batch(slice(None)), known.batch(rows)
    inside = wanted["attention_mask"].bool()
    assert torch.equal(found[STATES][inside], wanted[STATES][inside])
    assert torch.equal(found["input_ids"], wanted["input_ids"])


def test_a_trained_embedding_below_leaves_nothing_frozen() -> None:
    task, network = task_of(), prepared("bert", HeadSpec())
    network.get_input_embeddings().weight.requires_grad_(True)
    assert FrozenBlocks.of(network, task.train.batch(slice(0, 2))).count == 0


def test_dropout_is_off_below_and_on_above(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not there is memory to keep what the frozen blocks give, a run's numbers are the same."""
    task, method = task_of(), last_block(network_of(spec_of("bert")))

    def losses(limit: int, seed: int = 0, where: tuple[str, ...] = ("0.", "1.", "2.", "bert.embeddings")) -> Tensor:
        monkeypatch.setattr(core.training.frozen, "MAX_BYTES", limit)
        network = prepared("bert", method, torch.float64, dropout=0.4)
        for name, module in network.named_modules():
            part = name.removeprefix("bert.encoder.layer.")
            if isinstance(module, nn.Dropout) and not part.startswith(where) and part != "dropout":
                module.p = 0.0
        return stepper_of([network], "lora", [OPTIM], [seed], task).advance(batches(task, 3))

    kept, computed = losses(2**30), losses(0)
    assert (kept - computed).abs().max() < 1e-12
    assert not torch.equal(kept, losses(2**30, seed=1))
    assert (kept - losses(0, where=("2.",))).abs().max() < 1e-12


def test_what_is_too_large_is_said() -> None:
    frozen = FrozenBlocks(2, 6, 384)
    assert "too large to be kept" in (frozen.sentence(10**6) or "")
    assert "once for each text" in (frozen.sentence(1000) or "")
    assert FrozenBlocks(1, 6, 384).sentence() == (
        "The first of 6 blocks is frozen, so it runs without dropout, once for each text."
    )


def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one() -> None:
    task, method = task_of(), last_block(network_of(spec_of("bert")))

    def stepper() -> Stepper:
        return stepper_of([prepared("bert", method, dropout=0.3)], "lora", [OPTIM], [0], task, task)

    check_resumes(stepper, batches(task, 6))


def test_members_share_what_is_the_same_for_them() -> None:
    task, plain = task_of(), network_of(spec_of("bert"))
    methods = [last_block(plain), last_block(plain, 4), LoRASpec.of(rank=2, target_modules=layers_of(plain, 1))]
    networks = [prepared("bert", method) for method in (*methods, methods[0])]
    with torch.no_grad():
        networks[3].bert.encoder.layer[0].output.dense.weight.add_(0.1)
    bank = stepper_of(networks, "lora", [OPTIM] * 4, range(4), task)
    assert isinstance(bank, ParallelSteppers)
    known = [member._known[0].train for member in bank._steppers]
    assert known[0] is known[1]
    assert len({id(part) for part in known}) == 3
    assert (bank.note(0) or "").startswith("The first 2 of 3 blocks are frozen")
    assert (bank.note(2) or "").startswith("The first of 3 blocks is frozen")


def test_the_work_can_be_ended() -> None:
    def look() -> None:
        raise LeftError

    task = task_of()
    with pytest.raises(LeftError):
        stepper_of([prepared("bert", HeadSpec())], "head", [OPTIM], [0], task, None, look)


def test_threads_that_evaluate_at_once_do_not_mix_up_their_states() -> None:
    task = replace(task_of(), test=texts(400, 1))
    known = stepper_of([prepared("bert", HeadSpec())], "head", [OPTIM], [0], task)
    assert known.note(0)
    expected = known.evaluate(0, "test")[0]
    torch.set_num_threads(4)
    for _ in range(5):
        found = known.evaluate(0, "test")[0]
        assert found == expected
        assert torch.equal(found.predicted, expected.predicted)
