"""Adapters on real architectures compute what PEFT's compute with the same matrices, or are refused in one sentence."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

import pytest
import torch
import transformers as hf
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from core.adapter import apply_adapter, read_adapter
from core.errors import LoRAError
from core.methods.adapted import adapted_layers, base_copy, merge, merged_copy, unmerge
from core.methods.layers import LinearWithLoRA, LinearWithLoRAMerged, LowRankLinear
from core.methods.linear import freeze_linear_layers
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from core.methods.targets import find_targets
from tests.conftest import some_of
from tests.methods.samples import each_form, peft_of, perturbed, saved_by_peft, weights
from tests.networks.tiny import SIZES, VOCABULARY

T5 = {"num_layers": 2, "d_model": 32, "d_ff": 48, "d_kv": 8, "num_heads": 4, "vocab_size": 50}
OWN: dict[str, dict[str, object]] = {
    "distilbert": {"n_layers": 2, "dim": 32, "n_heads": 4, "hidden_dim": 48, "vocab_size": 50},
    "t5": T5,
    "vit": {"image_size": 16, "patch_size": 8, "num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4},
}
"""Configs of architectures that no other test has."""

BUILD: dict[str, tuple[str, str, dict[str, object]]] = {
    "bert": ("SequenceClassification", "bert", {}),
    "bert-mlm": ("MaskedLM", "bert", {}),
    "roberta": ("SequenceClassification", "roberta", {}),
    "distilbert": ("SequenceClassification", "distilbert", {}),
    "modernbert": ("SequenceClassification", "modernbert", {}),
    "gpt2": ("CausalLM", "gpt2", {}),
    "gpt2-classifier": ("SequenceClassification", "gpt2", {"pad_token_id": 0}),
    "llama": ("CausalLM", "llama", {}),
    "qwen": ("CausalLM", "qwen2", {}),
    "t5": ("Seq2SeqLM", "t5", {}),
    "t5-gated": ("Seq2SeqLM", "t5", {"feed_forward_proj": "gated-gelu"}),
    "vit": ("ImageClassification", "vit", {"intermediate_size": 48}),
    "torch": ("", "", {}),
}
"""What transformers builds it for, its architecture, and changes of the config; the last one is torch's own."""

BERT_ATTENTION = r".*attention\.(self\.(query|key|value)|output\.dense)"
BERT_FORWARD = r".*layer\.\d+\.(intermediate|output)\.dense"
T5_ATTENTION, T5_FORWARD = r".*(SelfAttention|EncDecAttention)\.[qkvo]", r".*DenseReluDense\.w.*"
LLAMA_ATTENTION, LLAMA_FORWARD = r".*self_attn\.[qkvo]_proj", r".*mlp\.(gate|up|down)_proj"
ROLES = {
    "bert": (BERT_ATTENTION, BERT_FORWARD),
    "bert-mlm": (BERT_ATTENTION, BERT_FORWARD),
    "roberta": (BERT_ATTENTION, BERT_FORWARD),
    "distilbert": (r".*attention\.(q|k|v|out)_lin", r".*ffn\.lin[12]"),
    "modernbert": (r".*attn\.W.*", r".*mlp\.W.*"),
    "gpt2": (r".*attn\.c_.*", r".*mlp\.c_.*"),
    "gpt2-classifier": (r".*attn\.c_.*", r".*mlp\.c_.*"),
    "llama": (LLAMA_ATTENTION, LLAMA_FORWARD),
    "qwen": (LLAMA_ATTENTION, LLAMA_FORWARD),
    "t5": (T5_ATTENTION, T5_FORWARD),
    "t5-gated": (T5_ATTENTION, T5_FORWARD),
    "vit": (r".*attention\.[qkvo]_proj", r".*mlp\.fc[12]"),
    "torch": (None, r".*linear[12]"),
}
"""PEFT has no roles; these regular expressions select the same layers there."""

NAMES = {
    "bert": (("query,value",), ["query", "value"]),
    "roberta": (("query", "value"), ["query", "value"]),
    "gpt2": (("c_attn",), ["c_attn"]),
    "llama": (("q_proj, v_proj", "lm_head"), ["q_proj", "v_proj", "lm_head"]),
    "t5": (("q,v",), ["q", "v"]),
    "vit": (("layers.0.attention.q_proj", "classifier"), ["layers.0.attention.q_proj", "classifier"]),
    "torch": (("1.linear1",), ["1.linear1"]),
}

CLASSIFIERS = {"bert", "roberta", "modernbert", "gpt2-classifier", "vit"}
"""Networks for which PEFT leaves the classifier out of all-linear, if its task type says that they have one."""

CASES = [
    *((name, targets, theirs) for name, (targets, theirs) in NAMES.items()),
    *((name, ("attention",), theirs) for name, (theirs, _) in ROLES.items() if theirs),
    *((name, ("feed-forward",), theirs) for name, (_, theirs) in ROLES.items()),
    *((name, ("all-linear",), "all-linear") for name in BUILD if name not in ("torch", "distilbert")),
]
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # in PEFT
each_network = pytest.mark.parametrize("name", BUILD)


@cache
def _built(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "torch":
        layers = (nn.TransformerEncoderLayer(32, 4, 48, dropout=0.0, batch_first=True) for _ in range(2))
        return nn.Sequential(*layers).double().eval()
    use, architecture, changes = BUILD[name]
    values = {**OWN.get(architecture, SIZES.get(architecture, {})), **changes, "num_labels": 3}
    kind = getattr(hf, f"AutoModelFor{use}")
    return kind.from_config(hf.AutoConfig.for_model(architecture, **values)).double().eval()


def network(name: str) -> nn.Module:
    """A copy: building takes longer."""
    return copy.deepcopy(_built(name))


def outputs(model: nn.Module, name: str) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    if name == "torch":
        return model(torch.randn(2, 5, 32, generator=generator, dtype=torch.float64))
    if name == "vit":
        return model(pixel_values=torch.randn(2, 3, 16, 16, generator=generator, dtype=torch.float64)).logits
    ids = {"input_ids": torch.randint(3, VOCABULARY, (2, 5), generator=generator)}
    if name.startswith("t5"):
        ids["decoder_input_ids"] = torch.randint(3, VOCABULARY, (2, 4), generator=generator)
    return model(**ids).logits


def adapted(name: str, targets: tuple[str, ...], form: type[LowRankLinear] = LinearWithLoRA) -> nn.Module:
    spec = LoRASpec(rank=3, alpha=5, target_modules=targets)
    return add_lora(network(name), spec, torch.Generator().manual_seed(2), form)


def theirs_of(
    name: str, ours: nn.Module, targets: str | list[str], **config: object
) -> tuple[PeftModel, dict[str, LoraLayer]]:
    """PEFT's adapter on the same base; see :func:`tests.methods.samples.peft_of`."""
    kind = "SEQ_CLS" if name in CLASSIFIERS and targets == "all-linear" else None
    config = {"fan_in_fan_out": "gpt2" in name, "task_type": kind, **config}
    peft, layers = peft_of(network(name), ours, r=3, lora_alpha=5, target_modules=targets, **config)
    return peft.eval(), layers


@pytest.mark.parametrize(
    ("name", "targets", "theirs", "form"),
    some_of(
        ((*case, form) for case in CASES for form in (LinearWithLoRA, LinearWithLoRAMerged)),
        lambda name, targets, theirs, form: form is LinearWithLoRA or targets == ("all-linear",),
    ),
    ids=lambda value: str(value)[:40],
)
def test_layers_outputs_and_gradients_are_those_of_peft(name: str, targets, theirs, form) -> None:
    ours = perturbed(adapted(name, targets, form))
    peft, layers = theirs_of(name, ours, theirs)
    assert list(adapted_layers(ours)) == list(layers)
    if name == "torch":  # in eval() PEFT's adapter is ignored by the fast path, see below
        ours.train(), peft.train()
    found, expected = outputs(ours, name), outputs(peft, name)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    for each in (found, expected):
        (each**2).sum().backward()
    for path, layer in adapted_layers(ours).items():
        for mine, their in ((layer.lora.A, layers[path].lora_A), (layer.lora.B, layers[path].lora_B)):
            gradient = their["default"].weight.grad
            if gradient is None:  # PEFT's output does not depend on it either: the pooler of a token classifier
                assert mine.grad is None
                continue
            torch.testing.assert_close(mine.grad, gradient.T, rtol=1e-5, atol=1e-6 * gradient.abs().max().item())
    trained = {name for name, p in ours.named_parameters() if p.grad is not None}
    assert trained
    assert all(".lora." in name for name in trained)


@each_network
@each_form
@torch.no_grad()  # what needs a gradient may decide which kernel computes it
def test_the_start_is_the_base_and_unmerging_restores_every_bit(name: str, form: type[LowRankLinear]) -> None:
    base = network(name)
    before, expected = weights(base), outputs(base, name)
    model = adapted(name, ("all-linear",), form)
    assert torch.equal(outputs(model, name), expected)
    assert not any(module.training for module in model.modules())
    perturbed(model)
    changed = outputs(model, name)
    assert not torch.allclose(changed, expected)
    merge(model)
    torch.testing.assert_close(outputs(model, name), changed, rtol=1e-6, atol=1e-9)
    unmerge(model)
    assert torch.equal(outputs(model, name), changed)
    plain = merged_copy(model)
    assert [type(m) for m in plain.modules()] == [type(m) for m in base.modules()]
    torch.testing.assert_close(outputs(plain, name), changed, rtol=1e-6, atol=1e-9)
    assert weights(base_copy(model)) == before


def test_all_linear_leaves_out_output_layers_and_classifiers_only_of_models_that_say_which_they_are() -> None:
    for name in BUILD:
        base = network(name)
        left_out = {
            path
            for path, module in base.named_modules()
            if isinstance(module, nn.Linear) and path not in find_targets(base, ("all-linear",))
        }
        expected = {
            "bert-mlm": {"cls.predictions.decoder"},
            "roberta": {"classifier.dense", "classifier.out_proj"},
            "distilbert": {"pre_classifier", "classifier"},
            "torch": {"0.self_attn.out_proj", "1.self_attn.out_proj"},
            "gpt2-classifier": {"score"},
        }
        head = "classifier" if name in CLASSIFIERS else "lm_head"
        assert left_out == expected.get(name, {head}), name
    plain = nn.ModuleDict({"body": nn.Linear(4, 4), "classifier": nn.Linear(4, 4), "score": nn.Linear(4, 2)})
    assert list(find_targets(plain, ("all-linear",))) == ["body", "classifier", "score"]
    wrapped = nn.Sequential(network("gpt2"))
    assert "0.lm_head" not in find_targets(wrapped, ("all-linear",))


UNKNOWN = r"^In this network [^\n]+ known[^\n]*: name layers, or use [^\n]+\.$"
PACKED = r"^[^\n]*nn\.MultiheadAttention, which keeps q, k and v in one [^\n]+\.$"
ODD = {"self_attn": nn.ModuleDict({"q_proj": nn.Linear(4, 4), "odd": nn.Linear(4, 4)})}


@pytest.mark.parametrize(
    ("model", "target", "sentence"),
    [
        *((nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), role, UNKNOWN) for role in ("attention", "feed-forward")),
        *((nn.ModuleDict(ODD), role, UNKNOWN) for role in ("attention", "feed-forward")),
        *((nn.MultiheadAttention(8, 2), target, PACKED) for target in ("attention", "out_proj")),
        *(
            (nn.TransformerEncoderLayer(8, 2, 16), target, PACKED)
            for target in ("attention", "self_attn", "self_attn.out_proj")
        ),
        (nn.TransformerDecoderLayer(8, 2, 16), "attention", PACKED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else value[:12],
)
def test_a_role_that_is_not_known_and_packed_attention_are_refused_in_one_sentence(
    model: nn.Module, target: str, sentence: str
) -> None:
    before = weights(model)
    with pytest.raises(LoRAError, match=sentence):
        add_lora(model, LoRASpec(rank=1, target_modules=(target,)))
    assert weights(model) == before
    assert all(p.requires_grad for p in model.parameters())


def test_a_linear_layer_that_is_named_like_a_role_is_meant_by_its_name() -> None:
    model = nn.ModuleDict({"attention": nn.Linear(4, 4), "rest": nn.Linear(4, 4)})
    assert list(find_targets(model, ("attention",))) == ["attention"]


# torch's own attention and encoder


@each_form
@pytest.mark.parametrize("merged", [False, True])
def test_the_fast_path_of_an_encoder_uses_the_adapter(form: type[LowRankLinear], merged: bool) -> None:
    layer = nn.TransformerEncoderLayer(32, 4, 48, batch_first=True)
    x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(1))
    base = layer.eval()(x).detach()
    model = perturbed(add_lora(layer, LoRASpec(rank=3), layer=form))
    if merged:
        merge(model)
    slow = model(x).detach()  # with gradients, torch takes the path that calls the layers
    with torch.no_grad():
        fast = model(x)
        encoder = nn.TransformerEncoder(model, 1, enable_nested_tensor=False).eval()(x)
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-5)
    assert torch.equal(encoder, fast)
    assert (fast - base).abs().max() > 0.01
    if not merged:
        model.train()(x).sum().backward()
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@each_form
def test_an_adapted_layer_has_the_weight_and_bias_of_what_it_computes(form: type[LowRankLinear]) -> None:
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    conv = hf.pytorch_utils.Conv1D(4, 6)
    for linear in (nn.Linear(6, 4), nn.Linear(6, 4, bias=False), conv):
        layer = perturbed(form(linear, 2, 3))
        assert (layer.in_features, layer.out_features) == (6, 4)
        assert layer.weight.shape == linear.weight.shape
        assert layer.bias is linear.bias
        matrix = layer.weight if linear is conv else layer.weight.T
        expected = x @ matrix + (0 if linear.bias is None else linear.bias)
        torch.testing.assert_close(layer(x), expected)
        expected.sum().backward()
        assert layer.lora.A.grad is not None
        merge(layer)
        torch.testing.assert_close(layer.weight, matrix if linear is conv else matrix.T)
        assert layer.weight is linear.weight
    freeze_linear_layers(conv)
    assert not any(p.requires_grad for p in conv.parameters())


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_a_tied_output_layer_is_adapted_as_in_peft_and_never_merged(name: str) -> None:
    ours = perturbed(adapted(name, ("lm_head",)))
    assert all(".lora." in path for path, p in ours.named_parameters() if p.requires_grad)
    peft, _ = theirs_of(name, ours, ["lm_head"], fan_in_fan_out=False)  # of GPT-2, this layer is not transposed
    torch.testing.assert_close(outputs(ours, name), outputs(peft, name), rtol=1e-6, atol=1e-9)
    before = weights(ours)
    with pytest.raises(LoRAError, match="Layer lm_head shares its weight with another layer"):
        merge(ours)
    assert weights(ours) == before


def test_an_adapter_that_peft_saved_for_transposed_layers_is_read_and_applied(tmp_path: Path) -> None:
    peft, _ = theirs_of("gpt2", perturbed(adapted("gpt2", ("attention",))), ["attn.c_attn", "attn.c_proj"])
    base = network("gpt2").float()
    loaded = apply_adapter(base, read_adapter(saved_by_peft(peft.float(), tmp_path)))
    assert len(adapted_layers(loaded)) == 4
    torch.testing.assert_close(outputs(loaded, "gpt2"), outputs(peft, "gpt2"), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(outputs(copy.deepcopy(base), "gpt2"), outputs(loaded, "gpt2"))
