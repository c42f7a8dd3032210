"""DoRA computes what PEFT's computes, starts as the base, and is a method like the others from form to adapter file."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import transformers as hf
from peft import PeftModel
from torch import nn

from core.adapter import apply_adapter, read_adapter, verify_adapter
from core.adapter.archive import CONFIG, TENSORS, json_bytes, json_object, read_entries, zip_bytes
from core.artifacts.artifacts import MERGED
from core.engine.jobs.run_files import ADAPTER
from core.errors import AdapterError
from core.lab import Lab
from core.methods.adapted import adapted_layers, base_copy, merge, merged_copy, unmerge
from core.methods.dora import DoRASpec, LinearWithDoRA
from core.methods.full import FullSpec
from core.methods.layers import SCALINGS, Scaling
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from core.methods.method import Role
from core.networks.file import fingerprint, read_network
from core.results.arm import arms_of
from core.results.row import rows_of
from core.study.figures.palette import colours_of
from core.study.weights.change import read_change
from core.training.sharing import bank_key, sharing
from tests.adapter.samples import SMALL, assert_close, logits, packed, perturb, probe, unzip
from tests.conftest import compared, finish, short
from tests.methods.samples import peft_of, saved_by_peft
from tests.study.samples import decided_on

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # in PEFT


def trained(spec: DoRASpec, base: nn.Module) -> nn.Module:
    """The base with adapters as training leaves them: A and the magnitudes have moved, B is no longer zero."""
    model = add_lora(copy.deepcopy(base), spec, torch.Generator().manual_seed(2))
    perturb(*(parameter for parameter in model.parameters() if parameter.requires_grad))
    return model


def theirs_of(ours: nn.Module, base: nn.Module, spec: DoRASpec, **config: object) -> PeftModel:
    """PEFT's DoRA on the same base; see :func:`tests.methods.samples.peft_of`."""
    peft, _ = peft_of(
        copy.deepcopy(base),
        ours,
        r=spec.rank,
        lora_alpha=spec.alpha * (spec.rank if spec.scaling == "alpha" else 1),
        use_rslora=spec.scaling == "alpha/sqrt(r)",
        use_dora=True,
        target_modules=list(adapted_layers(ours)),
        **config,
    )
    return peft.eval()


def test_before_training_it_is_the_base_bit_for_bit() -> None:
    base = SMALL.build(1)
    model = add_lora(copy.deepcopy(base), DoRASpec.of(rank=3))
    assert torch.equal(model(probe()), base(probe()))
    assert {name.split(".")[-1] for name, p in model.named_parameters() if p.requires_grad} == {"A", "B", "magnitude"}


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("targets", [("all-linear",), ("layers.2",)], ids=str)
def test_outputs_gradients_and_merged_weights_are_those_of_peft(scaling: Scaling, targets: tuple[str, ...]) -> None:
    base, spec = SMALL.build(1).double(), DoRASpec.of(rank=3, alpha=5, scaling=scaling, target_modules=targets)
    ours = trained(spec, base)
    peft, rows = theirs_of(ours, base, spec), probe().double()
    found, expected = ours(rows), peft(rows)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert (found - base(rows)).abs().max() > 1e-2
    for each in (found, expected):
        (each**2).sum().backward()
    for path, layer in adapted_layers(ours).items():
        their = peft.get_submodule(f"base_model.model.{path}")
        for mine, other in (
            (layer.lora.A.grad.T, their.lora_A["default"].weight.grad),
            (layer.lora.B.grad.T, their.lora_B["default"].weight.grad),
            (layer.magnitude.grad, their.lora_magnitude_vector["default"].weight.grad),
        ):
            torch.testing.assert_close(mine, other, rtol=1e-7, atol=1e-10)
    merged, theirs = merged_copy(ours), peft.merge_and_unload()
    for name, weight in merged.state_dict().items():
        torch.testing.assert_close(weight, theirs.state_dict()[name], rtol=1e-9, atol=1e-12)


def test_a_transposed_layer_is_adapted_as_peft_does() -> None:
    torch.manual_seed(0)
    config = hf.GPT2Config(
        n_layer=1, n_embd=32, n_head=4, vocab_size=50, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=1
    )
    base = hf.GPT2LMHeadModel(config).double().eval()
    spec = DoRASpec.of(rank=3, alpha=5, target_modules=("c_attn", "c_fc"))
    ours = trained(spec, base)
    ids = torch.randint(3, 50, (2, 5))
    expected = theirs_of(ours, base, spec, fan_in_fan_out=True)(input_ids=ids).logits
    torch.testing.assert_close(ours(input_ids=ids).logits, expected, rtol=1e-7, atol=1e-10)
    torch.testing.assert_close(merged_copy(ours)(input_ids=ids).logits, expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_merging_keeps_the_outputs_and_unmerging_the_weights_bit_for_bit(dtype: torch.dtype) -> None:
    base = SMALL.build(1).to(dtype)
    model, rows = trained(DoRASpec.of(rank=3), base), probe().to(dtype)
    before, state = logits(model, rows), copy.deepcopy(model.state_dict())
    close = {"rtol": 1e-5, "atol": 1e-5} if dtype is torch.float32 else {"rtol": 0.1, "atol": 0.1}
    for _ in range(3):
        merge(model)
        torch.testing.assert_close(logits(model, rows), before, **close)
        unmerge(model)
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    # What is left without the adapter is the base, bit for bit.
    merge(model)
    assert fingerprint(base_copy(model).state_dict()) == fingerprint(base.state_dict())


def test_the_change_of_a_weight_is_the_same_merged_or_not() -> None:
    base = SMALL.build(1)
    model = trained(DoRASpec.of(rank=2), base)
    deltas = {path: layer.delta(torch.float64) for path, layer in adapted_layers(model).items()}
    merge(model)
    for path, layer in adapted_layers(model).items():
        assert torch.equal(layer.delta(torch.float64), deltas[path])
        weight = base.get_submodule(path).weight.double()
        torch.testing.assert_close(layer.linear.weight.double() - weight, deltas[path], rtol=1e-4, atol=1e-6)
        assert torch.linalg.matrix_rank(deltas[path]) > 2


def test_a_row_of_zeros_gives_numbers() -> None:
    linear = nn.Linear(4, 3)
    with torch.no_grad():
        linear.weight[1] = 0
    layer, x = LinearWithDoRA(linear, 2, 4.0), torch.randn(5, 4)
    assert torch.equal(layer(x), linear(x))
    layer(x).sum().backward()
    for parameter in (layer.lora.A, layer.lora.B, layer.magnitude):
        assert torch.isfinite(parameter.grad).all()


# Files


@pytest.fixture(scope="module")
def file() -> tuple[nn.Module, nn.Module, bytes]:
    """A base, it with a trained adapter, and the adapter's file."""
    base, spec = SMALL.build(1), DoRASpec.of(rank=3, alpha=5)
    model = trained(spec, base)
    return base, model, packed(base, model, spec, probe())


def test_peft_computes_what_the_trained_network_computes(tmp_path: Path, file) -> None:
    base, model, content = file
    loaded = PeftModel.from_pretrained(copy.deepcopy(base), unzip(content, tmp_path))
    assert loaded.peft_config["default"].use_dora
    assert_close(logits(loaded, probe()), logits(model, probe()))
    assert_close(logits(loaded.merge_and_unload(), probe()), logits(model, probe()))


def test_what_peft_saves_is_read_back(tmp_path: Path, file) -> None:
    base, _, content = file
    loaded = PeftModel.from_pretrained(copy.deepcopy(base), unzip(content, tmp_path / "ours"), is_trainable=True)
    perturb(*(p for p in loaded.parameters() if p.requires_grad), seed=9)
    model = apply_adapter(base, read_adapter(saved_by_peft(loaded, tmp_path)))
    assert all(type(layer) is LinearWithDoRA for layer in adapted_layers(model).values())
    assert_close(logits(model, probe()), logits(loaded, probe()))


def test_a_file_without_its_magnitudes_or_its_mark_is_refused(file) -> None:
    entries = read_entries(file[2])
    lora = {name: entries[name] for name in (CONFIG, TENSORS)}
    unmarked = json_bytes(json_object(lora[CONFIG], CONFIG) | {"use_dora": False})
    with pytest.raises(AdapterError, match="lora_magnitude_vector', which is not part of a LoRA adapter"):
        read_adapter(zip_bytes(lora | {CONFIG: unmarked}))
    plain = add_lora(SMALL.build(1), LoRASpec.of(rank=3, alpha=5))
    other = read_entries(packed(SMALL.build(1), plain, LoRASpec.of(rank=3, alpha=5), probe()))
    with pytest.raises(AdapterError, match="lacks lora_magnitude_vector of layer"):
        read_adapter(zip_bytes({CONFIG: lora[CONFIG], TENSORS: other[TENSORS]}))


@pytest.mark.slow
def test_it_is_trained_and_compared_like_any_method(lab: Lab) -> None:
    optim = short(epochs=3, rate=0.01)
    adapters = [(optim, method) for method in (LoRASpec.of(), DoRASpec.of(), DoRASpec.of(rank=1))]
    arms = [(short(rate=0.001, epochs=3), FullSpec()), *adapters]
    experiment = compared(lab, "rotation-45", "digits", None, short(epochs=3), arms, range(2))
    runs = finish(lab, *experiment.runs)
    assert {(run.state, run.cause) for run in runs} == {("finished", None)}
    assert [arm.label for arm in arms_of(rows_of(runs))] == ["Full", "LoRA r=4", "DoRA r=1", "DoRA r=4"]
    assert len(set(colours_of(run.spec for run in runs).values())) == 4
    lora, dora = (next(run for run in runs if run.spec.label == label) for label in ("LoRA r=4", "DoRA r=4"))
    assert (dora.spec.role, sharing("dora", "perceptron").step, dora.result.bank) == (Role.ADAPTER, "autograd", 1)
    assert bank_key(dora.spec) != bank_key(lora.spec)
    assert dora.result.trainable_parameters == lora.result.trainable_parameters + 128 + 256 + 10
    # Its files: the adapter is verified against the base, and merging gives a plain network.
    found = verify_adapter(lab.artifacts.path(dora.id, ADAPTER), lab.artifacts.base(dora))
    assert found.parameters == dora.result.trainable_parameters
    network = read_network(lab.artifacts.path(dora.id, MERGED))
    assert network(torch.rand(3, 784)).shape == (3, 10)
    change = read_change(lab, dora)
    assert all(change.delta(path).any() for path in change.layers)
    assert "DoRA r=4" in {candidate.arm.label for candidate in decided_on(rows_of(runs)).candidates}
