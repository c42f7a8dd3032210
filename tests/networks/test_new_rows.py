"""New rows are those that were drawn, in the tensors that have a row for each output, and nothing else changes."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from core.lab import Lab
from core.networks.new_rows import NewRows
from core.networks.perceptron import PerceptronSpec
from core.networks.transformer import TransformerSpec
from core.settings import Settings
from tests.networks.tiny import save_tiny

SMALL = PerceptronSpec.of(num_features=6, num_hidden_1=5, num_hidden_2=4, num_classes=5)

HEADS = {
    "bert": ("classifier.weight", "classifier.bias"),
    "roberta": ("classifier.out_proj.weight", "classifier.out_proj.bias"),
    "gpt2": ("score.weight",),
}
"""Tensors with a row for each output, by architecture; what else is in a head does not depend on the classes."""


def test_rows_of_a_perceptron_are_put_back_and_all_other_bits_stay() -> None:
    network = SMALL.build(seed=3)
    drawn = copy.deepcopy(network.state_dict())
    rows = NewRows.of(network, SMALL, (3, 0))
    assert rows is not None
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    trained = copy.deepcopy(network.state_dict())
    rows.put_into(network)
    for name, tensor in network.state_dict().items():
        if not name.startswith("layers.4."):
            assert torch.equal(tensor, trained[name])
            continue
        for output in range(5):
            origin = trained if output in (0, 3) else drawn
            assert torch.equal(tensor[output], origin[name][output])


@pytest.mark.parametrize("classes", [(), range(5)])
def test_a_task_that_leaves_no_class_out_has_no_new_rows(classes: tuple[int, ...]) -> None:
    assert NewRows.of(SMALL.build(seed=3), SMALL, classes) is None


@pytest.mark.parametrize("architecture", HEADS)
def test_the_outputs_of_a_head_are_found_in_every_architecture(architecture: str, tmp_path: Path) -> None:
    lab = Lab(Settings(home=tmp_path / "home"))
    card = lab.networks.import_folder(save_tiny(tmp_path / "tiny", architecture), "tiny")
    spec = lab.networks.spec(card.digest, 4)
    lab.close()
    assert isinstance(spec, TransformerSpec)
    assert spec.output_tensors() == HEADS[architecture]
