"""A method that only tests register, on transformers: files that PEFT reads, and rows of one batch beside LoRA."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import nn

from core.adapter import AdapterFile, Card, adapter_bytes, apply_adapter, read_adapter
from core.methods.adapter import AdapterSpec
from core.methods.dora import DoRASpec
from core.methods.lora import LoRASpec
from core.networks.file import base_fingerprint
from core.serving.mixed import MixedNetwork
from tests.adapter.classifiers import Sample, logits, sample
from tests.adapter.samples import assert_close, perturb, unzip
from tests.methods.rescaled import RescaledSpec

pytestmark = [
    pytest.mark.usefixtures("registered", "read_here"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # PEFT calls it
]

SPECS: dict[str, AdapterSpec] = {
    "ia3": RescaledSpec.of(),
    "part": RescaledSpec.of(group=3, target_modules=("attention",)),
    "lora": LoRASpec.of(rank=3),
    "dora": DoRASpec.of(rank=2),
}


def trained(one: Sample, spec: AdapterSpec, seed: int = 2) -> nn.Module:
    """The network with an adapter and a head, all moved as by training."""
    model = spec.prepare(one.base, torch.Generator().manual_seed(seed))
    perturb(*(parameter for parameter in model.parameters() if parameter.requires_grad), seed=seed)
    return model.eval()


def packed(one: Sample, model: nn.Module, spec: AdapterSpec) -> bytes:
    mark = base_fingerprint(one.base)
    return adapter_bytes(model, spec, base_fingerprint=mark, card=Card("r", "b"), probe=one.probe)


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_peft_gives_the_same_logits_also_where_weights_are_transposed(tmp_path: Path, architecture: str) -> None:
    one = sample(architecture)
    model = trained(one, SPECS["ia3"])
    loaded = PeftModel.from_pretrained(one.base, unzip(packed(one, model, SPECS["ia3"]), tmp_path))
    expected = logits(model, one.probe)
    assert_close(logits(loaded, one.probe), expected)
    assert_close(logits(loaded.merge_and_unload(), one.probe), expected, 1e-4)
    assert (expected - logits(one.base, one.probe)).abs().max() > 0.1


@pytest.mark.parametrize("architecture", ["bert", "deberta-v2", "gpt2"])
@pytest.mark.parametrize(
    "names",
    [["ia3", None, "lora", "part", "dora", None], ["ia3", "part", "ia3"], ["lora", "ia3"], ["ia3"], [None, "part"]],
    ids=str,
)
def test_each_row_has_its_own_adapter_and_the_base_stays(architecture: str, names: list[str | None]) -> None:
    one = sample(architecture)
    files: dict[str, AdapterFile] = {
        name: read_adapter(packed(one, trained(one, spec, seed), spec))
        for seed, (name, spec) in enumerate(SPECS.items())
        if name in names
    }
    network = MixedNetwork(one.base, files.__getitem__, 2**24)
    batch = {name: tensor[: len(names)] for name, tensor in copy.deepcopy(one.probe).items()}
    found, plain = network.answer(batch, names), logits(one.base, batch)
    alone = {name: logits(apply_adapter(one.base, file), batch) for name, file in files.items()}
    for row, name in enumerate(names):
        if name is None:
            assert torch.equal(found[row], plain[row])
        else:
            torch.testing.assert_close(found[row], alone[name][row], rtol=1e-5, atol=1e-5)
