"""A blend is the weighted sum of the changes, computed here by hand, for every method and scaling."""

from __future__ import annotations

import copy
from itertools import combinations, product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.adapter import AdapterFile, apply_adapter, read_adapter
from core.adapter import blend as blending
from core.adapter.blend import blend
from core.adapter.card import Card
from core.adapter.certificate import logits_of
from core.adapter.write import adapter_bytes
from core.errors import BaseMismatchError, LoRAError
from core.methods.layers import MATRICES, scaling_factor
from core.methods.linear import features, is_linear
from core.methods.lora import LoRASpec
from core.methods.merging import merged_copy
from core.networks.fingerprint import base_fingerprint
from tests.adapter.classifiers import Sample, sample_of
from tests.adapter.samples import SMALL, assert_close, logits, perturb, probe
from tests.networks.tiny import save_tiny
from tests.serving.test_mixed import BASE, FILES, SPECS, WITH_HEAD

pytestmark = pytest.mark.usefixtures("read_here")

LORA = [name for name, spec in zip(FILES, SPECS, strict=True) if isinstance(spec, LoRASpec)]
DORA = [name for name in FILES if name not in LORA]
ATTENTION = tuple(f"attention.{name}" for name in ("self.query", "self.key", "self.value", "output.dense"))
IN_A_BLOCK = (*ATTENTION, "intermediate.dense", "output.dense")
FULL_RANK = max(min(features(module)) for module in BASE.modules() if is_linear(module))


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {path: module.weight.detach().double() for path, module in network.named_modules() if is_linear(module)}


def change(name: str) -> dict[str, Tensor]:
    """ΔW of an adapter, from its matrices and magnitudes."""
    file, spec = FILES[name], SPECS[int(name[2:])]
    found = {path: torch.zeros_like(weight) for path, weight in weights(BASE).items()}
    for path in file.layers:
        A, B = (file.tensors_of(path)[name].T.double() for name in MATRICES)
        found[path] = scaling_factor(spec.scaling, spec.alpha, spec.rank) * (A @ B).T
        if name in DORA:
            base = weights(BASE)[path]
            direction = base + found[path]
            magnitude = file.tensors_of(path)["lora_magnitude_vector"].double()
            found[path] = (magnitude / direction.norm(dim=1))[:, None] * direction - base
    if name in WITH_HEAD:
        found["layers.4"] = file.head["layers.4.weight"].double() - weights(BASE)["layers.4"]
    return found


def merged_change(network: nn.Module) -> dict[str, Tensor]:
    base = weights(BASE)
    return {path: weight - base[path] for path, weight in weights(merged_copy(network)).items()}


@pytest.mark.parametrize(
    ("names", "factors", "rank"),
    [
        *product(combinations(LORA, 2), [(0.5, 0.5), (1.5, -0.7)], [None]),
        *product(combinations(FILES, 2), [(0.3, 0.7)], [FULL_RANK]),
    ],
)
def test_every_change_is_summed_with_the_full_rank_and_those_of_lora_with_the_rank_of_both(
    names: tuple[str, str], factors: tuple[float, float], rank: int | None
) -> None:
    parts = list(zip(names, factors, strict=True))
    if len({name in WITH_HEAD for name in names}) > 1:
        with pytest.raises(LoRAError, match="have a head of their own, and others have none"):
            blend(BASE, [(FILES[name], factor) for name, factor in parts], rank)
        return
    network, spec, _ = blend(BASE, [(FILES[name], factor) for name, factor in parts], rank)
    assert spec.rank <= (rank or sum(SPECS[int(name[2:])].rank for name in names))
    changes = [{path: factor * delta for path, delta in change(name).items()} for name, factor in parts]
    rtol, atol = (1e-4, 1e-5) if rank else (1e-5, 1e-6)
    for path, found in merged_change(network).items():
        torch.testing.assert_close(found, changes[0][path] + changes[1][path], rtol=rtol, atol=atol)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_a_lower_rank_keeps_the_best_approximation_of_each_layer(rank: int) -> None:
    first, second = LORA[0], LORA[2]
    network, spec, kept = blend(BASE, [(FILES[first], 0.5), (FILES[second], 2.0)], rank)
    assert spec.rank == rank
    energies = []
    for path, found in merged_change(network).items():
        total = (0.5 * change(first)[path] + 2.0 * change(second)[path]).numpy()
        left, values, right = np.linalg.svd(total, full_matrices=False)
        best = (left[:, :rank] * values[:rank]) @ right[:rank]
        np.testing.assert_allclose(found.numpy(), best, atol=1e-5)
        energies.append((np.square(best).sum(), np.square(total).sum()))
    best_energy, energy = np.sum(energies, 0)
    assert kept == pytest.approx(best_energy / energy, rel=1e-5)


def test_a_blend_with_the_rank_of_both_keeps_everything_and_so_does_one_without_a_change() -> None:
    for rank, factor in ((None, 1.0), (FULL_RANK, 1.0), (1, 0.0)):
        assert blend(BASE, [(FILES[LORA[0]], factor), (FILES[LORA[2]], -factor)], rank)[2] == 1


def test_a_blend_is_written_and_read_as_any_adapter() -> None:
    network, spec, _ = blend(BASE, [(FILES[LORA[0]], 0.5), (FILES[LORA[3]], 0.5)])
    content = adapter_bytes(
        network, spec, base_fingerprint=base_fingerprint(BASE), card=Card("a + b", "r-base"), probe={"pixels": probe()}
    )
    read = read_adapter(content)
    assert read.certificate is not None
    assert read.certificate.rank == spec.rank
    assert_close(logits(apply_adapter(BASE, read), probe()), logits(network, probe()))


def test_one_adapter_with_weight_one_is_itself_and_the_base_stays() -> None:
    before = copy.deepcopy(BASE.state_dict())
    network, spec, _ = blend(BASE, [(FILES[LORA[1]], 1.0)])
    assert spec.rank == SPECS[1].rank
    assert_close(logits(network, probe()), logits(apply_adapter(BASE, FILES[LORA[1]]), probe()))
    assert all(torch.equal(before[name], tensor) for name, tensor in BASE.state_dict().items())


@pytest.fixture(scope="module")
def tall(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A BERT of 12 blocks: 73 linear layers, more than the names that settings may have."""
    return sample_of(save_tiny(tmp_path_factory.mktemp("tall") / "bert", num_hidden_layers=12))


def file_of(tall: Sample, spec: LoRASpec, seed: int) -> AdapterFile:
    model = tall.trained(spec)
    perturb(*(parameter for parameter in model.parameters() if parameter.requires_grad), seed=seed)
    return read_adapter(tall.packed(model, spec))


def test_adapters_on_all_layers_of_many_blocks_are_blended(tall: Sample) -> None:
    specs = LoRASpec.of(rank=2), LoRASpec.of(rank=3, alpha=1.0, target_modules=("attention",))
    files = [file_of(tall, spec, seed) for seed, spec in enumerate(specs)]
    assert len(files[0].layers) == 73
    network, spec, _ = blend(tall.base, [(files[0], 0.5), (files[1], -0.7)])
    base, merged = weights(tall.base), weights(merged_copy(network))
    for path in files[0].layers:
        expected = torch.zeros_like(base[path])
        for file, own, weight in zip(files, specs, (0.5, -0.7), strict=True):
            if path in file.layers:
                A, B = (file.tensors_of(path)[name].T.double() for name in MATRICES)
                expected += weight * own.alpha / own.rank * (A @ B).T
        torch.testing.assert_close(merged[path] - base[path], expected, rtol=1e-5, atol=1e-6)
    written = read_adapter(tall.packed(network, spec))
    assert written.layers == files[0].layers
    assert_close(logits_of(apply_adapter(tall.base, written), tall.probe), logits_of(network, tall.probe))


def test_layers_that_take_too_many_names_are_refused_in_a_sentence(
    tall: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blending, "MAX_TARGETS", 64)
    blocks = [f"layer.{block}.{name}" for block in range(1, 12) for name in IN_A_BLOCK]  # not the first one
    files = [file_of(tall, LoRASpec.of(rank=1, target_modules=part), 0) for part in (blocks[:33], blocks[33:])]
    with pytest.raises(LoRAError, match=r"takes 66 names .* 64 is the limit"):
        blend(tall.base, [(file, 0.5) for file in files])


def test_dora_needs_a_rank_and_bases_must_be_one() -> None:
    with pytest.raises(LoRAError, match="choose the rank"):
        blend(BASE, [(FILES[LORA[0]], 0.5), (FILES[DORA[0]], 0.5)])
    with pytest.raises(BaseMismatchError):
        blend(SMALL.build(9), [(FILES[LORA[0]], 1.0)])
