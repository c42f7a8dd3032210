"""The least that a step of a transformer computes, against what torch counts; which precision is said to be faster."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from core.data.task_spec import TaskSpec
from core.forecast.products import FORMATS, faster_precision, least_seconds, product_rates
from core.methods.full import FullSpec
from core.methods.head import HeadSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.networks.forward import forward
from core.run_spec import OptimSpec, RunSpec
from tests.conftest import PRETRAIN
from tests.training.tiny_texts import ARCHITECTURES, network_of, spec_of

TEXTS = 8
RATES = {"float32": 2e9, "bfloat16": 1e9}


def direct(method: MethodSpec, kind: str = "bert", **optim: object) -> RunSpec:
    """A run from a transformer as it was imported."""
    return RunSpec.of(
        method=method,
        network=spec_of(kind),
        task=TaskSpec.of(dataset="pets", length=32),
        optim=OptimSpec.of(**optim),
        device="cpu",
    )


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What this machine's speeds are taken to be; see :data:`RATES`."""
    rates = dict(RATES)
    monkeypatch.setattr("core.forecast.products.product_rates", lambda device: rates)
    return rates


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("method", [FullSpec(), LoRASpec.of(rank=2), HeadSpec()], ids=lambda method: method.name())
def test_a_step_computes_at_least_what_is_expected(kind: str, method: MethodSpec, rates: dict[str, float]) -> None:
    spec = direct(method, kind)
    network = method.prepare(network_of(spec.network), torch.Generator().manual_seed(0))
    batch = spec.network.examples(TEXTS, torch.Generator().manual_seed(0), 32).batch(slice(None))
    with FlopCounterMode(display=False) as counter:
        forward(network, batch).sum().backward()
    tokens = next(value for value in batch.values() if value.ndim == 2).numel()
    expected = least_seconds(spec, tokens) * 2 * rates["float32"]
    assert expected <= counter.get_total_flops()
    if method.name() != "head":  # which computes nothing below its own layers again
        assert expected > 0.3 * counter.get_total_flops()


def test_the_faster_precision_is_named_where_it_was_not_chosen(rates: dict[str, float]) -> None:
    sentence = "float32 is faster here: products in bfloat16 take 2 times as long, whole steps less."
    assert faster_precision(direct(FullSpec(), precision="bfloat16")) == sentence
    assert faster_precision(direct(FullSpec())) == ""
    rates |= {"bfloat16": 2.2e9}
    assert faster_precision(direct(FullSpec())) == "", "hardly faster"
    rates |= {"bfloat16": 9e9}
    assert faster_precision(direct(FullSpec())).startswith(
        "bfloat16 is faster here: products in float32 take 4.5 times"
    )
    assert faster_precision(PRETRAIN) == "", "perceptrons have a fast step in float32 only"


def test_products_are_timed_in_each_format_and_the_threads_of_the_caller_stay() -> None:
    before = torch.get_num_threads()
    found = product_rates(torch.device("cpu"))
    assert found.keys() == FORMATS.keys()
    assert min(found.values()) > 0
    assert torch.get_num_threads() == before
