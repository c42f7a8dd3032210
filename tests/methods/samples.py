"""Small networks with adapters as training leaves them, in both forms, all scalings, ranks and dtypes; and PEFT's."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from core.methods.adapted import adapted_layers
from core.methods.dora import LinearWithDoRA
from core.methods.layers import SCALINGS, LinearWithLoRA, LinearWithLoRAMerged, LowRankLinear, Scaling
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from core.networks.file import fingerprint
from core.networks.perceptron import PerceptronSpec

if TYPE_CHECKING:
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer

FORMS: list[type[LowRankLinear]] = [LinearWithLoRA, LinearWithLoRAMerged]
RANKS = [1, 3, 8]
DTYPES = [torch.float64, torch.float32, torch.bfloat16]
CLOSE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 4e-2}
"""Relative rounding that a sum of some twenty products may have."""

SMALL = PerceptronSpec(num_features=12, num_hidden_1=10, num_hidden_2=9, num_classes=8)
each_form = pytest.mark.parametrize("form", FORMS)
each_scaling = pytest.mark.parametrize("scaling", SCALINGS)
each_rank = pytest.mark.parametrize("rank", RANKS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def perturbed(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every A and B values as after training: B is no longer zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in adapted_layers(model).values():
            layer.lora.A.add_(torch.randn(layer.lora.A.shape, generator=generator).to(layer.lora.A) * 0.2)
            layer.lora.B.copy_(torch.randn(layer.lora.B.shape, generator=generator) * 0.2)
    return model


def network(
    form: type[LowRankLinear] = LinearWithLoRA,
    scaling: Scaling = "alpha/r",
    rank: int = 3,
    dtype: torch.dtype = torch.float32,
    targets: tuple[str, ...] = ("all-linear",),
) -> nn.Module:
    spec = LoRASpec(rank=rank, alpha=2.5, scaling=scaling, target_modules=targets)
    base = SMALL.build(seed=1).to(dtype)
    return perturbed(add_lora(base, spec, torch.Generator().manual_seed(2), form))


def peft_of(base: nn.Module, ours: nn.Module, **config: object) -> tuple[PeftModel, dict[str, LoraLayer]]:
    """PEFT's adapter on a base, holding copies of our tensors; and its layers by our paths."""
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora import LoraLayer

    peft = get_peft_model(base, LoraConfig(lora_dropout=0.0, **config), autocast_adapter_dtype=False)
    layers = {path.removeprefix("base_model.model."): m for path, m in peft.named_modules() if isinstance(m, LoraLayer)}
    with torch.no_grad():
        for path, layer in adapted_layers(ours).items():
            layers[path].lora_A["default"].weight.copy_(layer.lora.A.T)
            layers[path].lora_B["default"].weight.copy_(layer.lora.B.T)
            if isinstance(layer, LinearWithDoRA):
                layers[path].lora_magnitude_vector["default"].weight.copy_(layer.magnitude)
    return peft, layers


def saved_by_peft(model: PeftModel, folder: Path) -> bytes:
    """The files that PEFT writes of an adapter, in one that is read by ours."""
    model.save_pretrained(folder / "theirs")
    return Path(shutil.make_archive(str(folder / "theirs"), "zip", folder / "theirs")).read_bytes()


def inputs(dtype: torch.dtype = torch.float32, rows: int = 7) -> Tensor:
    return torch.randn(rows, 12, generator=torch.Generator().manual_seed(3)).to(dtype)


def close(one: Tensor, two: Tensor, dtype: torch.dtype) -> None:
    assert one.dtype == two.dtype
    assert (one - two).abs().max() <= CLOSE[dtype] * max(1.0, two.abs().max().item())


def weights(model: nn.Module) -> str:
    return fingerprint(model.state_dict())
