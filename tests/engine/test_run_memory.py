"""The memory of a run is what trains it holds, counted in advance."""

from __future__ import annotations

import copy
from contextlib import closing
from pathlib import Path

import pytest
import torch

from core.data.examples import Task
from core.engine.jobs.run_memory import Ledger, run_memory
from core.lab import Lab
from core.memory import training_bytes
from core.methods.full import FullSpec
from core.methods.head import HeadSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.methods.registry import method_of
from core.networks.perceptron import PerceptronSpec
from core.objectives.registry import CLASSIFICATION
from core.run_spec import OptimSpec
from core.settings import Settings
from core.training.bank import algebra
from core.training.bank.bank import Bank
from core.training.bank.footprint import bank_bytes
from tests.training.tiny_texts import spec_of

SMALL = PerceptronSpec.of(num_hidden_1=64, num_hidden_2=32)
BERT = spec_of("bert", layers=2, max_position_embeddings=512)
PLAIN = OptimSpec.of(batch_size=16)
SECOND, LAST = ("layers.2",), ("layers.4",)
BANKS: dict[str, tuple[list[MethodSpec], list[int]]] = {
    "full": ([FullSpec()] * 3, [0, 0, 1]),
    "one with adapters": ([LoRASpec.of(rank=1)], [0]),
    "of two seeds": ([LoRASpec.of(rank=4)] * 8, [0] * 4 + [1] * 4),
    "of several ranks": ([LoRASpec.of(rank=rank) for rank in (1, 2, 4, 8, 16)], [0, 0, 0, 1, 1]),
    "of several shards": ([LoRASpec.of(rank=16)] * 17, [0] * 17),
    "with the second layer": ([LoRASpec.of(rank=2, target_modules=SECOND)] * 2, [0, 1]),
    "with the last layer": ([LoRASpec.of(rank=2, target_modules=LAST)] * 2, [0, 0]),
    "with other layers": ([LoRASpec.of(rank=2, target_modules=SECOND), LoRASpec.of(rank=4)], [0, 0]),
}


@pytest.mark.parametrize("onednn", [False, True])
@pytest.mark.parametrize("name", BANKS)
def test_a_bank_takes_what_its_tensors_do(name: str, onednn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On ``meta``, since the choice of the library is that of another processor."""
    monkeypatch.setattr(algebra, "onednn_is_faster", lambda: onednn)
    methods, orders = BANKS[name]
    for hidden, batches in ((64, 32), [16]), ((128, 256), [64, 8]), ((512, 512), [1024]):
        base = PerceptronSpec.of(num_hidden_1=hidden[0], num_hidden_2=hidden[1]).build()
        shared = {id(parameter): parameter for parameter in base.parameters()}
        networks = [method.prepare(copy.deepcopy(base, dict(shared))) for method in methods]
        task = Task.of_one_part(PerceptronSpec.of().examples(2000), 10)
        with Ledger([*task.train.tensors(), *(p for network in networks for p in network.parameters())]) as ledger:
            bank = Bank(networks, [1e-3] * len(networks), orders, task)
            for shard in range(bank.shards):
                for batch in batches:
                    bank.program(shard, batch)
            held = ledger.live
        assert bank_bytes(networks, orders, batches, 2000) == held


def test_every_image_costs_lora_the_outputs_of_the_first_frozen_layer_and_full_nothing() -> None:
    def grows(method: MethodSpec) -> int:
        return run_memory(SMALL, method, PLAIN, 3000) - run_memory(SMALL, method, PLAIN, 2000)

    assert grows(FullSpec()) == 0
    assert grows(LoRASpec.of(rank=1)) == grows(LoRASpec.of(rank=8)) == 1000 * 64 * 4


@pytest.mark.parametrize("control", ["head", "biases"])
def test_a_control_holds_weights_moments_and_what_its_gradients_need(control: str) -> None:
    network = method_of(control).prepare(SMALL.build(0))
    x, y = torch.rand(16, 784), torch.zeros(16, dtype=torch.int64)
    with Ledger([x, y, *network.parameters()]) as ledger:
        loss = CLASSIFICATION.loss(network(x), y)
        activations = ledger.live
        loss.backward()  # type: ignore[no-untyped-call]
    assert run_memory(SMALL, method_of(control), PLAIN, 500) >= activations + training_bytes(network)


def test_a_result_has_what_the_form_foretold(filled_home: Path) -> None:
    with closing(Lab(Settings(filled_home))) as lab:
        for run in lab.store.runs():
            spec, images = run.spec, len(lab.tasks.outline(run.spec.task).train)
            assert run.result.memory == run_memory(spec.network, spec.method, spec.optim, images)


def of_texts(method: MethodSpec, optim: OptimSpec = PLAIN, longest: int = 64) -> int:
    return run_memory(BERT, method, optim, 100, longest)


def test_longer_texts_and_larger_batches_need_more_and_attention_is_quadratic_in_the_length() -> None:
    assert of_texts(FullSpec()) < of_texts(FullSpec(), OptimSpec.of(batch_size=32))
    steps = [of_texts(FullSpec(), longest=length) for length in (64, 128, 192)]
    assert 0 < steps[1] - steps[0] < steps[2] - steps[1]


def test_a_batch_in_parts_needs_what_a_part_needs() -> None:
    assert of_texts(FullSpec(), OptimSpec.of(batch_size=32, accumulation=2)) == of_texts(FullSpec())


def test_what_lies_below_the_first_adapter_needs_no_activations() -> None:
    everywhere = of_texts(LoRASpec.of(rank=2, target_modules=("query",)))
    last = of_texts(LoRASpec.of(rank=2, target_modules=("bert.encoder.layer.1.attention.self.query",)))
    assert of_texts(HeadSpec()) < last < everywhere
