"""Rows of an embedding whose tokens no training text has are what Adam on the whole embedding makes of them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import core.training.vocabulary
from core.methods.full import FullSpec
from core.methods.head import HeadSpec
from core.run_spec import OptimSpec
from core.training.autograd import AutogradStepper
from core.training.vocabulary import TrainedRows
from tests.training.conftest import check_resumes, tensors_of
from tests.training.tiny_texts import ARCHITECTURES, batches, network_of, spec_of, task_of

OPTIM = OptimSpec.of(batch_size=8, epochs=4, learning_rate=0.01, weight_decay=0.2, warmup=0.2, decay="linear", clip=0.5)


def few_words(count: int = 40):
    """A task whose training texts have six tokens only."""
    task = task_of(count)
    task.train.tokens.copy_(3 + task.train.tokens % 6)
    return task


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_everything_is_that_of_the_whole_embedding(kind: str, decay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    task, rows = few_words(), batches(task_of(), 12)
    optim = OPTIM.but(weight_decay=decay)
    network = network_of(spec_of(kind, 2, dropout=0.0), 0, torch.float64)
    apart = AutogradStepper(copy.deepcopy(network), optim, task)
    monkeypatch.setattr(core.training.vocabulary, "MAX_SHARE", 0.0)
    together = AutogradStepper(network, optim, task)  # trains every row
    assert apart._rows is not None
    assert together._rows is None
    assert (apart.advance(rows) - together.advance(rows)).abs().max() < 1e-12
    assert apart.evaluate(0)[0].loss == pytest.approx(together.evaluate(0)[0].loss, abs=1e-12)
    pairs = zip(tensors_of(apart.train_state(0)), tensors_of(together.train_state(0)), strict=True)
    assert max((own - other).abs().max() for own, other in pairs) < 1e-12
    assert "forward" not in apart.network.get_input_embeddings().__dict__


@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_a_run_resumes_to_the_last_bit_whenever_its_weights_were_asked_for(decay: float) -> None:
    task, optim = few_words(), OPTIM.but(weight_decay=decay)
    check_resumes(
        lambda: AutogradStepper(network_of(spec_of("bert", dropout=0.2)), optim, task), batches(task_of(), 10)
    )


def test_restored_weights_are_trained_on() -> None:
    task, rows = few_words(), batches(task_of(), 6)
    stepper = AutogradStepper(network_of(spec_of("bert", dropout=0.0)), OPTIM.but(weight_decay=0), task)
    kept, before = stepper.trained(0), stepper.evaluate(0)
    first = stepper.advance(rows)[0]
    stepper.restore(0, kept)
    assert stepper.evaluate(0) == before
    assert torch.equal(stepper.advance(rows)[0], first)


def test_the_network_has_the_rows_when_training_ends() -> None:
    stepper = AutogradStepper(network_of(spec_of("bert")), OPTIM, few_words())
    before = stepper.network.get_input_embeddings().weight.detach().clone()
    stepper.advance(batches(task_of(), 3))
    stepper.write_back(0)
    changed = (stepper.network.get_input_embeddings().weight != before).any(1)
    assert changed[3:9].all()


def test_a_frozen_embedding_and_one_whose_rows_all_occur_are_left_alone() -> None:
    network = network_of(spec_of("bert"))
    assert TrainedRows.of(FullSpec().prepare(copy.deepcopy(network)), few_words(), True) is not None
    assert TrainedRows.of(HeadSpec().prepare(copy.deepcopy(network)), few_words(), True) is None
    assert TrainedRows.of(network, task_of(400), True) is None
    network.other = nn.Linear(16, 28)
    network.other.weight = network.get_input_embeddings().weight  # tied
    assert TrainedRows.of(network, few_words(), True) is None
