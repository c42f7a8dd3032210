"""The memory of a run is what the engine holds for it, counted in advance."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from core.data.sources.catalog import Catalog
from core.data.task import Task
from core.engine.jobs.run_memory import run_memory
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.methods.registry import method_of
from core.networks.perceptron import PerceptronSpec
from core.settings import Settings
from core.tasks.tasks import Tasks
from core.training.bank.bank import Bank
from core.training.ledger import Ledger
from tests.conftest import DIGITS

SMALL = PerceptronSpec.of(num_hidden_1=64, num_hidden_2=32)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return Tasks(Catalog(Settings(tmp_path_factory.mktemp("home")))).get(DIGITS)


@pytest.mark.parametrize("method", [FullSpec(), LoRASpec.of(rank=4), LoRASpec.of(rank=2, target_modules=("layers.2",))])
def test_it_is_what_a_real_bank_of_one_holds_after_a_step(task: Task, method: MethodSpec) -> None:
    network = method.prepare(SMALL.build(0), torch.Generator().manual_seed(0))
    known = [*network.parameters(), *task.train.tensors(), *task.test.tensors()]
    rows = torch.arange(64).expand(1, 1, 64)
    with Ledger([*known, rows]) as ledger:
        bank = Bank([network], [1e-3], [0], task)
        bank.program(0, 64)
        held = ledger.live + sum(parameter.nbytes for parameter in network.parameters())
    assert run_memory(SMALL, method, 64, task.num_train) == pytest.approx(held, abs=64)
    bank.advance(rows)


def test_every_image_costs_lora_the_outputs_of_the_first_frozen_layer_and_full_nothing() -> None:
    def grows(method: MethodSpec) -> int:
        return run_memory(SMALL, method, 64, 3000) - run_memory(SMALL, method, 64, 2000)

    assert grows(FullSpec()) == 0
    assert grows(LoRASpec.of(rank=1)) == grows(LoRASpec.of(rank=8)) == 1000 * 64 * 4


@pytest.mark.parametrize("control", ["head", "biases"])
def test_a_control_holds_weights_moments_and_what_its_gradients_need(control: str) -> None:
    network = method_of(control).prepare(SMALL.build(0))
    x, y = torch.rand(64, 784), torch.zeros(64, dtype=torch.int64)
    with Ledger([x, y, *network.parameters()]) as ledger:
        loss = F.cross_entropy(network(x[torch.arange(64)]), y[torch.arange(64)])
        activations = ledger.live
        loss.backward()
    assert (
        run_memory(SMALL, method_of(control), 64, 500)
        >= activations + sum(p.nbytes * (4 if p.requires_grad else 1) for p in network.parameters()) - 2 * 64 * 8
    )  # the two lists of rows


def test_a_result_has_what_the_form_foretold(filled_home: Path) -> None:
    lab = Lab(Settings(filled_home))
    for run in lab.runs():
        assert run.result
        spec, images = run.spec, len(lab.tasks.outline(run.spec.task).train)
        assert run.result.memory == run_memory(spec.network, spec.method, spec.optim.batch_size, images)
    lab.close()
