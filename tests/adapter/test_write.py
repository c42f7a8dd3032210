"""Adapter files are the same every time, and made only where they hold."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from core.adapter import apply_adapter, read_adapter
from core.adapter.archive import CARD, CERTIFICATE, CONFIG, TASK, TENSORS, json_bytes
from core.errors import AdapterError, BaseMismatchError
from core.methods.adapted import AdaptedLinear, adapted_layers, merge, merged_copy
from core.methods.layers import MATRICES, SCALINGS, LinearWithLoRA, LinearWithLoRAMerged, LowRankLinear, Scaling
from core.methods.linear import count_parameters
from core.methods.lora import LoRASpec
from core.networks.file import fingerprint
from core.networks.perceptron import PerceptronSpec
from tests.adapter.samples import BASE, ENTRIES, GOOD, LORA, MODEL, WHOLE, factor_of, logits, packed, probe, trained

pytestmark = pytest.mark.usefixtures("read_here")

ROWS = {"pixels": probe()}


def test_a_file_holds_what_the_network_holds() -> None:
    adapter = read_adapter(WHOLE)
    assert set(ENTRIES) == {TENSORS, CONFIG, CERTIFICATE, CARD, TASK}
    assert adapter.base_fingerprint == fingerprint(BASE.state_dict())
    assert adapter.layers == ("layers.0", "layers.2", "layers.4")
    assert adapter.parameters == count_parameters(MODEL, trainable=True)
    for path, layer in adapted_layers(MODEL).items():
        A, B = (adapter.tensors_of(path)[name].T for name in MATRICES)
        assert torch.equal(A, layer.lora.A)
        assert torch.equal(B, layer.lora.B)
        assert factor_of(adapter.config, path) == layer.lora.scaling
    assert all(t.dtype == torch.float32 and t.is_contiguous() for t in adapter.tensors.values())
    header = json.loads(ENTRIES[TENSORS][8 : 8 + int.from_bytes(ENTRIES[TENSORS][:8], "little")])
    assert header["__metadata__"] == {"format": "pt", "base_fingerprint": adapter.base_fingerprint}


def test_the_certificate_says_what_was_measured() -> None:
    base, model = trained(LoRASpec(rank=4, alpha=8), PerceptronSpec())
    rows = probe(PerceptronSpec(), 50)
    certificate = read_adapter(packed(base, model, LoRASpec(rank=4, alpha=8), rows)).certificate
    assert certificate is not None
    assert certificate.parameters == 6248
    assert (certificate.rank, certificate.layers) == (4, {"layers.0": 4, "layers.2": 4, "layers.4": 4})
    assert certificate.base_fingerprint == fingerprint(base.state_dict())
    assert certificate.probe_rows == 50
    assert certificate.largest_logit == logits(model, rows).abs().max().item()
    assert certificate.reloaded_difference == 0
    assert 0 < certificate.merged_difference < 1e-5
    assert certificate.merged_difference == pytest.approx(
        (logits(merged_copy(model), rows) - logits(model, rows)).abs().max().item(), rel=0.5
    )


def test_the_same_adapter_gives_the_same_bytes() -> None:
    assert {packed(BASE, MODEL, LORA, probe()) for _ in range(12)} == {WHOLE}
    other_order = LORA.but(target_modules=("layers.4", "layers.0", "layers.2"))
    assert packed(BASE, MODEL, other_order, probe()) == WHOLE
    with zipfile.ZipFile(io.BytesIO(WHOLE)) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist() == sorted(ENTRIES)
    for name in (CONFIG, CERTIFICATE):
        assert ENTRIES[name] == json_bytes(json.loads(ENTRIES[name]))


@pytest.mark.parametrize("form", [LinearWithLoRA, LinearWithLoRAMerged])
def test_a_merged_network_gives_the_same_file_and_stays_merged(form: type[LowRankLinear]) -> None:
    base, model = trained(LORA, form=form)
    model.train()
    merge(model)
    before = fingerprint(model.state_dict())
    found = read_adapter(packed(base, model, LORA, probe()))
    assert (found.config, found.tensors_sha256) == (GOOD.config, GOOD.tensors_sha256)
    # The reloaded network has two branches: it repeats the outputs of its own form bit for bit.
    assert found.certificate.reloaded_difference <= (0 if form is LinearWithLoRA else 1e-6)
    assert fingerprint(model.state_dict()) == before
    assert model.training
    assert all(layer.merged for layer in adapted_layers(model).values())


@settings(max_examples=25)
@given(
    st.sampled_from(SCALINGS),
    st.sampled_from([1e-3, 1.0, 4096.0]),
    st.sampled_from([0.01, 1.0, 30.0]),
    st.integers(1, 11),
)
def test_wild_but_finite_weights_can_be_taken_home(scaling: Scaling, alpha: float, size: float, rank: int) -> None:
    lora = LoRASpec(rank=rank, alpha=alpha, scaling=scaling)
    base, model = trained(lora)
    with torch.no_grad():
        for layer in adapted_layers(model).values():
            layer.lora.A.mul_(size)
            layer.lora.B.mul_(size)
    reloaded = apply_adapter(base, read_adapter(packed(base, model, lora, probe())))
    assert torch.equal(logits(reloaded, probe()), logits(model, probe()))


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (lambda layers: layers["layers.2"].lora.B[0, 0].fill_(torch.nan), AdapterError, "not finite"),
        (lambda layers: [layer.lora.B.fill_(1e25) for layer in layers.values()], AdapterError, "not finite"),
        (lambda layers: layers["layers.2"].linear.weight[0, 0].add_(1e-6), BaseMismatchError, "not those of its base"),
        (
            lambda layers: setattr(layers["layers.4"].lora, "scaling", 1.01 * 5 / 3),
            AdapterError,
            "not those of its LoRA settings",
        ),
    ],
    ids=["NaN", "overflow", "drift", "scaling"],
)
def test_what_does_not_hold_is_not_made(
    change: Callable[[dict[str, AdaptedLinear]], object], error: type[AdapterError], sentence: str
) -> None:
    base, model = trained(LORA)
    with torch.no_grad():
        change(adapted_layers(model))
    with pytest.raises(error, match=sentence):
        packed(base, model, LORA, probe())


@pytest.mark.parametrize(
    "change", [{"rank": 2}, {"alpha": 6}, {"scaling": "alpha"}, {"target_modules": ("layers.0", "layers.2")}], ids=str
)
def test_settings_of_another_run_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(AdapterError, match="not those of its LoRA settings"):
        packed(BASE, MODEL, LORA.but(**change), probe())


def test_only_an_adapted_network_of_a_family_and_a_fitting_probe_are_taken() -> None:
    for model in (BASE, nn.Linear(2, 2), LinearWithLoRA(nn.Linear(4, 4), 2, 8)):
        with pytest.raises(AdapterError, match="network with adapters"):
            packed(BASE, model, LORA, probe())
    for rows in (probe()[:0], probe()[0], torch.rand(3, 13), probe() * torch.nan):
        with pytest.raises(AdapterError, match="one finite input of its network: a row of 12 pixels"):
            packed(BASE, MODEL, LORA, rows)
