"""The least that a step of a transformer computes, against what torch counts; which precision is said to be faster."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from core.data.task_spec import TaskSpec
from core.engine.jobs.job import Commands, Dependencies, Job
from core.engine.jobs.messages import Ended
from core.engine.jobs.run_job import run_job
from core.forecast.calibration import Calibrator
from core.forecast.estimates import Estimates
from core.forecast.products import FORMATS, faster_precision, least_seconds, product_rates
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.head import HeadSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.networks.forward import forward
from core.run_spec import OptimSpec, RunSpec
from core.settings import Settings
from tests.conftest import PRETRAIN
from tests.text_home import PETS, import_tiny
from tests.training.tiny_texts import ARCHITECTURES, network_of, spec_of

TEXTS = 8
ON_TOP = LoRASpec.of(rank=2, target_modules=["layer.1.output.dense"])
RATES = {"float32": 2e9, "bfloat16": 1e9}


def linear_flops(inputs: torch.Size, *_: object, out_shape: torch.Size, **more: object) -> int:
    """Operations of oneDNN's product, which torch does not count."""
    return 2 * inputs.numel() * out_shape[-1]


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
        assert expected > 0.25 * counter.get_total_flops()


@pytest.mark.parametrize("method", [FullSpec(), ON_TOP], ids=["full", "lora"])
def test_a_whole_run_computes_at_least_what_is_expected_evaluations_and_checks_included(
    method: MethodSpec, idle: Lab, tmp_path: Path, rates: dict[str, float]
) -> None:
    network = import_tiny(idle, tmp_path / "tiny")
    optim = OptimSpec.of(epochs=3, batch_size=16)
    spec = RunSpec.of(method=method, network=network, task=PETS.but(shots=4), optim=optim, device="cpu")
    dependencies = Dependencies(idle.tasks, idle.networks)
    with FlopCounterMode(display=False, custom_mapping={torch.ops.mkldnn._linear_pointwise: linear_flops}) as counter:
        *_, end = run_job(Job.of("r-1", spec, threads=1), dependencies, Commands())
    assert isinstance(end, Ended), end
    calibrator = Calibrator(lambda: True)  # so that nothing is ever timed
    with closing(Estimates(Settings(idle.settings.home, threads=1), idle.store, idle.tasks, calibrator)) as estimates:
        (whole,), (steps,) = [estimates.each([spec], training=training) for training in (False, True)]
        assert estimates.whole([spec]) == whole, "of one run both say the same"
        shorter = estimates.whole([spec.but(optim=optim.but(epochs=90, patience=2))])
    assert whole.seconds_low * 2 * rates["float32"] <= counter.get_total_flops()
    assert whole.seconds_low * 2 * rates["float32"] > 0.25 * counter.get_total_flops()
    assert whole.seconds_low > 1.5 * steps.seconds_low
    assert shorter.seconds_low == whole.seconds_low, "patience may end it after three epochs"
    assert whole.seconds_high is None


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
