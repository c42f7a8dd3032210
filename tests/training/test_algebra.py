"""Products: whichever library makes one, it is the same product; and which one makes it is settled by the machine."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch
from torch import Tensor

from core.data.examples import Task
from core.networks.perceptron import PerceptronSpec
from core.training.bank import algebra
from core.training.bank.algebra import (
    PRODUCTS,
    Algebra,
    affine_into,
    affine_relu_into,
    linear,
    onednn_is_faster,
    product_anew,
    product_into,
)
from core.training.bank.bank import Bank
from core.training.bank.tape import Tape, scripted
from core.training.loop import data_order

BATCH, INPUTS, OUTPUTS = 64, 784, 128


@pytest.fixture
def with_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor that it is faster on; every machine can compute with it."""
    monkeypatch.setattr(algebra, "onednn_is_faster", lambda: True)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def close(found: Tensor, exact: Tensor) -> bool:
    """As near as float32 gets: sums of some hundred terms."""
    return torch.allclose(found.double(), exact, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("members", [1, 3])
def test_onednn_computes_the_product(with_onednn: None, members: int) -> None:
    """Of tensors as they lie and turned, as a step has them on its way forward, back and for gradients."""
    tape, sums = Tape(), Algebra(members)
    x, weight, bias = random(members, BATCH, INPUTS), random(members, OUTPUTS, INPUTS), random(members, OUTPUTS)
    grad = random(members, BATCH, OUTPUTS)
    forward, back, own = torch.zeros_like(grad), torch.zeros_like(x), torch.zeros_like(weight)
    sums.affine(tape, "forward", x, weight, bias, forward)
    sums.product(tape, "back", grad, weight, back)
    sums.product(tape, "gradient", grad.transpose(1, 2), x, own)
    products = [call.func for call in tape.calls if call.func in PRODUCTS]
    assert products == [affine_into] * members + [product_into] * 2 * members
    with torch.inference_mode():
        tape.run()
    assert close(forward, x.double() @ weight.double().transpose(1, 2) + bias.double().unsqueeze(1))
    assert close(back, grad.double() @ weight.double())
    assert close(own, grad.double().transpose(1, 2) @ x.double())


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("faster", [False, True])
def test_what_is_below_zero_is_cut_off_and_what_is_no_number_stays(
    members: int, faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that diverges must be seen to, whichever library multiplies."""
    monkeypatch.setattr(algebra, "onednn_is_faster", lambda: faster)
    tape, sums, out = Tape(), Algebra(members), torch.zeros(members, BATCH, OUTPUTS)
    x, weight, bias = random(members, BATCH, INPUTS), random(members, OUTPUTS, INPUTS), random(members, OUTPUTS)
    x[0, 0, 0] = float("nan")
    sums.affine(tape, "forward", x, weight, bias, out, relu=True)
    assert (affine_relu_into in [call.func for call in tape.calls]) == faster
    with torch.inference_mode():
        tape.run()
    exact = torch.relu(x.double() @ weight.double().transpose(1, 2) + bias.double().unsqueeze(1))
    assert out[0, 0].isnan().all()
    assert close(out[:, 1:], exact[:, 1:])


@pytest.mark.parametrize("members", [1, 3])
def test_sums_of_columns(members: int) -> None:
    """Of tensors as they lie and turned, as the gradients of biases need them."""
    a = random(members, BATCH, OUTPUTS)
    for values in (a, a.transpose(1, 2)):
        tape, out = Tape(), torch.zeros(values.shape[:2])
        Algebra(members).sum_columns(tape, "bias", values, out)
        with torch.inference_mode():
            tape.run()
        assert close(out, values.double().sum(-1))


def test_onednn_computes_the_product_with_a_weight_of_all(with_onednn: None) -> None:
    tape, sums, weight, bias = Tape(), Algebra(3), random(OUTPUTS, INPUTS), random(OUTPUTS)
    x, grad = random(3, BATCH, INPUTS), random(3, BATCH, OUTPUTS)
    forward, back = torch.zeros_like(grad), torch.zeros_like(x)
    sums.affine_for_all(tape, "forward", x, weight, weight.T.contiguous(), bias, forward)
    sums.product_for_all(tape, "back", grad, weight, back)
    assert [call.func for call in tape.calls] == [affine_into, product_into]
    with torch.inference_mode():
        tape.run()
    assert close(forward, x.double() @ weight.double().T + bias.double())
    assert close(back, grad.double() @ weight.double())


def test_a_layer_by_onednn_is_torchs_own(with_onednn: None) -> None:
    x, weight, bias = random(BATCH, INPUTS), random(OUTPUTS, INPUTS), random(OUTPUTS)
    assert close(linear(x, weight, bias), torch.nn.functional.linear(x.double(), weight.double(), bias.double()))


@pytest.mark.parametrize(("dtype", "outputs"), [(torch.float64, OUTPUTS), (torch.float32, 10)])
def test_small_products_and_those_of_float64_stay_with_torch(
    with_onednn: None, dtype: torch.dtype, outputs: int
) -> None:
    tape, x, weight = Tape(), torch.ones(1, BATCH, INPUTS, dtype=dtype), torch.ones(1, outputs, INPUTS, dtype=dtype)
    Algebra(1).affine(tape, "forward", x, weight, torch.ones(1, outputs, dtype=dtype), x.new_zeros(1, BATCH, outputs))
    assert [call.func for call in tape.calls] == [torch.addmm]


def test_gradients_of_a_step_are_the_same_with_either(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the step is still one function: nothing falls back to single calls."""
    rows, gradients, used = data_order(task.num_train, 0, 1)[:BATCH].view(1, 1, BATCH), [], []
    for faster in (False, True):
        monkeypatch.setattr(algebra, "onednn_is_faster", lambda faster=faster: faster)
        bank = Bank([PerceptronSpec.of().build(0)], [0.001], [0], task)
        bank.rehearse(rows)
        (shard,) = bank._shards
        program = shard.program(BATCH)
        used.append({call.func for call in program.tape.calls} & set(PRODUCTS))
        segments = shard.adam.segments(shard.adam.gradients)
        gradients.append([program.apart.get(i, segment).reshape(-1).clone() for i, segment in enumerate(segments)])
        with torch.inference_mode():
            assert scripted(program.tape.calls, program.rows, program.loss)
    by_onednn = {product_into, product_anew, affine_relu_into}
    assert not used[0] & by_onednn
    assert by_onednn < used[1]
    for one, other in zip(*gradients, strict=True):
        assert other.abs().max() > 0
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)


def test_the_choice_follows_from_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from a timing: a run that goes on from a checkpoint must find the same arithmetic."""
    told = Path("/proc/cpuinfo").read_text() if platform.system() == "Linux" else platform.processor()
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    assert onednn_is_faster() == (wide and torch.has_mkl and "AuthenticAMD" in told)
    for maker, wider, chosen in (
        ("AuthenticAMD", "AVX512", True),
        ("AuthenticAMD", "AVX2", False),
        ("GenuineIntel", "AVX512", False),
        ("", "AVX512", False),
    ):
        monkeypatch.setattr(algebra, "_vendor", lambda maker=maker: maker)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda wider=wider: wider)
        assert onednn_is_faster.__wrapped__() == (chosen and torch.has_mkl)


def test_a_torch_without_the_call_goes_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise AttributeError("no such operation")

    assert algebra._works()
    monkeypatch.setattr(algebra, "affine_into", gone)
    assert not algebra._works()
