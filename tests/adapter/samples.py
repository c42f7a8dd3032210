"""A small network with a trained adapter, its file, and files like those that PEFT writes."""

from __future__ import annotations

import copy
import io
import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from core.adapter import AdapterConfig, AdapterFile, Card, adapter_bytes, read_adapter
from core.adapter.archive import CONFIG, TENSORS, zip_bytes
from core.methods.adapted import adapted_layers
from core.methods.layers import LinearWithLoRA, LowRankLinear, scaling_factor
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from core.methods.targets import head_state
from core.networks.file import fingerprint
from core.networks.perceptron import MultilayerPerceptron, PerceptronSpec
from tests.data import uploaded
from tests.data.uploaded import Entry, entries_of

WIDE = PerceptronSpec(num_features=300, num_hidden_1=220, num_hidden_2=210, num_classes=10)
SMALL = PerceptronSpec(num_features=12, num_hidden_1=11, num_hidden_2=9, num_classes=5)
HOSTILE = Card(
    "x](http://evil) | <script>", "b`\n# big", ("<img src=x>\r\n| a | www.evil.org", "\u202e*b*"), {"|": "`"}
)


def probe(spec: PerceptronSpec = SMALL, rows: int = 32) -> Tensor:
    return torch.rand(rows, spec.num_features, generator=torch.Generator().manual_seed(7))


def factor_of(config: AdapterConfig, path: str) -> float:
    """The factor s on the output of the adapter at ``path``, by what the config says."""
    own = config.layers([path])[path].settings
    return scaling_factor(config.own.scaling, own.alpha, own.rank)


def perturb(*parameters: Tensor, seed: int = 3) -> None:
    """Values as training leaves them: A has moved, B is no longer zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            noise = torch.randn(parameter.shape, generator=generator) / max(parameter.shape) ** 0.5
            parameter.copy_(parameter.float() + noise)


def trained(
    lora: LoRASpec, spec: PerceptronSpec = SMALL, form: type[LowRankLinear] = LinearWithLoRA
) -> tuple[MultilayerPerceptron, nn.Module]:
    base = spec.build(seed=1)
    model = add_lora(copy.deepcopy(base), lora, torch.Generator().manual_seed(2), form)
    perturb(*(p for layer in adapted_layers(model).values() for p in layer.lora.parameters()))
    return base, model


def with_whole_head(lora: LoRASpec, base: MultilayerPerceptron | None = None) -> nn.Module:
    """A network on the base whose last layer was trained whole beside adapters on the others."""
    marked = SMALL.but(whole_head=True).marked(copy.deepcopy(base or BASE))
    model = lora.prepare(marked, torch.Generator().manual_seed(2))
    perturb(*(p for p in model.parameters() if p.requires_grad))
    return model


def packed(base: nn.Module, model: nn.Module, lora: LoRASpec, rows: Tensor, card: Card = HOSTILE) -> bytes:
    state = base.state_dict()
    return adapter_bytes(
        model,
        lora,
        base_fingerprint=fingerprint(state),
        base_head={name: state[name] for name in head_state(model)},
        card=card,
        probe={"pixels": rows},
    )


def unzip(content: bytes, folder: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder)
    return folder


def saved(model: nn.Module, folder: Path, around: str = "", **how: Any) -> bytes:
    """What a person has who zips the folder that PEFT saved, or a folder around it."""
    model.save_pretrained(folder / around, **how)  # type: ignore[operator]
    return Path(shutil.make_archive(f"{folder}-zip", "zip", folder)).read_bytes()


def logits(model: nn.Module, rows: Tensor) -> Tensor:
    with torch.no_grad():
        return model.eval()(rows)


def assert_close(one: Tensor, two: Tensor, tolerance: float = 1e-5) -> None:
    assert torch.isfinite(one).all()
    assert (one - two).abs().max() <= tolerance


LORA = LoRASpec(rank=3, alpha=5)
BASE, MODEL = trained(LORA)
WHOLE = packed(BASE, MODEL, LORA, probe())
ENTRIES = entries_of(WHOLE)


def peft_like(
    tensors: Mapping[str, Tensor | None] | None = None,
    config: Mapping[str, Any] | None = None,
    entries: Mapping[str, bytes] = ENTRIES,
) -> bytes:
    """A sound file without certificate, with some tensors or settings changed; None takes a tensor out."""
    sound = safetensors.torch.load(entries[TENSORS]) | dict(tensors or {})
    kept = {name: tensor for name, tensor in sound.items() if tensor is not None}
    settings = json.loads(entries[CONFIG]) | dict(config or {})
    return zip_bytes({TENSORS: safetensors.torch.save(kept), CONFIG: json.dumps(settings).encode()})


A0, B0 = ("base_model.model.layers.0.lora_A.weight", "base_model.model.layers.0.lora_B.weight")


def zipped(*extra: tuple[Entry, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A sound adapter file with these entries behind its own."""
    return uploaded.zipped(*ENTRIES.items(), *extra, how=how)


def assert_same(one: AdapterFile, two: AdapterFile) -> None:
    assert (one.config, one.certificate, one.base_fingerprint) == (two.config, two.certificate, two.base_fingerprint)
    assert one.tensors.keys() == two.tensors.keys()
    assert all(torch.equal(one.tensors[name], two.tensors[name]) for name in one.tensors)


GOOD = read_adapter(WHOLE)
