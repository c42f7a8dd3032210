"""Certificates: what rounding explains passes, however much was summed, and nothing else does."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import nn

from core.adapter import read_adapter, verify_adapter
from core.adapter.archive import CERTIFICATE, json_bytes, zip_bytes
from core.adapter.certificate import MERGED_TOLERANCE, largest_summed, logits_of, merged_comparison, merged_logits_of
from core.errors import AdapterError, VerificationError
from core.methods.adapted import AdaptedLinear, adapted_layers
from core.methods.dora import DoRASpec
from core.methods.lora import LoRASpec
from core.methods.low_rank import LowRankSpec
from core.networks.perceptron import MultilayerPerceptron
from tests.adapter.samples import ENTRIES, SMALL, packed, perturb, probe
from tests.data.uploaded import entries_of

ROWS = {"pixels": probe()}


def cancelling(size: float, lora: LowRankSpec) -> tuple[MultilayerPerceptron, nn.Module]:
    """A base whose first weight has a part of this size that the adapter takes away again, as training at a far too
    high rate leaves it: logits are small, and what is summed on the way is large."""
    base = SMALL.build(seed=1)
    up, down = torch.linspace(1, 2, 11), torch.linspace(-1, 2, 12)
    with torch.no_grad():
        base.layers[0].weight += size * torch.outer(up, down)  # type: ignore[operator]
    model = lora.prepare(copy.deepcopy(base), torch.Generator().manual_seed(2))
    layers = adapted_layers(model)
    for layer in layers.values():
        perturb(*layer.lora.parameters())
    with torch.no_grad():
        first = layers["layers.0"].lora
        first.A[:, 0], first.B[0] = down, -size * up / first.scaling
    return base, model


LORA, DORA = LoRASpec(rank=3, alpha=5), DoRASpec(rank=3, alpha=5)


@pytest.mark.parametrize("lora", [LORA, DORA], ids=["LoRA", "DoRA"])
def test_sums_that_cancel_are_rounding_and_no_failure(lora: LowRankSpec) -> None:
    base, model = cancelling(3e3, lora)
    logits = logits_of(model, ROWS)
    found = (logits - merged_logits_of(model, ROWS)).abs().max().item()
    assert found > MERGED_TOLERANCE * max(1.0, logits.abs().max().item())
    with torch.no_grad():  # in float64 both are the same: nothing is wrong with this adapter
        exact = copy.deepcopy(model).double()
        rows = {"pixels": probe().double()}
        torch.testing.assert_close(merged_logits_of(exact, rows), logits_of(exact, rows), atol=1e-7, rtol=1e-7)

    content = packed(base, model, lora, probe())
    certificate = read_adapter(content).certificate
    assert certificate is not None
    assert certificate.merged_difference == pytest.approx(found)
    assert verify_adapter(content, base).certified


@pytest.mark.parametrize("size", [0.0, 3e3])
@pytest.mark.parametrize("path", ["layers.0", "layers.2", "layers.4"])
def test_a_layer_that_is_merged_with_a_scaling_off_by_a_percent_fails(
    size: float, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a small layer where another one sums so much that the logits could be anything."""
    _, model = cancelling(size, LORA)
    wrong, whole = adapted_layers(model)[path], AdaptedLinear.summed_weight

    def broken(layer: AdaptedLinear) -> torch.Tensor:
        return whole(layer) + (0.01 * layer.delta() if layer is wrong else 0)

    monkeypatch.setattr(AdaptedLinear, "summed_weight", broken)
    with pytest.raises(VerificationError, match="differ by"):
        merged_comparison(model, ROWS, logits_of(model, ROWS))


def test_what_is_summed_is_at_least_every_product_and_every_output() -> None:
    _, model = cancelling(3e3, LORA)
    seen: list[float] = []

    def look(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        seen.append(output.abs().max().item())

    handles = [module.register_forward_hook(look) for module in model.modules()]
    logits_of(model, ROWS)
    for handle in handles:
        handle.remove()
    assert largest_summed(model, ROWS) >= max(seen)
    assert not any(module._forward_hooks for module in model.modules())


def test_a_layer_that_is_not_called_is_not_vouched_for() -> None:
    _, model = cancelling(3e3, LORA)

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside, self.unused = model, copy.deepcopy(adapted_layers(model)["layers.0"])

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.inside(pixels)

    assert largest_summed(model, ROWS) > 1e3
    assert largest_summed(Around(), ROWS) == 0


def test_a_certificate_may_state_what_rounding_explains_and_no_more() -> None:
    base, model = cancelling(3e3, LORA)
    entries = entries_of(packed(base, model, LORA, probe()))
    assert entries.keys() == ENTRIES.keys()
    claims = json.loads(entries[CERTIFICATE])
    assert claims.keys() == json.loads(ENTRIES[CERTIFICATE]).keys()  # as earlier versions write and read them
    for stated, passes in ((2 * claims["merged_difference"], True), (1e3, False), (-1e-9, False)):
        content = zip_bytes(entries | {CERTIFICATE: json_bytes(claims | {"merged_difference": stated})})
        if passes:
            assert verify_adapter(content, base).certified
        else:
            with pytest.raises(AdapterError, match="above the tolerance"):
                verify_adapter(content, base)
